package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/vishvananda/netlink"
)

// BenchBridge is the bridge of attachments the lab makes itself.
const BenchBridge = "lab0"

// The networks of the bench (RFC 1918 and RFC 4193 space).
var (
	benchV4 = netip.MustParsePrefix("10.213.0.1/16")
	benchV6 = netip.MustParsePrefix("fd00:c0de::1/64")
)

// Bench gives a container an interface without any plugin: a veth pair on a
// bridge with a gateway address in both families. Chained plugins are judged
// on it, so that their rows do not depend on somebody else's interface plugin.
// The result is the one a bridge plugin would have answered: bridge, host end,
// container end.
func (h *Host) Bench(c *Container, ifname string, n int) (*protocol.Result, error) {
	if err := h.benchBridge(); err != nil {
		return nil, err
	}
	host := fmt.Sprintf("vethlab%d", n)
	if err := h.cable(host, c.Netns, ifname); err != nil {
		return nil, err
	}
	v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(n >> 8), byte(n) + 10}), benchV4.Bits())
	v6 := netip.PrefixFrom(benchV6.Addr().Next(), benchV6.Bits())
	for range n + 8 {
		v6 = netip.PrefixFrom(v6.Addr().Next(), v6.Bits())
	}
	if err := h.plugIn(host); err != nil {
		return nil, err
	}
	if err := c.address(ifname, v4, v6); err != nil {
		return nil, err
	}
	if ifname == "eth0" {
		for _, gw := range []netip.Addr{benchV4.Addr(), benchV6.Addr()} {
			if err := c.route(netip.Prefix{}, gw, ifname); err != nil {
				return nil, err
			}
		}
	}
	h.recordBench(c, ifname, host, v4, v6)
	return h.benchResult(c, ifname, host, v4, v6)
}

// benchBridge makes the bridge once, with the gateway addresses and forwarding.
func (h *Host) benchBridge() error {
	if _, err := h.NL.LinkByName(BenchBridge); err == nil {
		return nil
	}
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	br.Name = BenchBridge
	// A bridge without an address of its own takes one from its ports, and
	// would seem to change whenever a container comes or goes.
	br.HardwareAddr = net.HardwareAddr{0x02, 0xc0, 0x4f, 0, 0, 1}
	if err := h.NL.LinkAdd(br); err != nil {
		return fmt.Errorf("make %s: %w", BenchBridge, err)
	}
	if err := h.address(BenchBridge, benchV4, benchV6); err != nil {
		return err
	}
	h.Script.Addf("ip link add %s address 02:c0:4f:00:00:01 type bridge; ip addr add %s dev %[1]s; ip addr add %[3]s dev %[1]s nodad; ip link set %[1]s up", BenchBridge, benchV4, benchV6)
	if err := h.Sysctl("ipv4/ip_forward", "1"); err != nil {
		return err
	}
	return h.Sysctl("ipv6/conf/all/forwarding", "1")
}

// plugIn puts the host end of a cable into the bridge, hairpin on.
func (h *Host) plugIn(host string) error {
	link, err := h.NL.LinkByName(host)
	if err != nil {
		return err
	}
	br, err := h.NL.LinkByName(BenchBridge)
	if err != nil {
		return err
	}
	if err := h.NL.LinkSetMaster(link, br); err != nil {
		return fmt.Errorf("put %s into %s: %w", host, BenchBridge, err)
	}
	if err := h.NL.LinkSetHairpin(link, true); err != nil {
		return fmt.Errorf("hairpin on %s: %w", host, err)
	}
	return h.NL.LinkSetUp(link)
}

func (h *Host) recordBench(c *Container, ifname, host string, v4, v6 netip.Prefix) {
	h.Script.Addf("ip link add %s type veth peer name %s netns %s; ip link set %[1]s master %[4]s up; bridge link set dev %[1]s hairpin on", host, q(ifname), q(c.Name), BenchBridge)
	h.Script.Addf("ip -n %s addr add %s dev %s; ip -n %[1]s addr add %[4]s dev %[3]s nodad; ip -n %[1]s link set %[3]s up", q(c.Name), v4, q(ifname), v6)
	if ifname == "eth0" {
		h.Script.Addf("ip -n %s route add default via %s; ip -n %[1]s route add default via %[3]s", q(c.Name), benchV4.Addr(), benchV6.Addr())
	}
}

// benchResult reads the hardware addresses back and writes the result.
func (h *Host) benchResult(c *Container, ifname, host string, v4, v6 netip.Prefix) (*protocol.Result, error) {
	res := &protocol.Result{Routes: []protocol.Route{{Dst: "0.0.0.0/0"}, {Dst: "::/0"}}, DNS: &protocol.DNS{Nameservers: []string{OutsideV4.Addr().String()}}}
	for _, end := range []struct {
		ns      *Netns
		name    string
		sandbox string
	}{{h.Netns, BenchBridge, ""}, {h.Netns, host, ""}, {c.Netns, ifname, c.Path}} {
		link, err := end.ns.NL.LinkByName(end.name)
		if err != nil {
			return nil, fmt.Errorf("read %s back: %w", end.name, err)
		}
		res.Interfaces = append(res.Interfaces, protocol.Interface{Name: end.name, Mac: link.Attrs().HardwareAddr.String(), MTU: link.Attrs().MTU, Sandbox: end.sandbox})
	}
	at := 2
	for _, p := range []netip.Prefix{v4, v6} {
		gw := benchV4.Addr()
		if p.Addr().Is6() {
			gw = benchV6.Addr()
		}
		res.IPs = append(res.IPs, protocol.IP{Address: p.String(), Gateway: gw.String(), Interface: &at})
	}
	return res, nil
}

// Loose makes a link in the host that belongs to nothing, for rows about
// names that are taken.
func (n *Netns) Loose(name string) error {
	n.recordf("ip link add %s type bridge", q(name))
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	br.Name = name
	if err := n.NL.LinkAdd(br); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return nil
}
