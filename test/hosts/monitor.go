package hosts

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/test/netns"
)

// A Monitor hears of every change of links, addresses, routes, neighbours, FDB
// entries and packet filter in a namespace, as `ip monitor` and `nft monitor` do.
type Monitor struct {
	heard map[string]int
	fds   []int
}

// Listen starts a monitor.
func Listen(ns *netns.Namespace) (*Monitor, error) {
	m := &Monitor{heard: map[string]int{}}
	return m, ns.Do(func() error {
		route := uint32(unix.RTMGRP_LINK | unix.RTMGRP_NEIGH | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE)
		const nftables = 1 << (unix.NFNLGRP_NFTABLES - 1)
		for _, s := range []struct {
			protocol int
			groups   uint32
		}{{unix.NETLINK_ROUTE, route}, {unix.NETLINK_NETFILTER, nftables}} {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, s.protocol)
			if err != nil {
				return err
			}
			wait := unix.NsecToTimeval(int64(100 * time.Millisecond))
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
				return err
			}
			if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: s.groups}); err != nil {
				return err
			}
			m.fds = append(m.fds, fd)
		}
		return nil
	})
}

// Heard reads until there is nothing more for a moment, and gives the number of
// messages of each kind so far. Neighbours that the kernel itself resolves on
// other links (ARP of the underlay) don't count.
func (m *Monitor) Heard() (map[string]int, error) {
	buffer := make([]byte, 1<<18)
	for _, fd := range m.fds {
		for {
			n, _, err := unix.Recvfrom(fd, buffer, 0)
			if err == unix.EAGAIN {
				break
			}
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, err
			}
			messages, err := syscall.ParseNetlinkMessage(buffer[:n])
			if err != nil {
				return nil, err
			}
			for _, message := range messages {
				if name := kind(message); name != "" {
					m.heard[name]++
				}
			}
		}
	}
	return m.heard, nil
}

func kind(m syscall.NetlinkMessage) string {
	switch m.Header.Type {
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		// struct ndmsg: state at 8; what is not permanent is the kernel's own.
		if len(m.Data) > 9 && m.Data[8]&unix.NUD_PERMANENT == 0 {
			return ""
		}
		return "neighbour"
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return "link"
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return "address"
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return "route"
	}
	return fmt.Sprintf("netfilter %x", m.Header.Type)
}

// Close ends the monitor.
func (m *Monitor) Close() {
	for _, fd := range m.fds {
		unix.Close(fd)
	}
}
