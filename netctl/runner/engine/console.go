//go:build linux && cgo && seccomp

package engine

import (
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/utils"
	"golang.org/x/sys/unix"
)

// console receives a terminal. The terminal pair is made inside the container,
// in its own devpts; the master side comes back through a socket.
type console struct{ ours, theirs *os.File }

func newConsole(p *libcontainer.Process) (*console, error) {
	ours, theirs, err := utils.NewSockPair("console")
	if err != nil {
		return nil, err
	}
	p.ConsoleSocket = theirs
	return &console{ours, theirs}, nil
}

func (c *console) Close() error { return errors.Join(c.ours.Close(), c.theirs.Close()) }

// receive takes the one message with the one descriptor that is ever sent.
func (c *console) receive() (*os.File, error) {
	// Our copy of the sender's end must go, or a sender that died would be
	// waited for in vain.
	c.theirs.Close()
	name := make([]byte, 4096)
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(c.ours.Fd()), name, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive terminal: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return nil, fmt.Errorf("receive terminal: %d messages: %w", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("receive terminal: %d descriptors: %w", len(fds), err)
	}
	// Non-blocking, so that Close ends a Read that is under way.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), string(name[:n])), nil
}
