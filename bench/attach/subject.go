package main

import (
	"fmt"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// An operation is one attachment to make or to take away.
type operation struct {
	verb      string // ADD or DEL
	serial    int    // of the container; its address and port follow from it
	container *netns.Namespace
	// result is what ADD answered, for DEL.
	result []byte
	// trace is a file for strace's log of the processes started, or "".
	trace string
}

func (o operation) id() string { return fmt.Sprintf("c%d", o.serial) }

// port is the host port that the operation publishes.
func (o operation) port() int {
	const first = 10000
	return first + o.serial
}

// address is for those that do not choose one themselves.
func (o operation) address() string {
	n := o.serial + 1
	return fmt.Sprintf("10.88.%d.%d", n/250, n%250+2)
}

// cost is what an operation took: until it returned, and of the processors,
// with all that was still at work when it had returned.
type cost struct{ wall, cpu time.Duration }

func (c cost) plus(other cost) cost { return cost{c.wall + other.wall, c.cpu + other.cpu} }

// A subject is an implementation at work on one host.
type subject interface {
	// do carries an operation out and returns what ADD answered. If settle is
	// set, it waits, outside of the cost's wall time, for what goes on after
	// the return.
	do(op operation, settle bool) (cost, []byte, error)
	// settle waits for what earlier operations have left running.
	settle() error
	close() error
}

// kinds of measurement that an implementation takes part in.
type kinds struct {
	levels, parallel bool
}

// An implementation is what is compared.
type implementation struct {
	name string
	// group are those that do the same job; the first one is the peer.
	group string
	kinds kinds
	// shared has containers live in the host's own namespace.
	shared bool
	open   func(*world) (subject, error)
}

// Names that the targets speak of.
const (
	refIptables   = "reference, iptables"
	netavark14    = "netavark, iptables"
	oursIptables  = "netctl, iptables"
	oursNftables  = "netctl, nftables"
	chainIptables = "netctl chained, iptables"
	chainNftables = "netctl chained, nftables"
	inProcess     = "netctl run, in process"
	warm          = "the same, not the process's first"
	floorName     = "floor"
	port          = "bridge, masquerade, one port"
)

func implementations(o options) []implementation {
	everything := kinds{levels: true, parallel: true}
	all := []implementation{
		{name: refIptables, group: port, kinds: everything, open: chainOf(o.reference, "", referenceBridge, referencePortmap)},
	}
	if o.netavark != "" {
		all = append(all, implementation{name: netavark14, group: port, kinds: everything, open: openNetavark(o.netavark)})
	}
	return append(all, []implementation{
		{name: oursIptables, group: port, kinds: everything, open: chainOf(o.ours, "iptables", oneEntry)},
		{name: oursNftables, group: port, kinds: everything, open: chainOf(o.ours, "nftables", oneEntry)},
		{name: chainIptables, group: port, open: chainOf(o.ours, "iptables", withoutPorts, chainedPortmap)},
		{name: chainNftables, group: port, open: chainOf(o.ours, "nftables", withoutPorts, chainedPortmap)},
		{name: inProcess, group: port, kinds: kinds{levels: true}, open: openWorker("list", fresh)},
		{name: warm, group: port, open: openWorker("list", lasting)},
		{name: floorName, group: port, kinds: everything, open: openWorker("floor", lasting)},
		{name: "reference, no masquerade", group: "bridge only", open: chainOf(o.reference, "", referencePlain)},
		{name: "netctl, no masquerade", group: "bridge only", open: chainOf(o.ours, "nftables", plain)},
		{name: "reference macvlan", group: "macvlan", open: chainOf(o.reference, "", referenceMacvlan)},
		{name: "netctl macvlan", group: "macvlan", open: chainOf(o.ours, "nftables", macvlan)},
		{name: "reference loopback", group: "loopback", open: chainOf(o.reference, "", loopback)},
		{name: "netctl loopback", group: "loopback", open: chainOf(o.ours, "", loopback)},
		{name: "netctl none", group: "none", open: chainOf(o.ours, "", none)},
		{name: "netctl host", group: "host", shared: true, open: chainOf(o.ours, "", hostMode)},
		{name: "netctl overlay", group: "overlay, masquerade, one port; the pool is this host's already", open: overlayOf(o.ours, "nftables", overlay)},
	}...)
}
