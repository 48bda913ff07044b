package firewall

import (
	"net/netip"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// family is an address family. All rules are written once, over a family; what
// differs between the two is in this file.
type family uint8

const (
	ipv4 family = 4
	ipv6 family = 6
)

func families() [2]family { return [2]family{ipv4, ipv6} }

func (f family) String() string {
	if f == ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

// tool is the prefix of the family's iptables programs.
func (f family) tool() string {
	if f == ipv4 {
		return "iptables"
	}
	return "ip6tables"
}

// any is the prefix of all addresses.
func (f family) any() netip.Prefix {
	if f == ipv4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// loopback is the prefix of the host's own addresses that no link carries.
func (f family) loopback() netip.Prefix {
	if f == ipv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
	}
	return netip.PrefixFrom(netip.IPv6Loopback(), 128)
}

// multicast is the prefix of group addresses, which are never masqueraded:
// the answers come to the sender, not to the group.
func (f family) multicast() netip.Prefix {
	if f == ipv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8)
}

func (f family) has(a netip.Addr) bool {
	return a.IsValid() && a.Unmap().Is4() == (f == ipv4)
}

func (f family) hasPrefix(p netip.Prefix) bool { return f.has(p.Addr()) }

// prefixes gives the masked ones of the family.
func (f family) prefixes(all []netip.Prefix) []netip.Prefix {
	var own []netip.Prefix
	for _, p := range all {
		if f.hasPrefix(p) {
			own = append(own, p.Masked())
		}
	}
	return own
}

func (f family) addrs(all []netip.Addr) []netip.Addr {
	var own []netip.Addr
	for _, a := range all {
		if f.has(a) {
			own = append(own, a.Unmap())
		}
	}
	return own
}

// servers gives those of the family.
func (f family) servers(all []netip.AddrPort) []netip.AddrPort {
	var own []netip.AddrPort
	for _, s := range all {
		if f.has(s.Addr()) {
			own = append(own, netip.AddrPortFrom(s.Addr().Unmap(), s.Port()))
		}
	}
	return own
}

func (f family) publish(all []wire.Publish) []wire.Publish {
	var own []wire.Publish
	for _, p := range all {
		if f.has(p.Container) {
			own = append(own, p)
		}
	}
	return own
}
