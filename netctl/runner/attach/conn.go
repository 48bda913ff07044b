// Package attach is the one connection between a terminal and a container's
// monitor: a unix socket of type SOCK_SEQPACKET, on which a message is a type
// byte and at most 32 KiB. The kernel keeps the boundaries of messages, so there
// is no framing to get wrong.
//
//	client -> monitor   stdin, stdin closed, resize, signal, ask
//	monitor -> client   stdout, stderr, answer, then exit (or error) as the last one
//
// Hub is the monitor's end, Client the terminal's. Whoever may open the socket
// may do all of this; it is root's alone.
package attach

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Kind is the first byte of a message.
type Kind byte

const (
	Stdin       Kind = iota // bytes for standard input
	Stdout                  // bytes of standard output, or of the terminal
	Stderr                  // bytes of standard error
	Resize                  // columns and rows, two bytes each
	Exit                    // exit code, four bytes
	StdinClosed             // no more standard input
	Signal                  // one byte, the number
	Error                   // text: the container could not be run
	Ask                     // a change wanted of the container, in JSON
	Answer                  // to an Ask: empty, or text why it was not done
)

// MaxPayload is the longest payload of a message.
const MaxPayload = 32 << 10

// Conn is a connection that keeps message boundaries.
type Conn struct{ c *net.UnixConn }

// Send writes one message.
func (c *Conn) Send(k Kind, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("attach: message of %d bytes, at most %d", len(payload), MaxPayload)
	}
	_, err := c.c.Write(append([]byte{byte(k)}, payload...))
	return err
}

// Receive reads one message into buf, which holds MaxPayload+1 bytes. io.EOF
// means the other side has closed.
func (c *Conn) Receive(buf []byte) (Kind, []byte, error) {
	n, err := c.c.Read(buf)
	if err != nil {
		return 0, nil, err
	}
	if n == 0 {
		return 0, nil, errors.New("attach: empty message")
	}
	return Kind(buf[0]), buf[1:n], nil
}

func (c *Conn) Close() error { return c.c.Close() }

// Pair returns a connected pair: one end for us and one to hand to a process
// that is about to be started, so that it misses no output.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("attach: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "attach")
	ours, err := FromFile(os.NewFile(uintptr(fds[0]), "attach"))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// FromFile takes over an inherited connection.
func FromFile(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("attach: inherited a %s socket", c.LocalAddr().Network()), c.Close())
	}
	return &Conn{u}, nil
}

// Dial connects to the monitor that listens at path.
func Dial(path string) (*Conn, error) {
	var conn *net.UnixConn
	err := inDir(path, func(short string) (err error) {
		conn, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: short, Net: "unixpacket"})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Conn{conn}, nil
}

// Listen makes the socket at path, for its owner only.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l *net.UnixListener
	err := inDir(path, func(short string) (err error) {
		l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: short, Net: "unixpacket"})
		return err
	})
	if err != nil {
		return nil, err
	}
	// The short name is gone by the time the listener would remove it.
	l.SetUnlinkOnClose(false)
	return l, os.Chmod(path, 0o600)
}

// inDir calls f with a name for path that fits into a socket address, which
// holds 108 bytes (unix(7)); state directories may be longer.
func inDir(path string, f func(short string) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path))
}

// Size of a terminal.
type Size struct{ Columns, Rows uint16 }

func (s Size) encode() []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Columns), s.Rows)
}

func decodeSize(b []byte) (Size, bool) {
	if len(b) != 4 {
		return Size{}, false
	}
	return Size{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}, true
}

func encodeExit(code int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(code)) }

func decodeExit(b []byte) (int, bool) {
	if len(b) != 4 {
		return 0, false
	}
	return int(int32(binary.BigEndian.Uint32(b))), true
}
