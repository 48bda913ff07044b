// Package mutant breaks plugins on purpose. A mutant is a program under a
// plugin's name that runs the real plugin and spoils one thing: the request
// on its way in, the answer on its way out, or the kernel behind its back.
// The suite is sound if each mutant is caught by the row meant for it and by
// no unrelated one, and the program that spoils nothing is not caught at all.
//
// The program is package player. It knows that it is meant as a mutant by a
// file beside the name it was started under.
package mutant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// orderFile says which mutation a directory of plugins carries.
const orderFile = "mutation.json"

type order struct {
	Real     string // directory of the real plugins
	Plugin   string // the one that is broken
	Mutation string
}

// Install fills dir with plugins of which one is broken. self is the program
// that plays it.
func Install(dir, real, self string, m Mutation) error {
	entries, err := os.ReadDir(real)
	if err != nil {
		return fmt.Errorf("install mutant: %w", err)
	}
	for _, entry := range entries {
		target := filepath.Join(real, entry.Name())
		if entry.Name() == m.Plugin {
			target = self
		}
		if err := os.Symlink(target, filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("install mutant: %w", err)
		}
	}
	b, err := json.Marshal(order{real, m.Plugin, m.Name})
	if err != nil {
		return fmt.Errorf("install mutant: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, orderFile), b, 0o644)
}

// Play is main for a mutant. It reports false when the program was not started
// as one.
func Play(argv []string) (exit int, played bool) {
	if len(argv) == 0 {
		return 0, false
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(argv[0]), orderFile))
	if err != nil {
		return 0, false
	}
	var o order
	if err := json.Unmarshal(b, &o); err != nil || filepath.Base(argv[0]) != o.Plugin {
		return 0, false
	}
	call, err := receive(filepath.Join(o.Real, o.Plugin))
	if err != nil {
		fmt.Fprintf(os.Stderr, "mutant: %v\n", err)
		return 1, true
	}
	for _, m := range Mutations() {
		if m.Name == o.Mutation {
			m.Break(call)
			return call.answer(), true
		}
	}
	fmt.Fprintf(os.Stderr, "mutant: no mutation %q\n", o.Mutation)
	return 1, true
}

// Call is a request on its way to the real plugin, and the answer on its way
// back.
type Call struct {
	Env   map[string]string
	Stdin []byte

	Stdout []byte
	Stderr []byte
	Exit   int

	real string
}

func receive(real string) (*Call, error) {
	c := &Call{Env: map[string]string{}, real: real}
	for _, kv := range os.Environ() {
		key, value, _ := strings.Cut(kv, "=")
		c.Env[key] = value
	}
	var err error
	c.Stdin, err = io.ReadAll(os.Stdin)
	return c, err
}

// Run sends the request, as it is now, to the real plugin.
func (c *Call) Run() {
	cmd := exec.Command(c.real)
	for key, value := range c.Env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), &out, &errs
	cmd.Run()
	c.Stdout, c.Stderr, c.Exit = out.Bytes(), errs.Bytes(), cmd.ProcessState.ExitCode()
}

// answer prints what has become of the answer.
func (c *Call) answer() int {
	os.Stderr.Write(c.Stderr)
	os.Stdout.Write(c.Stdout)
	return c.Exit
}

// Verb is the operation.
func (c *Call) Verb() string { return c.Env["CNI_COMMAND"] }

// Succeeded reports whether the call was of the given operation and the real
// plugin did it.
func (c *Call) Succeeded(verb string) bool { return c.Verb() == verb && c.Exit == 0 }

// Fail replaces the answer by an error.
func (c *Call) Fail(code int, msg string) {
	c.Stdout, _ = json.Marshal(map[string]any{"cniVersion": "1.0.0", "code": code, "msg": msg})
	c.Exit = 1
}

// Request decodes standard input; nil when it is not an object.
func (c *Call) Request() map[string]any {
	var obj map[string]any
	json.Unmarshal(c.Stdin, &obj)
	return obj
}

// Send replaces standard input.
func (c *Call) Send(obj map[string]any) { c.Stdin, _ = json.Marshal(obj) }

// Edit changes the document on standard output.
func (c *Call) Edit(change func(doc map[string]any)) {
	var doc map[string]any
	if json.Unmarshal(c.Stdout, &doc) == nil {
		change(doc)
		c.Stdout, _ = json.Marshal(doc)
	}
}

// Inside runs a command in the container's network namespace.
func (c *Call) Inside(argv ...string) {
	exec.Command("nsenter", append([]string{"--net=" + c.Env["CNI_NETNS"], "--"}, argv...)...).Run()
}

// remember reports whether a note was there already, and leaves it. Notes are
// kept where the lab keeps its own things, so that they are not residue.
func (c *Call) remember(note string) bool {
	path := "/run/cni-conformance/mutant-" + note
	_, err := os.Stat(path)
	os.WriteFile(path, nil, 0o600)
	return err == nil
}

// output runs a command on the host and returns what it prints.
func (c *Call) output(argv ...string) string {
	out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out)
}
