package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Deleting a veth pair takes the kernel 20 to 40 ms, nearly all of it spent
// waiting for an RCU barrier (netdev_run_todo) when the link has long been
// invisible: off every list, its name, addresses and routes gone. The wait is
// for memory to be freed and concerns nobody but the kernel; but it happens in
// the process that sent the request, uninterruptibly, also when that process
// exits. So a child sends it. The parent returns when the kernel has announced
// that the link is gone, after 1 to 2 ms.

// vanishWait bounds the wait for the announcement. It comes at once unless the
// rtnl lock is held by somebody else for long.
const vanishWait = 5 * time.Second

// vanish deletes the link of that index. It returns when no observer can see
// it any more. An index that nobody has is no error. The child keeps a
// descriptor as long as it lives, 0 for none.
func vanish(index, keep int) error {
	news, err := subscribe()
	if err != nil {
		return err
	}
	defer unix.Close(news)
	request, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	child, errno := errand{socket: request, datagram: deleteRequest(index), keep: keep}.run()
	unix.Close(request)
	if errno != 0 {
		return fmt.Errorf("fork: %w", errno)
	}
	go reap(child)
	return awaitGone(news, index)
}

// reap takes the child's exit status, for a caller that lives longer.
func reap(child int) {
	for {
		if _, err := unix.Wait4(child, nil, unix.WALL, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// subscribe opens a socket on which the kernel announces changes of links.
func subscribe() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("open netlink: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK})
	if err == nil {
		wait := unix.NsecToTimeval(int64(vanishWait))
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("subscribe to link changes: %w", err)
	}
	return fd, nil
}

// deleteRequest is RTM_DELLINK for an index: nlmsghdr and ifinfomsg, netlink(7).
func deleteRequest(index int) []byte {
	const length = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	m := make([]byte, length)
	binary.NativeEndian.PutUint32(m[0:], length)
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_DELLINK)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(m[unix.SizeofNlMsghdr+4:], uint32(index))
	return m
}

// awaitGone reads announcements until the link's own.
func awaitGone(news, index int) error {
	buffer := make([]byte, os.Getpagesize()*4)
	for deadline := time.Now().Add(vanishWait); time.Now().Before(deadline); {
		n, _, err := unix.Recvfrom(news, buffer, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN):
			return errMissed // announcements were lost, or none came
		case err != nil:
			return fmt.Errorf("read link changes: %w", err)
		}
		if announces(buffer[:n], index) {
			return nil
		}
	}
	return errMissed
}

// errMissed tells the caller to look for itself.
var errMissed = errors.New("no announcement of the link's end")

// announces tells whether a datagram holds RTM_DELLINK of the index.
func announces(datagram []byte, index int) bool {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Type == unix.RTM_DELLINK && len(m.Data) >= unix.SizeofIfInfomsg &&
			binary.NativeEndian.Uint32(m.Data[4:]) == uint32(index) {
			return true
		}
	}
	return false
}
