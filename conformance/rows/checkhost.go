package rows

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// contains is strings.Contains without regard to case.
func contains(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// called reports whether the delegate has seen an operation.
func called(t *trial.T, verb string) bool { return slices.Contains(double.Verbs(t.Calls()), verb) }

// damage is something ADD made that can be taken away and put back.
type damage struct {
	what string
	do   func() error
	undo func() error
}

func checkHostSide(t *trial.T) {
	needCheck(t)
	a := t.Attach()
	end, bridge := bridged(t, a)
	sound(t, a)
	list := gatewayDamage(t, bridge)
	if port, err := t.Host.NL.LinkGetProtinfo(end); err == nil {
		if port.Hairpin {
			list = append(list, damage{"hairpin mode was switched off", func() error { return t.Host.NL.LinkSetHairpin(end, false) }, func() error { return t.Host.NL.LinkSetHairpin(end, true) }})
		}
		if port.Isolated {
			list = append(list, damage{"port isolation was switched off", func() error { return t.Host.NL.LinkSetIsolated(end, false) }, func() error { return t.Host.NL.LinkSetIsolated(end, true) }})
		}
	}
	for _, d := range list {
		t.Altered(d.do())
		detects(t, a, d.what)
		t.Altered(d.undo())
	}
	if hasFirewall(t.HostState()) {
		t.Must(t.Host.FlushFirewall())
		detects(t, a, "masquerading was removed")
	}
}

// gatewayDamage takes each global address from the bridge.
func gatewayDamage(t *trial.T, bridge netlink.Link) []damage {
	addrs, err := t.Host.NL.AddrList(bridge, netlink.FAMILY_ALL)
	t.Must(err)
	var out []damage
	for _, addr := range addrs {
		if addr.IP.IsLinkLocalUnicast() {
			continue
		}
		again := &netlink.Addr{IPNet: addr.IPNet}
		out = append(out, damage{fmt.Sprintf("%s was removed from %s", addr.IPNet, bridge.Attrs().Name),
			func() error { return t.Host.NL.AddrDel(bridge, again) },
			func() error { return t.Host.NL.AddrAdd(bridge, again) }})
	}
	return out
}

// hasFirewall reports whether a state has packet filter rules.
func hasFirewall(s lab.State) bool {
	for key := range s {
		if (lab.Change{Key: key}).Kind() == "firewall" {
			return true
		}
	}
	return false
}

func checkReservation(t *trial.T) {
	needCheck(t)
	a, b := t.Attach(), t.Attach()
	t.Need(!slices.Equal(resultAddresses(a), resultAddresses(b)), "the plugin reserves nothing: two containers get the same address")
	sound(t, a)
	a.MustDel()
	detects(t, a, "the reservation was released")
	held := a.Result
	a.Add()
	if a.Result == nil || slices.Equal(resultAddresses(a), resultAddressesOf(held)) {
		return // the same address again: nothing to detect
	}
	now := resultAddresses(a)
	a.Result = held
	detects(t, a, "the reservation is for "+prefixes(now))
}

func resultAddressesOf(res *protocol.Result) []netip.Prefix {
	return resultAddresses(&trial.Attachment{Result: res})
}

func checkChainedDamage(t *trial.T) {
	needCheck(t)
	before := t.HostState()
	a := t.Attach()
	sound(t, a)
	made := before.Diff(t.HostState())
	kinds := map[string]bool{}
	for _, c := range made {
		kinds[c.Kind()] = true
	}
	tried := false
	if kinds["firewall"] {
		tried = true
		t.Must(t.Host.FlushFirewall())
		detects(t, a, "the packet filter was flushed")
	}
	if kinds["qdisc"] {
		tried = true
		t.Must(t.Host.DropQueueing())
		detects(t, a, "the queueing was removed")
	}
	tried = checkLinkDamage(t, a) || tried
	t.Need(tried, "ADD made nothing that could be damaged")
}

// checkLinkDamage undoes what a tuning plugin's configuration asks for.
func checkLinkDamage(t *trial.T, a *trial.Attachment) bool {
	l := link(a)
	tried := false
	if a.Conf.Get("mtu") != nil {
		tried = true
		mtu := l.Attrs().MTU
		t.Altered(a.Container.NL.LinkSetMTU(l, 1234))
		detects(t, a, "the MTU was changed")
		t.Altered(a.Container.NL.LinkSetMTU(l, mtu))
	}
	for _, key := range a.Conf.Keys("sysctl") {
		settings, _ := a.Conf.Get("sysctl").(map[string]any)
		path := strings.ReplaceAll(strings.ReplaceAll(strings.TrimPrefix(key, "net."), ".", "/"), "IFNAME", a.IfName)
		tried = true
		t.Altered(a.Container.Sysctl(path, map[bool]string{true: "1", false: "0"}[settings[key] == "0"]))
		detects(t, a, key+" was changed")
	}
	return tried
}

func checkReadOnly(t *trial.T) {
	needCheck(t)
	a := t.Attach()
	unchanged := func(when string) {
		before := t.HostState()
		inside, err := a.Container.State()
		t.Must(err)
		a.Check()
		t.Unchanged(before, "CHECK "+when)
		after, err := a.Container.State()
		t.Must(err)
		for _, c := range inside.Diff(after) {
			t.Expect(false, "CHECK "+when+" changes nothing in the container", "%s", c)
		}
	}
	unchanged("that passes")
	if hasFirewall(t.HostState()) {
		t.Must(t.Host.FlushFirewall())
		unchanged("on a host whose packet filter was flushed")
	}
}
