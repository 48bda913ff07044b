// Package inside makes the resolver's sockets in a container's own network
// namespace, for containers that no gateway of the host serves: on macvlan, the
// host can't be reached at all. They are at an address of loopback and a port
// that the kernel picks, so that the container's own DNS server can still bind
// port 53 of all addresses; rules in the namespace lead port 53 there.
//
// The plugin makes them and hands them over, so that the resolver needs no
// right to enter namespaces. Only one that starts anew makes them itself,
// before it gives its rights up.
package inside

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Addr is where the container asks. It is Docker's, which people's tools know.
// Unlike 127.0.0.1:53 nobody else claims it, and it is there in a namespace
// without IPv4, too.
var Addr = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// backlog of the TCP socket, in connections.
const backlog = 128

// Sockets are a container's two, at one port.
type Sockets struct {
	UDP, TCP *os.File
	Port     uint16
}

// Files are the sockets in the order in which Adopt wants them.
func (s Sockets) Files() []*os.File { return []*os.File{s.UDP, s.TCP} }

// Close closes them.
func (s Sockets) Close() {
	for _, f := range s.Files() {
		if f != nil {
			f.Close() //nolint:errcheck // nothing is lost with it
		}
	}
}

// Open makes the sockets in the namespace of the calling thread, at a port, or
// for 0 at one that is free for both transports.
func Open(port uint16) (Sockets, error) {
	const tries = 16 // a port that is free for UDP may be taken for TCP
	for i := 0; ; i++ {
		s, err := open(port)
		if err == nil || port != 0 || i == tries || !errors.Is(err, unix.EADDRINUSE) {
			return s, err
		}
	}
}

// OpenAt is Open in the namespace that a path leads to.
func OpenAt(netns string, port uint16) (s Sockets, err error) {
	file, err := os.Open(netns)
	if err != nil {
		return s, fmt.Errorf("open network namespace: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace %s: %w", netns, err)
			return
		}
		s, err = Open(port)
	}()
	<-done
	return s, err
}

func open(port uint16) (s Sockets, err error) {
	defer func() {
		if err != nil {
			s.Close()
			s = Sockets{}
		}
	}()
	if s.UDP, s.Port, err = bind(unix.SOCK_DGRAM, port); err != nil {
		return s, err
	}
	if s.TCP, _, err = bind(unix.SOCK_STREAM, s.Port); err != nil {
		return s, err
	}
	if err := unix.Listen(int(s.TCP.Fd()), backlog); err != nil {
		return s, fmt.Errorf("listen on %s: %w", netip.AddrPortFrom(Addr, s.Port), err)
	}
	return s, nil
}

// bind makes one socket, also while the last resolver's is still there
// (SO_REUSEPORT). Lo has to be up: else the address can't be the source of an
// answer.
func bind(kind int, port uint16) (*os.File, uint16, error) {
	at := netip.AddrPortFrom(Addr, port)
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("make a socket for %s: %w", at, err)
	}
	file := os.NewFile(uintptr(fd), at.String())
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
	)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: Addr.As4(), Port: int(port)})
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		file.Close() //nolint:errcheck // the first error counts
		return nil, 0, fmt.Errorf("bind %s: %w", at, err)
	}
	return file, uint16(name.(*unix.SockaddrInet4).Port), nil
}
