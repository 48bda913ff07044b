package attach

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

// Terminal is the user's terminal in raw mode.
type Terminal struct{ c console.Console }

// ErrNoTerminal: the stream is not a terminal.
var ErrNoTerminal = errors.New("stdin is not a terminal")

// OpenTerminal puts the terminal behind in into raw mode, in which every key
// goes to the container. Restore must follow.
func OpenTerminal(in io.Reader) (*Terminal, error) {
	f, ok := in.(*os.File)
	if !ok {
		return nil, ErrNoTerminal
	}
	c, err := console.ConsoleFromFile(f)
	if err != nil {
		return nil, ErrNoTerminal
	}
	if err := c.SetRaw(); err != nil {
		return nil, errors.Join(err, c.Reset())
	}
	return &Terminal{c}, nil
}

// Window is the size of the terminal that in is, zero if it is none.
func Window(in io.Reader) runner.Window {
	f, ok := in.(*os.File)
	if !ok {
		return runner.Window{}
	}
	c, err := console.ConsoleFromFile(f)
	if err != nil {
		return runner.Window{}
	}
	size, err := c.Size()
	if err != nil {
		return runner.Window{}
	}
	return runner.Window{Columns: size.Width, Rows: size.Height}
}

// Restore sets the terminal back.
func (t *Terminal) Restore() error { return t.c.Reset() }

// Size of the terminal now.
func (t *Terminal) Size() (Size, error) {
	ws, err := t.c.Size()
	return Size{ws.Width, ws.Height}, err
}

// Resizes calls f with the size now and at each change, until stop.
func (t *Terminal) Resizes(f func(Size)) (stop func()) {
	if s, err := t.Size(); err == nil {
		f(s)
	}
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	go func() {
		for range changes {
			if s, err := t.Size(); err == nil {
				f(s)
			}
		}
	}()
	return func() { signal.Stop(changes); close(changes) }
}

// ResizePTY sets the size of a container's terminal by its master side.
func ResizePTY(master *os.File, s Size) error {
	// Not by File.Fd, which would make the file blocking, and then Close no
	// longer ended a Read.
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	})
	return errors.Join(err, ioctl)
}

// ErrDetached: the user typed the detach keys.
var ErrDetached = errors.New("detached")

// detacher passes bytes on until the keys come, one after the other. Keys that
// have begun are held back, and passed on if something else follows.
type detacher struct {
	in   io.Reader
	keys []byte
	held int // how many keys have been seen
	out  []byte
}

// NewDetacher wraps a terminal's input; its Read fails with ErrDetached when
// the keys were typed.
func NewDetacher(in io.Reader, keys []byte) io.Reader {
	if len(keys) == 0 {
		return in
	}
	return &detacher{in: in, keys: slices.Clone(keys)}
}

func (d *detacher) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		buf := make([]byte, len(p))
		n, err := d.in.Read(buf)
		for _, b := range buf[:n] {
			if d.step(b) {
				return 0, ErrDetached
			}
		}
		if err != nil && len(d.out) == 0 {
			return 0, err
		}
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// step takes one byte and tells whether the keys are complete.
func (d *detacher) step(b byte) bool {
	if b == d.keys[d.held] {
		d.held++
		return d.held == len(d.keys)
	}
	d.out = append(d.out, d.keys[:d.held]...)
	d.held = 0
	if b == d.keys[0] {
		d.held = 1
		return false
	}
	d.out = append(d.out, b)
	return false
}
