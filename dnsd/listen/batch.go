package listen

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call moves at most.
const batchSize = 16

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
	conn *net.UDPConn
	raw  syscall.RawConn
	n    int // datagrams in the batch
	err  error

	in, out [batchSize]mmsghdr
	iovIn   [batchSize]unix.Iovec
	iovOut  [batchSize]unix.Iovec
	from    [batchSize]unix.RawSockaddrInet6 // room for both families
	buf     [batchSize][maxRequest]byte
	replies int

	// Made once: a closure for each call would be garbage.
	readFunc, writeFunc func(fd uintptr) bool
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

func newBatch(conn *net.UDPConn) (*batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{conn: conn, raw: raw}
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
	b.n, b.replies = 0, 0
	for i := range b.in {
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	if err := b.raw.Read(b.readFunc); err != nil {
		return err
	}
	return b.err
}

func (b *batch) tryRead(fd uintptr) bool {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	return b.done(n, errno, &b.n)
}

// done notes a call's outcome, and tells whether there is one.
func (b *batch) done(n uintptr, errno syscall.Errno, count *int) bool {
	b.err = nil
	switch errno {
	case 0:
		*count = int(n)
	case unix.EAGAIN, unix.EINTR:
		return false
	default:
		b.err = errno
	}
	return true
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

// reply adds the answer to the i-th datagram. The bytes must stay as they are
// until send.
func (b *batch) reply(i int, msg []byte) {
	o := &b.out[b.replies]
	o.hdr.Name, o.hdr.Namelen = b.in[i].hdr.Name, b.in[i].hdr.Namelen
	b.iovOut[b.replies].Base = &msg[0]
	b.iovOut[b.replies].SetLen(len(msg))
	b.replies++
}

// send sends the answers. One that the kernel won't take is given up: its
// client is gone, or a firewall rule is in the way.
func (b *batch) send() {
	for sent := 0; sent < b.replies; {
		b.n = sent
		if err := b.raw.Write(b.writeFunc); err != nil {
			return
		}
		if b.err != nil {
			b.n++
		}
		sent = b.n
	}
}

func (b *batch) tryWrite(fd uintptr) bool {
	var n int
	first := b.n
	m, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.out[first])), uintptr(b.replies-first), unix.MSG_DONTWAIT, 0, 0)
	ok := b.done(m, errno, &n)
	b.n = first + n
	return ok
}
