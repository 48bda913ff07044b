package firewall

import (
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// baseRules are what all networks of the host share: the way from the kernel's
// hooks to our chains, and the guard of localhost.
func baseRules(f family) []placed {
	own := stateMatch{connState: established | related | translated}
	foreign := stateMatch{connState: own.connState, not: true}
	all := slices.Concat(
		hookForward.holds(rule{do: to(chainForward)}),
		hookInput.holds(rule{do: to(chainInput)}),
		chainForward.holds(
			rule{do: to(chainAdmin)},
			rule{do: to(chainGuard)},
			rule{do: to(chainIngress)},
			rule{do: to(chainEgress)}),
		// Replies to 127.0.0.1 come back through a bridge, so the kernel must
		// be told to route localhost there (see Sysctls); whatever else
		// claims to come from or go to localhost stays out (plugins#729).
		chainInput.holds(
			rule{in: other("lo"), dst: within(f.loopback()), state: foreign, do: verdict{action: drop}},
			rule{in: other("lo"), src: within(f.loopback()), state: foreign, do: verdict{action: drop}}),
		chainInput.holds(port53(to(chainDNS))...),
		// Answers and published ports cross the wall between networks.
		chainIsolate.holds(rule{state: own, do: verdict{action: leave}}),
		// Only what is addressed to the host is published (CVE-2025-67499);
		// and nothing from a link is addressed to localhost, although
		// PREROUTING comes before the kernel's own check (moby#45610).
		hookPrerouting.holds(rule{dst: outside(f.loopback()), dstLocal: true, do: to(chainPublish)}),
		hookOutput.holds(rule{dstLocal: true, do: to(chainPublish)}),
		hookPostrouting.holds(rule{do: to(chainMasquerade)}),
		chainPublish.holds(port53(to(chainResolver))...),
		// A connection from 127.0.0.1 to a published port leaves the host
		// with a source that no container could answer.
		chainMasquerade.holds(rule{src: within(f.loopback()), out: other("lo"),
			state: stateMatch{connState: translated}, do: verdict{action: masquerade}}),
	)
	for i := range all {
		all[i].comment = layout
	}
	return all
}

// ofResolver is a rule for a port of a resolver, over both transports.
func ofResolver(r rule, port uint16) []rule {
	udp, tcp := r, r
	udp.proto, udp.ports = wire.UDP, portSpan{port, port}
	tcp.proto, tcp.ports = wire.TCP, portSpan{port, port}
	return []rule{udp, tcp}
}

// port53 matches DNS over both transports.
func port53(do verdict) []rule {
	return ofResolver(rule{do: do}, wire.DNSPort)
}

// concerns tells whether a policy asks for anything in a family.
func (f family) concerns(p wire.NetworkPolicy) bool {
	return !p.IsZero() && len(f.prefixes(p.Subnets))+len(f.servers(p.DNS)) > 0
}

// networkRules are what one network asks for, in one family.
func networkRules(f family, p wire.NetworkPolicy) []placed {
	if !f.concerns(p) {
		return nil
	}
	all := slices.Concat(masqueradeRules(f, p), forwardRules(f, p), resolverRules(f, p))
	for i := range all {
		all[i].comment = policyComment(p)
	}
	return all
}

// masqueradeRules hide the network's subnets on the way out.
func masqueradeRules(f family, p wire.NetworkPolicy) []placed {
	own := ofNetwork(p.Network).masq
	var entry, body []rule
	for _, server := range f.servers(p.DNS) {
		if server.Port() != wire.DNSPort { // the host's own questions are led away, too
			body = append(body, rule{dst: within(netip.PrefixFrom(server.Addr(), server.Addr().BitLen())), do: verdict{action: leave}})
		}
	}
	for _, subnet := range f.prefixes(p.Subnets) {
		entry = append(entry, rule{src: within(subnet), do: to(own)})
		body = append(body, hairpin(subnet), rule{dst: within(subnet), do: verdict{action: leave}})
	}
	if p.Masquerade {
		for _, bare := range append(f.prefixes(p.NoMasquerade), f.multicast()) {
			body = append(body, rule{dst: within(bare), do: verdict{action: leave}})
		}
		body = append(body, rule{do: hide(f.addrs(p.MasqueradeAs))})
	}
	return slices.Concat(chainMasquerade.holds(entry...), own.holds(body...))
}

// hairpin hides a member of the network that reaches another one, or itself,
// by a published port: the answer must come back the same way, to be
// translated.
func hairpin(subnet netip.Prefix) rule {
	return rule{dst: within(subnet), state: stateMatch{connState: translated}, do: verdict{action: masquerade}}
}

// publishedSubnets are rules of a network that its own policy does not ask
// for but its published ports do, by subnet: masquerade for members, where a
// plugin of its own publishes (portmap), or for all clients.
func publishedSubnets(f family, r Rules) [][]placed {
	covered := map[string]bool{}
	if !r.Network.IsZero() {
		for _, subnet := range f.prefixes(r.Network.Subnets) {
			covered[hairpinComment(r.Attachment.NetworkLabel(), subnet)] = true
		}
	}
	var all [][]placed
	for _, p := range f.publish(r.Publish) {
		subnet := p.Subnet.Masked()
		if !f.hasPrefix(subnet) || p.MarkChain != "" { // then somebody else masquerades
			continue
		}
		comment, from := hairpinComment(r.Attachment.NetworkLabel(), subnet), within(subnet)
		if p.HideClients {
			comment, from = hideComment(r.Attachment.NetworkLabel(), subnet), address{}
		}
		if !covered[comment] {
			covered[comment] = true
			all = append(all, publishedSubnet(subnet, from, comment))
		}
	}
	return all
}

func publishedSubnet(subnet netip.Prefix, from address, comment string) []placed {
	own := chain{nat, "MASQ-" + hash(16, comment), false}
	all := append(
		chainMasquerade.holds(rule{src: from, dst: within(subnet), do: to(own)}),
		own.holds(hairpin(subnet))...)
	for i := range all {
		all[i].comment = comment
	}
	return all
}

func hide(as []netip.Addr) verdict {
	if len(as) == 0 {
		return verdict{action: masquerade}
	}
	return verdict{action: snat, to: as[0]}
}

// resolverRules keep the way to our resolver open: past the host's own INPUT
// rules, and past a container that publishes port 53. Where our resolver has
// another port, because another server has that one, packets are led to it.
func resolverRules(f family, p wire.NetworkPolicy) []placed {
	var all []placed
	for _, server := range f.servers(p.DNS) {
		host := within(netip.PrefixFrom(server.Addr(), server.Addr().BitLen()))
		open := rule{in: device{name: p.Bridge}, dst: host, do: verdict{action: accept}}
		if server.Port() == wire.DNSPort {
			all = append(all, chainDNS.holds(open)...)
			all = append(all, chainResolver.holds(rule{dst: host, do: verdict{action: accept}})...)
			continue
		}
		lead := rule{dst: host, do: verdict{action: reroute, to: server.Addr(), ports: portSpan{server.Port(), server.Port()}}}
		all = append(all, chainInput.holds(ofResolver(open, server.Port())...)...)
		all = append(all, chainResolver.holds(ofResolver(lead, wire.DNSPort)...)...)
	}
	return all
}

func to(c chain) verdict { return verdict{action: jump, chain: c} }

// onTo leads to a chain whose end is the end of this one, too.
func onTo(c chain) verdict { return verdict{action: jump, chain: c, final: true} }

func other(name string) device { return device{name: name, not: true} }

func within(p netip.Prefix) address { return address{Prefix: p} }

func outside(p netip.Prefix) address { return address{Prefix: p, not: true} }
