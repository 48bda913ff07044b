// Package double is the suite's own executable in a second role: a delegate
// that does as it is told and writes down how it was called. Rows about
// delegation put it where a plugin under test looks for its IPAM plugin.
//
// A lab host has one script for its double, one answer per operation, and one
// folder that every call is recorded in. Both are at fixed places, because the
// environment and the request a plugin passes on are what is being judged.
package double

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/conformance/lab"
)

// Name is the type a configuration uses to delegate to the double.
const Name = "conformance-ipam"

// Places on a lab host.
const (
	ScriptFile = "/run/cni-conformance/script.json"
	CallsDir   = "/run/cni-conformance/calls"
)

// Answer is what the double does for one operation.
type Answer struct {
	Stdout string
	Stderr string
	Exit   int
	Sleep  time.Duration
}

// Script holds an answer per operation ("ADD"); operations it does not name
// succeed in silence.
type Script map[string]Answer

// Call is one recorded call.
type Call struct {
	Path  string // argv[0]
	Verb  string
	Env   []string
	Stdin []byte
}

// Play is main for the double. It reports false when the program was started
// under another name and is not meant.
func Play(argv []string, stdin io.Reader, stdout, stderr io.Writer) (exit int, played bool) {
	if len(argv) == 0 {
		return 0, false
	}
	switch filepath.Base(argv[0]) {
	case Name:
	case lab.NothingName:
		return 0, true
	case lab.PauseName:
		unix.Pause() // until the lab ends it
	case lab.KillerName:
		return lab.RunAndKill(argv[1:], stderr), true
	default:
		return 0, false
	}
	answer, err := perform(argv[0], stdin)
	if err != nil {
		fmt.Fprintf(stderr, "conformance double: %v\n", err)
		return 1, true
	}
	time.Sleep(answer.Sleep)
	io.WriteString(stderr, answer.Stderr)
	io.WriteString(stdout, answer.Stdout)
	return answer.Exit, true
}

// perform records the call and looks up the answer.
func perform(path string, stdin io.Reader) (Answer, error) {
	request, err := io.ReadAll(stdin)
	if err != nil {
		return Answer{}, fmt.Errorf("read request: %w", err)
	}
	call := Call{Path: path, Verb: os.Getenv("CNI_COMMAND"), Env: os.Environ(), Stdin: request}
	if err := record(call); err != nil {
		return Answer{}, err
	}
	b, err := os.ReadFile(ScriptFile)
	if err != nil {
		return Answer{}, fmt.Errorf("read script: %w", err)
	}
	var script Script
	if err := json.Unmarshal(b, &script); err != nil {
		return Answer{}, fmt.Errorf("decode script: %w", err)
	}
	return script[call.Verb], nil
}

// record writes the call under a name that sorts by time. The file appears in
// one step, so that a reader never sees half of it.
func record(call Call) error {
	if err := os.MkdirAll(CallsDir, 0o700); err != nil {
		return fmt.Errorf("record call: %w", err)
	}
	b, err := json.Marshal(call)
	if err != nil {
		return fmt.Errorf("record call: %w", err)
	}
	name := filepath.Join(CallsDir, fmt.Sprintf("%020d-%d", time.Now().UnixNano(), os.Getpid()))
	if err := os.WriteFile(name+".part", b, 0o600); err != nil {
		return fmt.Errorf("record call: %w", err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		return fmt.Errorf("record call: %w", err)
	}
	return nil
}

// Calls reads the record, oldest first.
func Calls() ([]Call, error) {
	entries, err := os.ReadDir(CallsDir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read calls of the double: %w", err)
	}
	var out []Call
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".part") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(CallsDir, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read calls of the double: %w", err)
		}
		var call Call
		if err := json.Unmarshal(b, &call); err != nil {
			return nil, fmt.Errorf("read calls of the double: %w", err)
		}
		out = append(out, call)
	}
	return out, nil
}

// Verbs lists the operations of calls in order.
func Verbs(calls []Call) []string {
	verbs := make([]string, len(calls))
	for i, call := range calls {
		verbs[i] = call.Verb
	}
	return verbs
}

// Getenv reads a variable of a recorded call.
func (c Call) Getenv(key string) (string, bool) {
	i := slices.IndexFunc(c.Env, func(kv string) bool { return strings.HasPrefix(kv, key+"=") })
	if i < 0 {
		return "", false
	}
	return strings.TrimPrefix(c.Env[i], key+"="), true
}
