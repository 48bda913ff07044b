package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// iptables walks a chain rule by rule. So published ports hang in a tree of
// chains, each of which holds a sixteenth of its parent's ports:
//
//	NETCTL-TCP -> NETCTL-TCP-4096-8191 -> NETCTL-TCP-7936-8191 -> NETCTL-TCP-8080-8095
//
// A mapping sits in the smallest chain that holds all of its ports, a range
// being one rule. A packet passes at most 16 rules a level, whatever the number
// of ports. Chains are made when a mapping needs them.
const treeFanOut = 16

// treeSpans are the sizes of the chains below the protocol's own.
func treeSpans() []int {
	return []int{treeFanOut, treeFanOut * treeFanOut, treeFanOut * treeFanOut * treeFanOut}
}

// treePath gives the chains from the protocol's own down to the one that holds
// the ports.
func treePath(p wire.Protocol, ports portSpan) []chain {
	path := []chain{ofProtocol(p)}
	for _, size := range slices.Backward(treeSpans()) {
		span := spanOf(ports.first, size)
		if ports.last > span.last {
			break
		}
		path = append(path, chain{nat, fmt.Sprintf("%s-%d-%d", path[0].name, span.first, span.last), false})
	}
	return path
}

// spanOf is the aligned span of the given size around a port.
func spanOf(port uint16, size int) portSpan {
	first := int(port) / size * size
	return portSpan{uint16(first), uint16(first + size - 1)}
}

// treeSpan reads a tree chain's ports back from its name.
func treeSpan(c chain) (p wire.Protocol, ports portSpan, ok bool) {
	for _, p := range protocols() {
		rest, found := strings.CutPrefix(c.name, ofProtocol(p).name+"-")
		if n, err := fmt.Sscanf(rest, "%d-%d", &ports.first, &ports.last); found && n == 2 && err == nil {
			return p, ports, true
		}
	}
	return "", portSpan{}, false
}

// treeJumps lead a packet down a path. They are shared by all mappings below
// and carry no attachment's name.
func treeJumps(p wire.Protocol, path []chain) []placed {
	var all []placed
	for i, child := range path[1:] {
		_, ports, _ := treeSpan(child)
		all = append(all, path[i].holds(rule{proto: p, ports: ports, do: to(child), comment: layout})...)
	}
	return all
}

// mappingRule leads a published port or range to its container.
func mappingRule(a wire.Attachment, p wire.Publish) rule {
	r := rule{
		proto: p.Protocol,
		ports: portSpan{p.HostPort, p.Last()},
		do: verdict{action: dnat, to: p.Container, from: p.HostPort,
			ports: portSpan{p.ContainerPort, p.LastContainer()}},
		comment: mappingComment(a, p),
	}
	r.src = address{Prefix: p.Only.Src, not: p.Only.NotSrc}
	r.dst = address{Prefix: p.Only.Dst, not: p.Only.NotDst}
	r.in = device{name: p.Only.In, not: p.Only.NotIn}
	r.words = p.Only.IPTables
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		r.dst = within(netip.PrefixFrom(p.HostIP, p.HostIP.BitLen()))
	}
	return r
}
