package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
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
	// buffer takes one datagram of the kernel's. It hands out no larger ones:
	// a dump's datagrams have the length of the buffer they are read into, and a
	// single object is far smaller.
	buffer []byte
}

const datagramSize = 16 << 10

// dial opens a socket in the network namespace of the calling thread.
func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return setUpConn(fd)
}

// dialIn opens a socket in another namespace than the calling thread's own.
func dialIn(ns, own netns.NsHandle) (*conn, error) {
	fd, err := socketIn(int(ns), int(own))
	if err != nil {
		return nil, err
	}
	return setUpConn(fd)
}

func setUpConn(fd int) (*conn, error) {
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
// and goes on after one that failed. There is a reply for each. Of several only
// the last may be a dump.
//
// An error is always answered, success only where it is asked for (NLM_F_ACK).
// The last request asks, unless it is a question, which has an answer as it is;
// and its answer means that the kernel is through with all of them.
func (c *conn) exchange(requests ...*nl.NetlinkRequest) ([]reply, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	first := c.seq + 1
	if err := unix.Sendto(c.fd, c.serialize(requests), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	replies := make([]reply, len(requests))
	for {
		messages, err := c.receive()
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			i := m.Header.Seq - first
			if i >= uint32(len(replies)) {
				continue // of an earlier exchange that was given up
			}
			done := replies[i].take(m) || isQuestion(requests[i])
			if done && i == uint32(len(replies))-1 {
				return replies, nil
			}
		}
	}
}

// ask is exchange for a single request that is answered by success or failure.
func (c *conn) ask(r *nl.NetlinkRequest) error {
	replies, err := c.exchange(r)
	if err != nil {
		return err
	}
	return replies[0].err
}

func (h *Host) ask(r *nl.NetlinkRequest) error { return h.rt.ask(r) }

func (c *Container) ask(r *nl.NetlinkRequest) error { return c.rt.ask(r) }

// serialize numbers the requests and puts them one behind the other.
func (c *conn) serialize(requests []*nl.NetlinkRequest) []byte {
	var datagram []byte
	for i, r := range requests {
		c.seq++
		r.Seq = c.seq
		r.Flags = r.Flags&^unix.NLM_F_ACK | unix.NLM_F_REQUEST
		if last := i == len(requests)-1; last && !isQuestion(r) && !isDump(r) { // a dump ends with NLMSG_DONE
			r.Flags |= unix.NLM_F_ACK
		}
		datagram = append(datagram, r.Serialize()...)
	}
	return datagram
}

// isQuestion tells whether a request is answered by one object, or an error. Of
// the four kinds of message that there are about each sort of object, the third
// asks (rtnetlink_rcv_msg).
func isQuestion(r *nl.NetlinkRequest) bool {
	const get = 2
	return r.Type&3 == get && !isDump(r)
}

func isDump(r *nl.NetlinkRequest) bool { return r.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP }

// receive reads one datagram. What it returns is valid until the next one.
func (c *conn) receive() ([]syscall.NetlinkMessage, error) {
	if c.buffer == nil {
		c.buffer = make([]byte, datagramSize)
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buffer, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("netlink: %w", err)
		case n > len(c.buffer):
			return nil, fmt.Errorf("netlink: the kernel's answer has %d bytes, more than the %d there is room for", n, len(c.buffer))
		}
		messages, err := syscall.ParseNetlinkMessage(c.buffer[:n])
		if err != nil {
			return nil, fmt.Errorf("netlink: %w", err)
		}
		return messages, nil
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
	const more = 4 + unix.SizeofNlMsghdr
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 || len(m.Data) < more {
		return errno
	}
	if message := attribute(m.Data[more:], nl.NLMSGERR_ATTR_MSG); message != nil {
		return fmt.Errorf("%w: %s", errno, unix.ByteSliceToString(message))
	}
	return errno
}

// steps are requests that go together.
type steps []step

// A step is a request and, for an error, what it is for.
type step struct {
	request *nl.NetlinkRequest
	format  string
	args    []any
	// mayExist means that "exists" is success.
	mayExist bool
}

func (s *steps) add(r *nl.NetlinkRequest, format string, args ...any) {
	*s = append(*s, step{request: r, format: format, args: args})
}

// do returns the reply to the last step, or the error of the first that failed.
func (s steps) do(c *conn) (reply, error) {
	requests := make([]*nl.NetlinkRequest, len(s))
	for i, step := range s {
		requests[i] = step.request
	}
	replies, err := c.exchange(requests...)
	if err != nil {
		return reply{}, err
	}
	for i, r := range replies {
		if r.err != nil && !(s[i].mayExist && errors.Is(r.err, unix.EEXIST)) {
			return r, fmt.Errorf(s[i].format+": %w", append(s[i].args, r.err)...)
		}
	}
	return replies[len(replies)-1], nil
}
