package listen

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call moves at most. Twice as many
// gain nothing, and a host may have thousands of sockets.
const batchSize = 8

// replyRoom in bytes is for the answers of an ordinary batch; more is fetched
// when it is needed.
const replyRoom = 1024

// A batch reads waiting datagrams in one system call (recvmmsg(2)) and sends
// the answers in another one. Under load that saves half of what the resolver
// itself costs; a single datagram is not kept waiting for others.
//
// The calls are made without telling Go's scheduler, which is allowed because
// they never block. Otherwise its monitor takes every call that is longer than
// some 20 µs for a blocked thread and wakes another one, at a cost of about a
// fifth of the processor's time (sending over a veth includes all of the
// receiver's protocol work).
type batch struct {
	raw syscall.RawConn
	err error

	n       int // datagrams in the batch
	replies int // answers so far
	sent    int // of them

	in, out [batchSize]mmsghdr
	iovIn   [batchSize]unix.Iovec
	iovOut  [batchSize]unix.Iovec
	from    [batchSize]unix.RawSockaddrInet6 // room for both families
	buf     [batchSize][maxRequest]byte
	answers []byte // of this batch, one after another

	// Made once: a closure for each call would be garbage.
	readFunc, writeFunc func(fd uintptr) bool
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

func newBatch(conn *net.UDPConn) (*batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{raw: raw, answers: make([]byte, 0, replyRoom)}
	b.readFunc, b.writeFunc = b.tryRead, b.tryWrite
	for i := range b.in {
		b.iovIn[i].Base = &b.buf[i][0]
		b.iovIn[i].SetLen(maxRequest)
		b.in[i].hdr.Iov, b.out[i].hdr.Iov = &b.iovIn[i], &b.iovOut[i]
		b.in[i].hdr.SetIovlen(1)
		b.out[i].hdr.SetIovlen(1)
		b.in[i].hdr.Name = (*byte)(unsafe.Pointer(&b.from[i]))
	}
	return b, nil
}

// read waits for datagrams.
func (b *batch) read() error {
	b.n, b.replies, b.answers = 0, 0, b.answers[:0]
	for i := range b.in {
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	if err := b.raw.Read(b.readFunc); err != nil {
		return err
	}
	return b.err
}

func (b *batch) tryRead(fd uintptr) bool {
	return b.try(&b.n, func() (uintptr, syscall.Errno) {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		return n, errno
	})
}

// try makes a call that does not wait, and adds its result to count. It is
// false if the call has to be made again when the socket is ready.
func (b *batch) try(count *int, call func() (uintptr, syscall.Errno)) bool {
	b.err = nil
	for {
		n, errno := call()
		switch errno {
		case 0:
			*count += int(n)
			return true
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		b.err = errno
		return true
	}
}

// message is the i-th datagram.
func (b *batch) message(i int) []byte { return b.buf[i][:b.in[i].len] }

// source is where the i-th datagram came from, without a zone.
func (b *batch) source(i int) netip.AddrPort {
	sa := &b.from[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	if sa.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), port)
}

// reply adds the answer to the i-th datagram, which it copies.
func (b *batch) reply(i int, msg []byte) {
	at := len(b.answers)
	b.answers = append(b.answers, msg...)
	o := &b.out[b.replies]
	o.hdr.Name, o.hdr.Namelen = b.in[i].hdr.Name, b.in[i].hdr.Namelen
	b.iovOut[b.replies].Base = &b.answers[at]
	b.iovOut[b.replies].SetLen(len(msg))
	b.replies++
}

// send sends the answers. One that the kernel won't take is given up: its
// client is gone, or a firewall rule is in the way.
func (b *batch) send() {
	for b.sent = 0; b.sent < b.replies; {
		if err := b.raw.Write(b.writeFunc); err != nil {
			return
		}
		if b.err != nil {
			b.sent++
		}
	}
}

func (b *batch) tryWrite(fd uintptr) bool {
	return b.try(&b.sent, func() (uintptr, syscall.Errno) {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[b.sent])), uintptr(b.replies-b.sent), unix.MSG_DONTWAIT, 0, 0)
		return n, errno
	})
}
