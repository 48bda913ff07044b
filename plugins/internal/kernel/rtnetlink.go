package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A conn is a socket of rtnetlink for what is on the path of every attachment.
// The library sends one request at a time, looks links up by name again and
// again, and decodes all that the kernel says of them (statistics of 300 bytes
// twice); this one sends several requests in one datagram and reads what is
// needed. Requests are built with the library's words.
type conn struct {
	fd  int
	seq uint32
}

// dial opens a socket in the network namespace of the calling thread.
func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	// All three are younger than netlink: without them errors repeat the
	// request, say nothing but a number, and dumps are not filtered.
	for _, option := range []int{unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK} {
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &conn{fd: fd}, nil
}

func (c *conn) close() {
	if c != nil {
		unix.Close(c.fd)
	}
}

// A reply is the kernel's answer to one request.
type reply struct {
	err  error
	data [][]byte // payloads of the messages before the acknowledgement
}

// exchange sends requests in one datagram. The kernel works them off in order,
// and goes on after one that failed. There is a reply for each.
func (c *conn) exchange(requests ...*nl.NetlinkRequest) ([]reply, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	var datagram []byte
	first := c.seq + 1
	for _, r := range requests {
		c.seq++
		r.Seq = c.seq
		r.Flags |= unix.NLM_F_REQUEST
		if r.Flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP { // a dump ends with NLMSG_DONE
			r.Flags |= unix.NLM_F_ACK
		}
		datagram = append(datagram, r.Serialize()...)
	}
	if err := unix.Sendto(c.fd, datagram, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	replies := make([]reply, len(requests))
	buffer := make([]byte, os.Getpagesize()*2) // the kernel's datagrams are a page or two
	for {
		n, err := c.receive(&buffer)
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, fmt.Errorf("netlink: %w", err)
		}
		for _, m := range messages {
			i := m.Header.Seq - first
			if i >= uint32(len(replies)) {
				continue // of an earlier exchange that was given up
			}
			if !replies[i].take(m) {
				continue
			}
			if i == uint32(len(replies))-1 {
				return replies, nil
			}
		}
	}
}

// receive reads a datagram, and makes the buffer larger if it has to.
func (c *conn) receive(buffer *[]byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, *buffer, unix.MSG_PEEK|unix.MSG_TRUNC)
		if err == nil && n > len(*buffer) {
			*buffer = make([]byte, n)
		}
		if err == nil {
			n, _, err = unix.Recvfrom(c.fd, *buffer, 0)
		}
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				err = fmt.Errorf("netlink: %w", err)
			}
			return n, err
		}
	}
}

// take adds a message and tells whether it was the last one of the reply.
func (r *reply) take(m syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.NLMSG_DONE:
		return true
	case unix.NLMSG_ERROR:
		r.err = errorOf(m)
		return true
	}
	r.data = append(r.data, append([]byte(nil), m.Data...)) // the buffer is used again
	return false
}

// errorOf decodes an acknowledgement: struct nlmsgerr and, where the kernel has
// more to say, attributes after it (netlink(7), NETLINK_EXT_ACK).
func errorOf(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return errors.New("netlink: short acknowledgement")
	}
	number := int32(binary.NativeEndian.Uint32(m.Data))
	if number == 0 {
		return nil
	}
	errno := syscall.Errno(-number)
	const attributes = 4 + unix.SizeofNlMsghdr
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 || len(m.Data) < attributes {
		return errno
	}
	parsed, _ := nl.ParseRouteAttr(m.Data[attributes:])
	for _, a := range parsed {
		if a.Attr.Type&nlaType == nl.NLMSGERR_ATTR_MSG {
			return fmt.Errorf("%w: %s", errno, unix.ByteSliceToString(a.Value))
		}
	}
	return errno
}

// steps are requests that go together, each with what it is for.
type steps struct {
	requests []*nl.NetlinkRequest
	what     []string
}

func (s *steps) add(r *nl.NetlinkRequest, format string, args ...any) {
	s.requests, s.what = append(s.requests, r), append(s.what, fmt.Sprintf(format, args...))
}

// do returns the error of the first step that failed.
func (s *steps) do(c *conn) error {
	replies, err := c.exchange(s.requests...)
	if err != nil {
		return err
	}
	for i, r := range replies {
		if r.err != nil {
			return fmt.Errorf("%s: %w", s.what[i], r.err)
		}
	}
	return nil
}
