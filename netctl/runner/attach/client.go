package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrLost: the monitor is gone without having said how the container ended.
var ErrLost = errors.New("the container's monitor has died")

// ErrImpatient: somebody asked for an end three times, and the container goes on.
var ErrImpatient = errors.New("asked to end three times")

// impatience is how many requests to end are passed on before the session ends
// whatever the container does; docker's number.
const impatience = 3

// OutputError is that the container's output can't be written to where it is to
// be shown.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return "show its output: " + e.Err.Error() }
func (e *OutputError) Unwrap() error { return e.Err }

// RunError is what the monitor said when the container could not be run.
type RunError struct{ Text string }

func (e *RunError) Error() string { return e.Text }

// Client is the terminal's end of a connection.
type Client struct {
	In       io.Reader // nil: no input is sent
	Out, Err io.Writer // nil: that output is not wanted
	// TTY: In is a terminal and is switched to raw mode.
	TTY bool
	// DetachKeys end the session and leave the container running.
	DetachKeys []byte
	// Signals are passed to the container; nil: we do with them what programs do.
	Signals *Signals
}

// Run shows output and sends input until the container ends, and returns its
// exit code. The session may end before the container does: ErrDetached,
// ErrImpatient, ErrLost, or an OutputError, such as EPIPE where nobody reads any
// more.
func (c Client) Run(ctx context.Context, conn *Conn) (int, error) {
	defer conn.Close()
	in := c.In
	if c.TTY && in != nil {
		term, err := OpenTerminal(in)
		if err != nil {
			return 0, err
		}
		defer term.Restore()
		defer term.Resizes(func(s Size) { _ = conn.Send(Resize, s.encode()) })()
		in = NewDetacher(in, c.DetachKeys)
	}
	over := make(chan error, 2) // by keys, or by signals
	defer keepAtBrokenPipes()()
	if c.Signals != nil {
		defer c.Signals.Stop()
		go c.Signals.passOn(conn, over)
	}
	if in != nil {
		go func() {
			if err := sendInput(conn, in); errors.Is(err, ErrDetached) {
				over <- err
			}
		}()
	}
	type result struct {
		code int
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		code, err := c.receive(conn)
		ended <- result{code, err}
	}()
	select {
	case r := <-ended:
		return r.code, r.err
	case err := <-over:
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// receive shows output until the last message.
func (c Client) receive(conn *Conn) (int, error) {
	buf := make([]byte, MaxPayload+1)
	for {
		kind, payload, err := conn.Receive(buf)
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return 0, ErrLost
		}
		if err != nil {
			return 0, fmt.Errorf("attach: %w", err)
		}
		switch kind {
		case Stdout:
			err = show(c.Out, payload)
		case Stderr:
			err = show(c.Err, payload)
		case Exit:
			if code, ok := decodeExit(payload); ok {
				return code, nil
			}
			return 0, errors.New("attach: malformed exit message")
		case Error:
			return 0, &RunError{string(payload)}
		}
		if err != nil {
			return 0, err
		}
	}
}

func show(w io.Writer, text []byte) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(text); err != nil {
		return &OutputError{err}
	}
	return nil
}

func sendInput(conn *Conn, in io.Reader) error {
	buf := make([]byte, MaxPayload)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if err := conn.Send(Stdin, buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			if !errors.Is(err, ErrDetached) {
				_ = conn.Send(StdinClosed, nil)
			}
			return err
		}
	}
}

// Signals are those that we get from now on.
type Signals struct {
	got  chan os.Signal
	stop sync.Once
}

// CatchSignals begins to collect them, so that what comes before there is a
// container to pass it to is passed on later.
func CatchSignals() *Signals {
	s := &Signals{got: make(chan os.Signal, 16)}
	signal.Notify(s.got, passedOn()...)
	return s
}

// passedOn are all signals but those that can't be caught and those that are about
// ourselves: children, a closed pipe, the terminal's size, Go's preemption.
func passedOn() []os.Signal {
	const last = 64 // SIGRTMAX
	var all []os.Signal
	for n := unix.Signal(1); n <= last; n++ {
		switch n {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGPIPE, unix.SIGWINCH, unix.SIGURG:
		default:
			all = append(all, n)
		}
	}
	return all
}

// Stop ends it; from then on signals do again what they do. It may be repeated.
func (s *Signals) Stop() {
	if s == nil {
		return
	}
	s.stop.Do(func() { signal.Stop(s.got); close(s.got) })
}

// passOn sends them to the container. Who asks for an end again and again gets
// one, of the session.
func (s *Signals) passOn(conn *Conn, over chan<- error) {
	requests := 0
	for sig := range s.got {
		if n, ok := sig.(unix.Signal); ok {
			_ = conn.Send(Signal, []byte{byte(n)})
		}
		if sig == unix.SIGINT || sig == unix.SIGTERM {
			requests++
		}
		if requests == impatience {
			over <- ErrImpatient
			return
		}
	}
}

// keepAtBrokenPipes lets a write to a pipe that nobody reads fail, where it would
// end us by SIGPIPE with nothing said (os/signal, "SIGPIPE").
func keepAtBrokenPipes() (stop func()) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, unix.SIGPIPE)
	return func() { signal.Stop(ignored) }
}

// Wait reads and discards output until the container ends.
func Wait(ctx context.Context, conn *Conn) (int, error) {
	return Client{}.Run(ctx, conn)
}
