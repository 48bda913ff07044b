package lab

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/netctl/netctl/conformance/protocol"
)

// Call runs a plugin on the host and waits for it. It fails only when the
// process could not be started; whatever the plugin does is in the reply.
func (h *Host) Call(ctx context.Context, r protocol.Request) (*protocol.Reply, error) {
	p, err := h.Start(ctx, r)
	if err != nil {
		return nil, err
	}
	return p.Wait(), nil
}

// Process is a plugin that is running.
type Process struct {
	cmd     *exec.Cmd
	out     bytes.Buffer
	errs    bytes.Buffer
	started time.Time
	ended   chan struct{} // closed by Wait
	late    atomic.Bool   // killed for its limit
}

// Start begins a call on the host. The kernel kills the process when the
// host's thread ends, so nothing outlives an interrupted run. It is put into a
// process group of its own so that a limit ends its children as well.
func (h *Host) Start(ctx context.Context, r protocol.Request) (*Process, error) {
	return h.start(ctx, r, h.Slack)
}

// start is Start with a measure for how much longer a limit is to be.
func (h *Host) start(ctx context.Context, r protocol.Request, slack func(time.Duration) time.Duration) (*Process, error) {
	p := &Process{ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, r.Plugin, r.Args...)
	p.cmd.Env = r.Environ()
	p.cmd.Dir = r.Dir
	if r.Stdin != nil {
		p.cmd.Stdin = bytes.NewReader(r.Stdin)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Cancel = func() error { return p.Kill() }
	// A grandchild may hold the pipes after the plugin is gone.
	p.cmd.WaitDelay = 2 * time.Second
	p.started = time.Now()
	if err := h.Do(p.cmd.Start); err != nil {
		return nil, err
	}
	limit := r.Limit
	if limit == 0 {
		limit = protocol.DefaultLimit
	}
	go p.watch(limit, slack)
	return p, nil
}

// watch kills the plugin when its limit is over, and what the machine's pace
// adds to it.
func (p *Process) watch(limit time.Duration, slack func(time.Duration) time.Duration) {
	if p.endsWithin(limit) || p.endsWithin(slack(limit)) {
		return
	}
	p.late.Store(true)
	p.Kill()
}

func (p *Process) endsWithin(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// Kill ends the plugin and its children at once.
func (p *Process) Kill() error {
	return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// Wait collects what the plugin answered.
func (p *Process) Wait() *protocol.Reply {
	err := p.cmd.Wait()
	took := time.Since(p.started)
	close(p.ended)
	reply := &protocol.Reply{Stdout: p.out.Bytes(), Stderr: p.errs.Bytes(), Took: took, TimedOut: p.late.Load()}
	reply.Exit = p.cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			reply.Signal = ws.Signal().String()
		}
	}
	return reply
}
