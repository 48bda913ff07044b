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
	return slices.Concat(guardIngress(f, p), guardEgress(f, p), allowed(f, p), strangers(p))
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
	own, _, _ := ofNetwork(p.Network)
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
	_, own, _ := ofNetwork(p.Network)
	var entry []rule
	for _, subnet := range f.prefixes(p.Subnets) {
		entry = append(entry, rule{in: device{name: p.Bridge}, src: within(subnet), do: to(own)})
	}
	return slices.Concat(chainGuard.holds(entry...), own.holds(body...))
}

// leaving is what a network forbids to packets that leave its bridge.
func leaving(p wire.NetworkPolicy) (body []rule) {
	if p.Internal && p.Trunk != "" {
		body = append(body, rule{out: device{name: p.Trunk}, do: verdict{action: leave}})
	}
	if p.Internal {
		body = append(body, rule{out: other(p.Bridge), do: verdict{action: drop}})
	}
	if p.Isolate {
		body = append(body, rule{out: other(p.Bridge), do: to(chainIsolate)})
	}
	return body
}

// allowed are a network's packets that need not fear the host's own rules, and
// the end of the stage for its others.
func allowed(f family, p wire.NetworkPolicy) []placed {
	var ingress, egress []rule
	into, from := rule{ahead: true, out: device{name: p.Bridge}}, rule{ahead: true, in: device{name: p.Bridge}}
	for _, subnet := range f.prefixes(p.Subnets) {
		into.dst, from.src = within(subnet), within(subnet)
		end := verdict{action: leave}
		if p.Trunk != "" && (p.Forward || p.Internal) { // members on other hosts
			here, there := into, from
			here.in, here.do = device{name: p.Trunk}, verdict{action: accept}
			there.out, there.do = device{name: p.Trunk}, verdict{action: accept}
			ingress, egress = append(ingress, here), append(egress, there)
		}
		if p.Forward {
			answers := into
			answers.state, answers.do = stateMatch{connState: established | related | translated}, verdict{action: accept}
			ingress = append(ingress, answers)
			end.action = accept
		}
		from.do, into.do = end, verdict{action: leave}
		ingress, egress = append(ingress, into), append(egress, from)
	}
	return slices.Concat(chainIngress.holds(ingress...), chainEgress.holds(egress...))
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
