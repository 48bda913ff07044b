package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

const overlayProtocol = wire.OverlayProtocol

// batch is how many messages go to the kernel in one system call. All of them may
// fail, and their errors must fit into the socket's receive buffer (208 KiB by
// default, of which each takes some 800 bytes).
const batch = 128

// batchWait bounds the wait for the kernel's answers, which takes the rtnl lock.
const batchWait = 10 * time.Second

// sendAll sends requests in batches and collects the kernel's answer to each:
// nil is success. One that fails does not stop the next.
func sendAll(all []request) ([]error, error) {
	answers := make([]error, len(all))
	if len(all) == 0 {
		return nil, nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer unix.Close(fd)
	// Acknowledgements without a copy of the request.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	wait := unix.NsecToTimeval(int64(batchWait))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	for start := 0; start < len(all); start += batch {
		part := all[start:min(start+batch, len(all))]
		if err := sendBatch(fd, part, start, answers); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// sendBatch numbers the messages by their place, from 1. The kernel carries them
// out in their order and answers each that fails; the last is answered whatever
// becomes of it (NLM_F_ACK), and so the batch is over.
func sendBatch(fd int, part []request, start int, answers []error) error {
	var buffer []byte
	for i, r := range part {
		at := len(buffer)
		buffer = append(buffer, r.message...)
		binary.NativeEndian.PutUint32(buffer[at:], uint32(len(r.message)))
		binary.NativeEndian.PutUint32(buffer[at+8:], uint32(start+i+1))
	}
	last := buffer[len(buffer)-len(part[len(part)-1].message):]
	binary.NativeEndian.PutUint16(last[6:], binary.NativeEndian.Uint16(last[6:])|unix.NLM_F_ACK)
	if err := unix.Sendto(fd, buffer, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send %d netlink messages: %w", len(part), err)
	}
	answer := make([]byte, 4<<10)
	for over := false; !over; {
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read netlink answers to %d messages: %w", len(part), err)
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return fmt.Errorf("read netlink answers: %w", err)
		}
		for _, m := range messages {
			i := int(m.Header.Seq) - 1
			if m.Header.Type != unix.NLMSG_ERROR || i < start || i >= start+len(part) || len(m.Data) < 4 {
				continue
			}
			over = over || i == start+len(part)-1
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				answers[i] = syscall.Errno(-code)
			}
		}
	}
	return nil
}
