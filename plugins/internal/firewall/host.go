package firewall

import (
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Sysctls are the kernel parameters of the host's namespace without which the
// rules have no effect. The caller sets them once the bridge is there.
//
// route_localnet lets the answers to a connection from 127.0.0.1 come back
// through the bridge; the guard in our INPUT chain keeps everything else from
// using it.
func Sysctls(r Rules) []wire.Sysctl {
	var all []wire.Sysctl
	if r.concern(ipv4) {
		all = append(all, wire.Sysctl{Path: "net/ipv4/ip_forward", Value: "1"})
	}
	if r.concern(ipv6) {
		all = append(all, wire.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"})
	}
	if r.Network.Bridge != "" && fromLocalhost(ipv4, r) {
		all = append(all, wire.Sysctl{Path: "net/ipv4/conf/" + r.Network.Bridge + "/route_localnet", Value: "1"})
	}
	return all
}

// concern tells whether there is any rule in a family.
func (r Rules) concern(f family) bool {
	return f.concerns(r.Network) || len(f.publish(r.Publish)) > 0
}

// A LocalRoute delivers a prefix to the host itself when it arrives by a
// device: "ip -6 route add local PREFIX dev DEVICE table local metric METRIC".
type LocalRoute struct {
	Prefix netip.Prefix
	Device string
	Metric int
}

// LocalRoutes are the routes without which published IPv6 ports do not answer
// on ::1. IPv6 has no route_localnet: the kernel looks addresses of loopback
// scope up by the device they came by (rt6_need_strict), and an answer that
// translation has turned into one to ::1 comes by the bridge. The metric keeps
// the host's own traffic on lo. Packets that arrive with ::1 on the wire are
// dropped before any of this (ip6_rcv_core).
//
// It does not help where bridged packets pass the host's rules
// (net.bridge.bridge-nf-call-ip6tables=1): there the answer is translated
// before that check, and ::1 stays closed.
func LocalRoutes(r Rules) []LocalRoute {
	if r.Network.Bridge == "" || !fromLocalhost(ipv6, r) {
		return nil
	}
	const behindLoopback = 4096
	return []LocalRoute{{Prefix: ipv6.loopback(), Device: r.Network.Bridge, Metric: behindLoopback}}
}

// fromLocalhost tells whether any port of the family is published on loopback
// addresses.
func fromLocalhost(f family, r Rules) bool {
	return slices.ContainsFunc(f.publish(r.Publish), func(p wire.Publish) bool {
		return !p.HostIP.IsValid() || p.HostIP.IsUnspecified() || p.HostIP.IsLoopback()
	})
}
