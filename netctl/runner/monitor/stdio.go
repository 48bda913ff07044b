package monitor

import (
	"os"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/engine"
)

// stdio are the container's standard streams: a terminal, or two or three pipes.
type stdio struct {
	tty, init             bool
	inRead, outW, errW    *os.File // the process's ends of the pipes, until it has them
	stdin, stdout, stderr *os.File // ours; of a terminal the first two are the same

	in sync.Mutex // one writer to stdin at a time
}

func newStdio(p runner.Process) (*stdio, error) {
	s := &stdio{tty: p.TTY, init: p.Init}
	if p.TTY {
		return s, nil
	}
	var err error
	if s.stdout, s.outW, err = os.Pipe(); err != nil {
		return nil, err
	}
	if s.stderr, s.errW, err = os.Pipe(); err != nil {
		s.close()
		return nil, err
	}
	if p.OpenStdin {
		if s.inRead, s.stdin, err = os.Pipe(); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *stdio) process(p *specs.Process) engine.Process {
	return engine.Process{Spec: p, Stdin: s.inRead, Stdout: s.outW, Stderr: s.errW, Init: s.init}
}

// handedOver closes the ends that the process has now.
func (s *stdio) handedOver(process *engine.Started) {
	closeFiles(s.inRead, s.outW, s.errW)
	if s.tty {
		s.stdin, s.stdout = process.Terminal, process.Terminal
	}
}

func (s *stdio) close() {
	closeFiles(s.inRead, s.outW, s.errW, s.stdin, s.stdout, s.stderr)
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // some are closed already
		}
	}
}

// The monitor is the Input of its hub. Input that comes before the process
// exists waits in the client's connection.

// streams are those of the process of now, nil if there is none.
func (m *monitor) streams() *stdio {
	<-m.ready
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.io
}

// Stdin writes to the container's standard input. It blocks as long as the
// program does not read, and with it only the client that sent this.
func (m *monitor) Stdin(p []byte) {
	s := m.streams()
	if s == nil || s.stdin == nil {
		return
	}
	s.in.Lock()
	defer s.in.Unlock()
	_, _ = s.stdin.Write(p) // a program that has closed its input does not want it
}

// CloseStdin ends standard input. A terminal has its own key for that.
func (m *monitor) CloseStdin() {
	s := m.streams()
	if s == nil || s.stdin == nil || s.tty {
		return
	}
	s.in.Lock()
	defer s.in.Unlock()
	_ = s.stdin.Close()
}

// Resize sets the terminal's size, or remembers it for the start.
func (m *monitor) Resize(size attach.Size) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size = size
	m.applySizeLocked()
}

func (m *monitor) applySizeLocked() {
	if m.io != nil && m.io.tty && m.size != (attach.Size{}) {
		_ = attach.ResizePTY(m.io.stdout, m.size)
	}
}
