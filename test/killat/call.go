package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"

	"golang.org/x/sys/unix"
)

// A call is a system call with its arguments.
type call struct {
	number uint64
	args   [6]uint64
}

// changing are the calls by which a process changes what outlives it: files,
// locks, links, rules, other processes. An open that creates nothing is left out, and
// so is a question to the kernel.
func changing() map[uint64]string {
	all := map[uint64]string{
		unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_SENDMMSG: "sendmmsg", unix.SYS_CONNECT: "connect", unix.SYS_BIND: "bind",
		unix.SYS_WRITE: "write", unix.SYS_WRITEV: "writev", unix.SYS_PWRITE64: "pwrite64", unix.SYS_PWRITEV: "pwritev",
		unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FLOCK: "flock",
		unix.SYS_OPENAT: "openat", unix.SYS_OPENAT2: "openat2", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_LINKAT: "linkat",
		unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FCHMOD: "fchmod",
		unix.SYS_FCHOWN: "fchown", unix.SYS_UTIMENSAT: "utimensat", unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount2", unix.SYS_SETNS: "setns",
		unix.SYS_UNSHARE: "unshare", unix.SYS_CLONE: "clone", unix.SYS_CLONE3: "clone3", unix.SYS_EXECVE: "execve",
		unix.SYS_KILL: "kill", unix.SYS_IOCTL: "ioctl", unix.SYS_EXIT_GROUP: "exit_group",
	}
	maps.Copy(all, legacy())
	return all
}

func (c call) String() string { return changing()[c.number] }

// changes tells whether the call could change anything. To start a thread
// changes nothing, to end is the last chance to be killed.
func (c call) changes(thread int) bool {
	name, found := changing()[c.number]
	switch name {
	case "openat":
		return c.args[2]&unix.O_CREAT != 0
	case "clone":
		return c.args[0]&unix.CLONE_THREAD == 0
	case "bind":
		return !isNetlink(thread, c.args[1])
	case "sendto":
		return !asks(thread, c.args[1])
	case "sendmsg":
		return !asks(thread, payload(thread, c.args[1]))
	}
	return found
}

// asks tells whether a message is a question to rtnetlink or to nf_tables. What
// is no netlink message at all does not look like one.
func asks(thread int, address uint64) bool {
	var header [unix.NLMSG_HDRLEN]byte
	if !peek(thread, address, header[:]) {
		return false
	}
	length, kind := binary.NativeEndian.Uint32(header[:]), binary.NativeEndian.Uint16(header[4:])
	switch {
	case length < unix.NLMSG_HDRLEN || length >= 1<<16:
		return false
	case kind >= unix.RTM_BASE && kind <= unix.RTM_MAX:
		return kind%4 == 2 // new, delete, get, set
	}
	return kind>>8 == unix.NFNL_SUBSYS_NFTABLES && nftQuestions()[kind&0xff]
}

func nftQuestions() map[uint16]bool {
	return map[uint16]bool{
		unix.NFT_MSG_GETTABLE: true, unix.NFT_MSG_GETCHAIN: true, unix.NFT_MSG_GETRULE: true, unix.NFT_MSG_GETSET: true,
		unix.NFT_MSG_GETSETELEM: true, unix.NFT_MSG_GETGEN: true, unix.NFT_MSG_GETOBJ: true, unix.NFT_MSG_GETFLOWTABLE: true,
	}
}

func isNetlink(thread int, sockaddr uint64) bool {
	var family [2]byte
	return peek(thread, sockaddr, family[:]) && binary.NativeEndian.Uint16(family[:]) == unix.AF_NETLINK
}

// payload is where the first part of a msghdr's data is, or 0: msg_iov is its
// third word, iov_base the first of that.
func payload(thread int, msghdr uint64) uint64 {
	var word [8]byte
	const iov = 16
	if !peek(thread, msghdr+iov, word[:]) || !peek(thread, binary.NativeEndian.Uint64(word[:]), word[:]) {
		return 0
	}
	return binary.NativeEndian.Uint64(word[:])
}

// peek reads the memory of a thread.
func peek(thread int, address uint64, into []byte) bool {
	file, err := os.Open(fmt.Sprintf("/proc/%d/mem", thread))
	if err != nil {
		return false
	}
	defer file.Close()
	n, err := file.ReadAt(into, int64(address))
	return err == nil && n == len(into)
}
