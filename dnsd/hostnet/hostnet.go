// Package hostnet knows two things about the network namespace it runs in,
// and hears from the kernel when they change: the addresses of the host, and
// the devices.
package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Monitor hears of changes.
type Monitor struct {
	socket *os.File
	// onLink is called with the name of a device that came or went.
	onLink func(device string)

	stale atomic.Bool // addresses changed since they were read
	mu    sync.Mutex
	addrs map[netip.Addr]struct{}
}

// Watch begins to listen to the kernel. onLink is called from a goroutine of
// the monitor.
func Watch(onLink func(device string)) (*Monitor, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd) //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	m := &Monitor{socket: os.NewFile(uintptr(fd), "netlink"), onLink: onLink}
	m.stale.Store(true)
	go m.listen()
	return m, nil
}

// Close ends the watch.
func (m *Monitor) Close() error { return m.socket.Close() }

// Contains tells whether an address is the host's own. The list is read when
// it is needed and not each time it changes: a host with many containers has
// thousands of changes that nobody asks about.
func (m *Monitor) Contains(a netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stale.Swap(false) {
		if err := m.read(); err != nil {
			m.stale.Store(true)
		}
	}
	_, ok := m.addrs[a]
	return ok
}

func (m *Monitor) read() error {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	m.addrs = make(map[netip.Addr]struct{}, len(list))
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			addr, _ := netip.AddrFromSlice(n.IP)
			m.addrs[addr.Unmap()] = struct{}{}
		}
	}
	return nil
}

func (m *Monitor) listen() {
	buf := make([]byte, 64<<10)
	for {
		n, err := m.socket.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS): // there was more than we could take
			m.stale.Store(true)
			m.onLink("")
		case err != nil:
			return
		default:
			m.take(buf[:n])
		}
	}
}

func (m *Monitor) take(b []byte) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return
	}
	for _, msg := range messages {
		switch msg.Header.Type {
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			m.stale.Store(true)
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			if name := linkName(msg.Data); name != "" {
				m.onLink(name)
			}
		}
	}
}

// linkName is the IFLA_IFNAME attribute of a link message: struct ifinfomsg,
// then attributes of a length (with its own four bytes), a type and a value,
// each beginning at a multiple of four.
func linkName(data []byte) string {
	const ifinfo, head = unix.SizeofIfInfomsg, 4
	for off := ifinfo; off+head <= len(data); {
		n := int(binary.NativeEndian.Uint16(data[off:]))
		kind := binary.NativeEndian.Uint16(data[off+2:])
		if n < head || off+n > len(data) {
			return ""
		}
		if kind == unix.IFLA_IFNAME {
			return unix.ByteSliceToString(data[off+head : off+n])
		}
		off += (n + 3) &^ 3
	}
	return ""
}
