package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses of the uplink (documentation ranges, RFC 5737 and RFC 3849).
var (
	HostV4    = netip.MustParsePrefix("192.0.2.2/24")
	HostV6    = netip.MustParsePrefix("2001:db8::2/64")
	OutsideV4 = netip.MustParsePrefix("192.0.2.1/24")
	OutsideV6 = netip.MustParsePrefix("2001:db8::1/64")
)

// connect makes the outside and the cable to it, with a default route.
func (h *Host) connect() error {
	var err error
	if h.Outside, err = newNetns("outside", unshared); err != nil {
		return err
	}
	if err := errors.Join(h.withoutDAD(), h.Outside.withoutDAD()); err != nil {
		return err
	}
	if err := h.cable(h.uplink, h.Outside, "eth0"); err != nil {
		return err
	}
	h.Script.Addf("sysctl -qw net.ipv6.conf.default.accept_dad=0; ip netns add outside; ip link add %s type veth peer name eth0 netns outside", q(h.uplink))
	if err := h.address(h.uplink, HostV4, HostV6); err != nil {
		return err
	}
	if err := h.Outside.address("eth0", OutsideV4, OutsideV6); err != nil {
		return err
	}
	h.Script.Addf("ip addr add %s dev %[2]s; ip addr add %s dev %[2]s nodad; ip link set %[2]s up", HostV4, q(h.uplink), HostV6)
	h.Script.Addf("ip -n outside addr add %s dev eth0; ip -n outside addr add %s dev eth0 nodad; ip -n outside link set eth0 up", OutsideV4, OutsideV6)
	h.Script.Addf("ip route add default via %s; ip route add default via %s", OutsideV4.Addr(), OutsideV6.Addr())
	h.Script.Addf("ip -n outside route add default via %s; ip -n outside route add default via %s", HostV4.Addr(), HostV6.Addr())
	return errors.Join(
		h.Outside.route(netip.Prefix{}, HostV4.Addr(), "eth0"),
		h.Outside.route(netip.Prefix{}, HostV6.Addr(), "eth0"),
		h.route(netip.Prefix{}, OutsideV4.Addr(), h.uplink),
		h.route(netip.Prefix{}, OutsideV6.Addr(), h.uplink),
	)
}

// withoutDAD switches duplicate address detection off for links to come. While
// it lasts, a second or more, an interface cannot ask for neighbours, and every
// row about IPv6 traffic would have to wait for it. Containers keep it: what
// happens there is the plugin's business.
func (n *Netns) withoutDAD() error { return n.Sysctl("ipv6/conf/default/accept_dad", "0") }

// cable makes a veth pair between two namespaces, one end each.
func (n *Netns) cable(name string, far *Netns, farName string) error {
	fd, err := far.descriptor()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: farName, PeerNamespace: netlink.NsFd(fd)}
	veth.Name = name
	if err := n.NL.LinkAdd(veth); err != nil {
		return fmt.Errorf("make cable %s: %w", name, err)
	}
	return nil
}

// descriptor opens the namespace.
func (n *Netns) descriptor() (int, error) {
	fd, err := unix.Open(n.file(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open namespace %s: %w", n.Name, err)
	}
	return fd, nil
}

// address gives a link addresses, without duplicate detection, and sets it up.
func (n *Netns) address(name string, prefixes ...netip.Prefix) error {
	link, err := n.NL.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	for _, p := range prefixes {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := n.NL.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", p, name, err)
		}
	}
	return n.NL.LinkSetUp(link)
}

// route adds a route; an invalid dst is the default route of the gateway's family.
func (n *Netns) route(dst netip.Prefix, via netip.Addr, dev string) error {
	link, err := n.NL.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("find %s: %w", dev, err)
	}
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: via.AsSlice()}
	if dst.IsValid() {
		r.Dst = ipNet(dst)
	}
	if err := n.NL.RouteAdd(r); err != nil {
		return fmt.Errorf("add route to %s via %s: %w", dst, via, err)
	}
	return nil
}

// ipNet is the netlink library's form of a prefix, host bits kept.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// linkGone waits until no link of the host has the index. Ends of a cable
// disappear some time after their namespace, when the kernel's worker runs.
func (h *Host) linkGone(index int) error {
	return h.Eventually(5*time.Second, func() error {
		link, err := h.NL.LinkByIndex(index)
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return nil
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("%s is still there", link.Attrs().Name)
	})
}

// Unplug removes the uplink, if it is still there.
func (h *Host) Unplug() error {
	link, err := h.NL.LinkByName(h.uplink)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", h.uplink, err)
	}
	h.Script.Addf("ip link del %s", q(h.uplink))
	return h.NL.LinkDel(link)
}

// Cable makes a veth pair from the host to the outside, up at both ends.
func (h *Host) Cable(name, farName string) error {
	h.Script.Addf("ip link add %s type veth peer name %s netns outside; ip link set %[1]s up; ip -n outside link set %[2]s up", q(name), q(farName))
	if err := h.cable(name, h.Outside, farName); err != nil {
		return err
	}
	return errors.Join(h.address(name), h.Outside.address(farName))
}

// Address gives a link of the namespace more addresses.
func (n *Netns) Address(link string, prefixes ...netip.Prefix) error {
	for _, p := range prefixes {
		n.recordf("ip addr add %s dev %s", p, q(link))
	}
	return n.address(link, prefixes...)
}

// Uplink is the name of the host's interface to the outside.
func (h *Host) Uplink() string { return h.uplink }

// CableTo makes a cable from the host to a container, with an address at each
// end and a default route in the container.
func (h *Host) CableTo(far *Netns, name string, near, there netip.Prefix) error {
	h.Script.Addf("ip link add %s type veth peer name eth0 netns %s; ip addr add %s dev %[1]s; ip link set %[1]s up", q(name), q(far.Name), near)
	h.Script.Addf("ip -n %s addr add %s dev eth0; ip -n %[1]s link set eth0 up; ip -n %[1]s route add default via %s", q(far.Name), there, near.Addr())
	if err := h.cable(name, far, "eth0"); err != nil {
		return err
	}
	return errors.Join(h.address(name, near), far.address("eth0", there), far.route(netip.Prefix{}, near.Addr(), "eth0"))
}

// RouteLocalhost makes the namespace send packets for 127/8 to its gateway
// instead of to itself, as a hostile container with enough rights can.
func (n *Netns) RouteLocalhost(dev string, gateway netip.Addr) error {
	n.cannot(n.Name + " sends packets for 127/8 to its gateway")
	if err := errors.Join(n.Sysctl("ipv4/conf/all/route_localnet", "1"), n.Sysctl("ipv4/conf/all/rp_filter", "0")); err != nil {
		return err
	}
	locals, err := n.NL.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: tableLocal}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list local routes: %w", err)
	}
	for _, r := range locals {
		if r.Dst != nil && r.Dst.IP.IsLoopback() {
			if err := n.NL.RouteDel(&r); err != nil {
				return fmt.Errorf("remove local route to %s: %w", r.Dst, err)
			}
		}
	}
	return n.route(netip.MustParsePrefix("127.0.0.0/8"), gateway, dev)
}
