package firewall

import (
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Forwarded packets pass three stages, in each of which the order of networks
// does not matter, because several can share a bridge (two lists with the same
// one, or a chained plugin after the one that made it):
//
//	GUARD            what a network forbids, by its subnets; nothing is allowed here
//	                 but the way between members on different hosts, which an
//	                 overlay's fence has judged already
//	INGRESS, EGRESS  what a network allows, by its subnets
//	                 at their end, what a strict network forbids to those on its
//	                 bridge whose addresses are no network's
//
// A packet that a network does not know any more goes on to the host's own
// rules.
func forwardRules(f family, p wire.NetworkPolicy) []placed {
	if !p.Filters() || p.Bridge == "" {
		return nil
	}
	return slices.Concat(trunk(p), guardIngress(f, p), guardEgress(f, p), allowed(f, p), strangers(p))
}

// trunk lets members on different hosts speak, before anything else is looked
// at: it is the way with the most packets.
func trunk(p wire.NetworkPolicy) []placed {
	if p.Trunk == "" || !p.Forward && !p.Internal {
		return nil
	}
	device, none := device{name: p.Trunk}, device{}
	return chainGuard.holds(trunkRule(none, device, ""), trunkRule(device, none, ""))
}

// trunkRule accepts by the device alone.
func trunkRule(in, out device, comment string) rule {
	return rule{ahead: true, in: in, out: out, do: verdict{action: accept}, comment: comment}
}

// guardIngress is about packets to the network's members.
func guardIngress(f family, p wire.NetworkPolicy) []placed {
	var body []rule
	for _, members := range []string{p.Bridge, p.Trunk} { // here and on other hosts
		if members != "" {
			body = append(body, rule{in: device{name: members}, do: verdict{action: leave}})
		}
	}
	switch {
	case p.Internal:
		body = append(body, rule{do: verdict{action: drop}})
	case p.Confines():
		body = append(body, confinement(f, p)...)
	default:
		return isolation(f, p)
	}
	own := ofNetwork(p.Network).guardIn
	var entry []rule
	for _, subnet := range f.prefixes(p.Subnets) {
		entry = append(entry, rule{out: device{name: p.Bridge}, dst: within(subnet), do: to(own)})
	}
	return slices.Concat(chainGuard.holds(entry...), own.holds(body...), isolation(f, p))
}

// confinement lets connections to published ports in only from where they may
// come.
func confinement(f family, p wire.NetworkPolicy) (body []rule) {
	pass, published := verdict{action: leave}, stateMatch{connState: translated}
	for _, from := range f.prefixes(p.PublishFrom) {
		body = append(body, rule{src: within(from), do: pass})
	}
	for _, on := range p.PublishOn {
		body = append(body, rule{in: device{name: on}, do: pass})
	}
	return append(body, rule{state: published, do: verdict{action: drop}})
}

// isolation closes the network to other isolated ones. The two steps
// (everything that leaves an isolated network goes to ISOLATE, which drops what
// would enter another) keep the number of rules linear in the networks.
func isolation(f family, p wire.NetworkPolicy) []placed {
	if !p.Isolate {
		return nil
	}
	var body []rule
	for _, subnet := range f.prefixes(p.Subnets) {
		body = append(body, rule{out: device{name: p.Bridge}, dst: within(subnet), do: verdict{action: drop}})
	}
	return chainIsolate.holds(body...)
}

// guardEgress is about packets from the network's members.
func guardEgress(f family, p wire.NetworkPolicy) []placed {
	body := leaving(p)
	if len(body) == 0 {
		return nil
	}
	own := ofNetwork(p.Network).guardOut
	var entry []rule
	for _, subnet := range f.prefixes(p.Subnets) {
		entry = append(entry, rule{in: device{name: p.Bridge}, src: within(subnet), do: to(own)})
	}
	return slices.Concat(chainGuard.holds(entry...), own.holds(body...))
}

// leaving is what a network forbids to packets that have come by its bridge.
func leaving(p wire.NetworkPolicy) (body []rule) {
	if p.Internal {
		body = append(body, rule{out: other(p.Bridge), do: verdict{action: drop}})
	}
	if p.Apart {
		body = append(body, rule{out: device{name: p.Bridge}, do: verdict{action: drop}})
	}
	if p.Isolate {
		body = append(body, rule{out: other(p.Bridge), do: to(chainIsolate)})
	}
	return body
}

// allowed are a network's packets that need not fear the host's own rules, and
// the end of the stage for its others. Each network has chains of its own for
// it, so that those which share a bridge and a subnet don't repeat one another.
func allowed(f family, p wire.NetworkPolicy) []placed {
	own := ofNetwork(p.Network)
	var ingress, egress, into, from []rule
	for _, subnet := range f.prefixes(p.Subnets) {
		ingress = append(ingress, rule{ahead: true, out: device{name: p.Bridge}, dst: within(subnet), do: onTo(own.allowIn)})
		egress = append(egress, rule{ahead: true, in: device{name: p.Bridge}, src: within(subnet), do: onTo(own.allowOut)})
	}
	end := verdict{action: leave}
	if p.Forward {
		into = append(into, rule{state: stateMatch{connState: established | related | translated}, do: verdict{action: accept}})
		end.action = accept
	}
	into, from = append(into, rule{do: verdict{action: leave}}), append(from, rule{do: end})
	return slices.Concat(
		chainIngress.holds(ingress...), chainEgress.holds(egress...),
		own.allowIn.holds(into...), own.allowOut.holds(from...))
}

// strangers are those on the bridge who use addresses of no network on it:
// a container in a strict network is not to get out by changing its address.
func strangers(p wire.NetworkPolicy) []placed {
	body := leaving(p)
	for i := range body {
		body[i].in = device{name: p.Bridge}
	}
	var ingress []rule
	if p.Internal {
		ingress = []rule{{in: other(p.Bridge), out: device{name: p.Bridge}, do: verdict{action: drop}}}
	}
	return slices.Concat(chainIngress.holds(ingress...), chainEgress.holds(body...))
}
