// Package engine starts processes in containers. It is a thin skin over runc's
// libcontainer and the only package that imports it: what goes in is an OCI
// runtime specification, what comes out are a few verbs. libcontainer promises
// no stable API; this skin is what has to follow it, and nothing else.
//
// libcontainer is linked in, not executed: it re-executes our own binary with
// the argument "init", which the init function of this package answers before
// main runs (the one registration of this kind in the tree, because between
// fork and exec there is no other place). Its C half needs cgo, and its seccomp
// filters libseccomp (build tag seccomp); built without either, every call
// here refuses. A container without the filter it should have is never run.
package engine

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ErrNotBuilt: this binary cannot run containers.
var ErrNotBuilt = errors.New("this netctl was built without the container engine (needs CGO_ENABLED=1 and -tags seccomp)")

// ErrNotRunning: the container has no process (any more).
var ErrNotRunning = errors.New("container is not running")

// Engine makes containers whose state lives below Root, one directory each.
type Engine struct{ Root string }

// Process is one program to start in a container. The three files become its
// standard streams; nil is /dev/null. With TTY they are ignored.
type Process struct {
	Spec                  *specs.Process
	Stdin, Stdout, Stderr *os.File
	// Init has the program run under a small first process; see reap.go.
	Init bool
}

// Started is a process in a container that is a child of the caller.
type Started struct {
	Pid int // in the caller's numbering
	// Terminal is the master side if the specification asked for a terminal.
	Terminal *os.File
	wait     func() (int, error)
	ready    *os.File // see Ready
}

// Ready waits, after Release, until a signal to the first process has an effect.
// Without Init the program decides that, and it returns at once.
func (s *Started) Ready() {
	if s.ready == nil {
		return
	}
	_, _ = s.ready.Read(make([]byte, 1)) // the end: it is ready, or dead
	_ = s.ready.Close()
	s.ready = nil
}

// Wait returns the exit code, or 128 plus the signal that killed it.
func (s *Started) Wait() (int, error) { return s.wait() }

// Container is one container of the engine.
type Container interface {
	// Start makes the container and its first process, which stops short of
	// running the program until Release. It takes some 15 ms, most of it
	// waiting for the kernel.
	Start(Process) (*Started, error)
	Release() error
	// Exec runs a further process inside.
	Exec(Process) (*Started, error)
	// Signal goes to the first process.
	Signal(os.Signal) error
	// Pids of all its processes, in the caller's numbering.
	Pids() ([]int, error)
	Pause() error
	Resume() error
	Stats() (*Stats, error)
	// OOMKilled tells whether the kernel killed a process for want of memory.
	OOMKilled() bool
	// Remove does for a container whose end its starter has waited for what
	// Engine.Remove does for any, without looking up what the starter knows.
	// On an error Engine.Remove is the way to go on.
	Remove() error
}

// Stats is what the container has used.
type Stats struct {
	Read        time.Time
	CPU         time.Duration // of all processes together
	Memory      uint64        // bytes, without the file cache that can be dropped
	MemoryLimit uint64        // bytes; the machine's memory if none was set
	Pids        uint64
	BlockRead   uint64 // bytes
	BlockWrite  uint64
}

// Exit statuses of a program that could not be run, as shells and docker use
// them.
const (
	StatusOwnFailure = 125
	StatusCannotExec = 126
	StatusNotFound   = 127
)

// Explain sorts a failure of Start or Exec. libcontainer's first process reports
// by text only, so the text is what there is to go by; the part a user can do
// something about begins with "exec:".
func Explain(err error) (status int, text string) {
	text = err.Error()
	i := strings.Index(text, "exec: ")
	if i < 0 {
		return StatusOwnFailure, text
	}
	reason := text[i:]
	switch {
	case strings.Contains(reason, "executable file not found"), strings.Contains(reason, "no such file or directory"):
		return StatusNotFound, reason
	case strings.Contains(reason, "permission denied"), strings.Contains(reason, "is a directory"),
		strings.Contains(reason, "exec format error"):
		return StatusCannotExec, reason
	}
	return StatusOwnFailure, text
}
