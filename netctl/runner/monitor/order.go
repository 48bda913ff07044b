package monitor

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner/store"
)

// Order is what a command hands to the monitor that it has executed: the container
// is to be started now.
type Order struct {
	// Lock is the container's, which passes to the monitor.
	Lock *store.Lock
	// Netns is the container's own network namespace, nil if it has none.
	Netns *os.File
	// Client is the monitor's end of a connection to the command that stays in the
	// foreground, or nil.
	Client *os.File
}

// An order goes over a unix socket in one message: the descriptors, and a byte for
// each that tells which it is.
const (
	orderLock   = 'l'
	orderNetns  = 'n'
	orderClient = 'c'
	orderMax    = 3
)

func (o Order) send(conn *os.File) error {
	var kinds []byte
	var fds []int
	add := func(kind byte, f *os.File) {
		if f != nil {
			kinds, fds = append(kinds, kind), append(fds, int(f.Fd()))
		}
	}
	add(orderLock, o.Lock.File)
	add(orderNetns, o.Netns)
	add(orderClient, o.Client)
	if err := unix.Sendmsg(int(conn.Fd()), kinds, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("send order: %w", err)
	}
	return nil
}

// errNoOrder: the command has thought better of it, or is dead.
var errNoOrder = errors.New("no order came")

// receiveOrder waits for one.
func receiveOrder(conn *os.File) (Order, error) {
	kinds, fds, err := receiveFiles(conn)
	if err != nil {
		return Order{}, fmt.Errorf("receive order: %w", err)
	}
	if len(kinds) == 0 {
		return Order{}, errNoOrder
	}
	var o Order
	for i, fd := range fds {
		switch f := os.NewFile(uintptr(fd), "order"); kinds[i] {
		case orderLock:
			o.Lock = &store.Lock{File: f}
		case orderNetns:
			o.Netns = f
		case orderClient:
			o.Client = f
		default:
			_ = f.Close()
		}
	}
	if o.Lock == nil {
		return o, errors.New("receive order: it came without the container's lock")
	}
	return o, nil
}

// receiveFiles reads one message with a descriptor for each of its bytes; nothing at
// the end of the connection.
func receiveFiles(conn *os.File) (kinds []byte, fds []int, err error) {
	kinds = make([]byte, orderMax)
	control := make([]byte, unix.CmsgSpace(4*orderMax))
	var n, controlled int
	for {
		n, controlled, _, _, err = unix.Recvmsg(int(conn.Fd()), kinds, control, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if n == 0 || err != nil {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlled])
	if err != nil {
		return nil, nil, err
	}
	for _, m := range messages {
		rights, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, nil, err
		}
		fds = append(fds, rights...)
	}
	if len(fds) != n {
		return nil, nil, fmt.Errorf("%d descriptors for %d: %w", len(fds), n, io.ErrUnexpectedEOF)
	}
	return kinds[:n], fds, nil
}
