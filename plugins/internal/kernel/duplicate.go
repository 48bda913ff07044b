package kernel

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// probeWait bounds the detection of duplicate addresses. With the kernel's
// defaults (RFC 4862: a random delay of up to a second, one probe, another
// second) it takes less than three.
const probeWait = 5 * time.Second

// probe is address for a link on which others may have the same IPv6 address:
// it returns when the kernel has found that nobody has, and with an error if
// somebody does.
func (c *Container) probe(link Interface, owned wire.Owned) (Interface, error) {
	news, err := nl.SubscribeAt(c.ns, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return link, fmt.Errorf("subscribe to address changes in %s: %w", c.Path, err)
	}
	defer news.Close()
	if link, err = c.address(link, owned, 0); err != nil {
		return link, err
	}
	for deadline := time.Now().Add(probeWait); ; {
		pending, err := c.tentative(link.device(), owned.Addresses)
		if err != nil || pending == "" {
			return link, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return link, c.unproven(link.device(), pending)
		}
		if err := await(news, left); err != nil {
			return link, fmt.Errorf("read address changes in %s: %w", c.Path, err)
		}
	}
}

// await blocks until something is announced, or the time is up.
func await(news *nl.NetlinkSocket, wait time.Duration) error {
	timeout := unix.NsecToTimeval(max(wait, time.Millisecond).Nanoseconds())
	if err := news.SetReceiveTimeout(&timeout); err != nil {
		return err
	}
	_, _, err := news.Receive()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
		return nil
	}
	return err
}

// tentative gives an address that the kernel is still probing for, "" if there
// is none, or an error if one was found to be somebody else's.
func (c *Container) tentative(link netlink.Link, addresses []wire.Address) (string, error) {
	handle, err := c.library()
	if err != nil {
		return "", err
	}
	have, err := handle.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return "", fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	pending := ""
	for _, addr := range have {
		prefix := prefixOf(addr.IPNet)
		if !slices.ContainsFunc(addresses, func(a wire.Address) bool { return a.Prefix == prefix }) {
			continue
		}
		switch {
		case addr.Flags&unix.IFA_F_DADFAILED != 0:
			return "", fmt.Errorf("address %s of %s is in use by another machine on the network (duplicate address detection)", prefix, link.Attrs().Name)
		case addr.Flags&unix.IFA_F_TENTATIVE != 0:
			pending = prefix.String()
		}
	}
	return pending, nil
}

// unproven decides on an address that was not confirmed in time. On a link
// without a carrier there is nobody to ask; the kernel does it later.
func (c *Container) unproven(link netlink.Link, address string) error {
	now, err := c.rt.look(link.Attrs().Name)
	if err != nil {
		return fmt.Errorf("in %s: %w", c.Path, err)
	}
	if now[0].flags&unix.IFF_LOWER_UP == 0 {
		return nil
	}
	return fmt.Errorf("address %s of %s is still being probed for after %s", address, link.Attrs().Name, probeWait)
}
