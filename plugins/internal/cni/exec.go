package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
)

// Find looks for a plugin's binary in the directories of CNI_PATH, in order;
// the first regular file wins. A type with a path separator is refused
// (CVE-2021-20206).
//
// This and Foreign are the caller's side of the protocol. The library's own
// package for it links a tracing library, whose start every plugin call would
// pay for.
func Find(pluginType string, path []string) (string, error) {
	if pluginType == "" || strings.ContainsRune(pluginType, os.PathSeparator) || pluginType == ".." {
		return "", Errorf(CodeConfig, "invalid plugin type %q: want the name of a binary in CNI_PATH", pluginType)
	}
	for _, dir := range path {
		file := filepath.Join(dir, pluginType)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", Errorf(CodeConfig, "plugin %q is not in CNI_PATH %q", pluginType, strings.Join(path, ":"))
}

// Foreign is a plugin that is executed.
type Foreign struct {
	File string
	// Env is the complete environment.
	Env    []string
	Stderr io.Writer
}

// Environ is this process's environment with the protocol's variables replaced.
func (r *Request) Environ(verb Command) []string {
	env := []string{
		"CNI_COMMAND=" + string(verb),
		"CNI_CONTAINERID=" + r.ContainerID,
		"CNI_NETNS=" + r.Netns,
		"CNI_IFNAME=" + r.IfName,
		"CNI_ARGS=" + r.RawArgs,
		"CNI_PATH=" + strings.Join(r.Path, ":"),
	}
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); !isProtocol(name) {
			env = append(env, pair)
		}
	}
	return env
}

func isProtocol(name string) bool {
	switch name {
	case "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH":
		return true
	}
	return false
}

// Result runs a verb that answers with a result, in whatever version.
func (f Foreign) Result(ctx context.Context, stdin []byte, asked string) (*current.Result, error) {
	out, err := f.Run(ctx, stdin)
	if err != nil {
		return nil, err
	}
	return DecodeResult(out, asked)
}

// DecodeResult reads a result of any version; one that does not name its
// version has the one that was asked for.
func DecodeResult(data []byte, asked string) (*current.Result, error) {
	var head struct {
		CNIVersion string `json:"cniVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, Errorf(CodeDecode, "result: %w", err)
	}
	if head.CNIVersion != "" {
		asked = head.CNIVersion
	} else {
		data = withVersion(data, asked)
	}
	result, err := create.Create(asked, data)
	if err != nil {
		return nil, Errorf(CodeDecode, "result: %w", plain(data, err))
	}
	converted, err := current.NewResultFromResult(result)
	if err != nil {
		return nil, Errorf(CodeDecode, "result: %w", err)
	}
	return converted, nil
}

// withVersion names the version in a result that does not.
func withVersion(data []byte, version string) []byte {
	var keys map[string]json.RawMessage
	if json.Unmarshal(data, &keys) != nil || keys == nil {
		return data
	}
	keys["cniVersion"], _ = json.Marshal(version)
	if named, err := json.Marshal(keys); err == nil {
		return named
	}
	return data
}

// Run executes the plugin and returns its standard output. Its error document
// becomes an *Error with the code it gave. A binary that is being replaced
// ("text file busy") is tried again for a second.
func (f Foreign) Run(ctx context.Context, stdin []byte) ([]byte, error) {
	deadline := time.Now().Add(time.Second)
	for {
		out, err := f.once(ctx, stdin)
		if !errors.Is(err, syscall.ETXTBSY) || time.Now().After(deadline) {
			return out, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (f Foreign) once(ctx context.Context, stdin []byte) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, f.File)
	cmd.Env = f.Env
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	if f.Stderr != nil {
		cmd.Stderr = io.MultiWriter(&stderr, f.Stderr)
	}
	// The plugin dies with us: after a kill it must not finish an ADD that
	// somebody's DEL has already taken back. The kernel sends the signal when
	// the thread ends that started it, so the thread is kept until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return nil, f.explain(err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// explain prefers what the plugin says of itself, and says what happened to it
// otherwise: exit status, signal, what it wrote to standard error.
func (f Foreign) explain(err error, stdout, stderr []byte) error {
	var answer document
	if json.Unmarshal(stdout, &answer) == nil && answer.Msg != "" {
		return &Error{Code: answer.Code, Msg: fmt.Sprintf("plugin %s: %s", filepath.Base(f.File), answer.Msg), Hint: answer.Details, Err: err}
	}
	text := strings.TrimSpace(string(stderr))
	if text != "" {
		return Errorf(CodeDelegate, "plugin %s: %w: %s", f.File, err, text)
	}
	return Errorf(CodeDelegate, "plugin %s: %w", f.File, err)
}
