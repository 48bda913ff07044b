package rows

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var checkRows = []trial.Row{
	{
		ID: "C098", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, CHECK",
		Statement: "CHECK without `prevResult` is an error, not a crash.",
		Judged:    "CHECK after ADD, without it.",
		Check:     checkWithoutPrev,
	},
	{
		ID: "C099", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "CRI-O runs CHECK on every pod start",
		Statement: "Immediately after ADD, CHECK passes for every supported configuration shape.",
		Judged:    "ADD and CHECK in each version from 0.4.0, dual stack, one family, and without IPAM where that is legal.",
		Check:     checkAfterAdd,
	},
	{
		ID: "C100", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: interface missing.",
		Judged:    "The interface is deleted in the container.",
		Check: damaged("the interface was deleted", func(t *trial.T, a *trial.Attachment) error {
			return a.Container.NL.LinkDel(link(a))
		}),
	},
	{
		ID: "C101", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: interface down.",
		Judged:    "The interface is set down in the container; its addresses stay.",
		Check: damaged("the interface was set down", func(t *trial.T, a *trial.Attachment) error {
			return a.Container.NL.LinkSetDown(link(a))
		}),
	},
	{
		ID: "C102", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: MAC differs from the result.",
		Judged:    "The interface gets another hardware address; prevResult keeps the old one.",
		Check: damaged("the hardware address was changed", func(t *trial.T, a *trial.Attachment) error {
			return a.Container.NL.LinkSetHardwareAddr(link(a), otherMAC())
		}),
	},
	{
		ID: "C103", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: address missing.",
		Judged:    "Each address of the interface is removed in turn.",
		Check:     checkAddressMissing,
	},
	{
		ID: "C104", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: result route missing, including its metric and table.",
		Judged:    "A route of the result is removed; then put back with another metric; then into another table.",
		Check:     checkRouteMissing,
	},
	{
		ID: "C105", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: host end detached from its bridge, or attached to another one.",
		Judged:    "The host's end of the cable is taken out of the bridge, then put into another.",
		Check:     checkDetached,
	},
	{
		ID: "C106", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: gateway address missing on the bridge; hairpin, isolation or masquerade missing.",
		Judged:    "Whichever of them ADD made is taken away, one at a time.",
		Check:     checkHostSide,
	},
	{
		ID: "C107", Level: trial.Should, Profile: trial.Spec, Scope: trial.IPAM, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: reservation missing, or for another address.",
		Judged:    "The reservation is released behind the container's back; then made again with another address.",
		Check:     checkReservation,
	},
	{
		ID: "C108", Level: trial.Should, Profile: trial.Spec, Scope: trial.Chained, Section: "SPEC 4, CHECK",
		Statement: "CHECK detects: removed port mapping, forward rule, queueing or setting.",
		Judged:    "Whatever ADD made (packet filter, queueing, link settings, sysctls) is taken away, one kind at a time.",
		Check:     checkChainedDamage,
	},
	{
		ID: "C109", Level: trial.Must, Profile: trial.Runtime, Scope: trial.Interface | trial.Chained, Section: "SPEC 4, CHECK; CONVENTIONS, chaining",
		Statement: "CHECK tolerates later plugins' changes: changed MAC (in the final result), extra routes and addresses, promiscuous mode.",
		Judged:    "Each change is made after ADD, as a plugin further down the list would; CHECK passes.",
		Check:     checkTolerates,
	},
	{
		ID: "C110", Level: trial.Must, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, CHECK",
		Statement: "CHECK is read-only.",
		Judged:    "Host and container before and after a CHECK that passes, and before and after one on a host whose packet filter was flushed.",
		Check:     checkReadOnly,
	},
	{
		ID: "C111", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "Runs CHECK on the delegate and returns its error.",
		Judged:    "The delegate's CHECK fails.",
		Check:     checkDelegates,
	},
	{
		ID: "C112", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, CHECK",
		Statement: "Asynchronous state gets a short grace period.",
		Judged:    "The host's end of the cable goes down and up; CHECK right after that passes.",
		Check:     checkGrace,
	},
}

// needCheck makes a row about CHECK not applicable to older plugins.
func needCheck(t *trial.T) {
	t.Need(!protocol.Before(t.Subject.Latest(), "0.4.0"), "CHECK came with 0.4.0")
}

// otherMAC is a locally administered unicast address no kernel will have drawn.
func otherMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0xc0, 0x4f, 0x0f, 0x0f, 0x01} }

// detects wants CHECK to fail properly.
func detects(t *trial.T, a *trial.Attachment, what string) {
	t.Refused(a.Request(protocol.Check), what)
}

// sound blocks a row about damage when CHECK fails before there is any.
func sound(t *trial.T, a *trial.Attachment) {
	if reply := a.Check(); !reply.OK() {
		t.Block("CHECK, which should pass before the damage, failed: %s", reply.Summary())
	}
}

// damaged is a check for one kind of damage.
func damaged(what string, do func(t *trial.T, a *trial.Attachment) error) func(*trial.T) {
	return func(t *trial.T) {
		needCheck(t)
		a := t.Attach()
		sound(t, a)
		t.Altered(do(t, a))
		detects(t, a, what)
	}
}

func checkWithoutPrev(t *trial.T) {
	needCheck(t)
	a := t.Attach()
	r := a.Request(protocol.Check)
	r = r.Sending(mustConf(r.Stdin).Without("prevResult").JSON())
	t.Refused(r, "prevResult is missing")
}

func checkAfterAdd(t *trial.T) {
	needCheck(t)
	passes := func(why string, change func(*trial.Attachment)) {
		a := t.Place()
		change(a)
		if !a.Add().OK() {
			return // another row speaks about that
		}
		reply := a.Check()
		t.Expect(reply.OK(), "CHECK passes right after ADD: "+why, "%s", reply.Summary())
		a.Del()
		t.Must(a.Container.Kill())
	}
	for _, v := range protocol.Versions()[4:] {
		if t.Subject.Supports(v) {
			passes("version "+v, func(a *trial.Attachment) { a.Conf = a.Conf.With("cniVersion", v) })
		}
	}
	passes("a second interface", func(a *trial.Attachment) {
		if a.Prev == nil {
			a.IfName = "net1"
		}
	})
	if t.Subject.Kind&trial.Delegating == 0 {
		return
	}
	for _, ip := range trial.Addresses().IPs {
		passes("only "+ip.Address, func(a *trial.Attachment) { a.Delegated(&protocol.Result{IPs: []protocol.IP{ip}}) })
	}
	passes("without IPAM", func(a *trial.Attachment) {
		a.Conf = a.Conf.Without("ipam", "isGateway", "isDefaultGateway", "ipMasq")
	})
}

func checkAddressMissing(t *trial.T) {
	needCheck(t)
	for i := 0; ; i++ {
		// The route of the address's network goes with it, so each address is
		// tried on a new attachment.
		a := t.Attach()
		list := addresses(a)
		if i >= len(list) {
			return
		}
		sound(t, a)
		addr, err := netlink.ParseAddr(list[i].String())
		t.Must(err)
		t.Altered(a.Container.NL.AddrDel(link(a), addr))
		detects(t, a, list[i].String()+" was removed")
	}
}

func checkRouteMissing(t *trial.T) {
	needCheck(t)
	const dst = "198.51.100.0/24"
	a := withRoutes(t, protocol.Route{Dst: dst, GW: "10.214.0.1", Priority: 77})
	sound(t, a)
	routes := routesTo(a, dst)
	t.Require(len(routes) == 1, "the route is installed", "%v", routes)
	r := routes[0]
	t.Altered(a.Container.NL.RouteDel(&r))
	detects(t, a, "the route was removed")
	for what, change := range map[string]func(*netlink.Route){
		"the route has another metric":  func(r *netlink.Route) { r.Priority = 99 },
		"the route is in another table": func(r *netlink.Route) { r.Table = 200 },
	} {
		other := r
		change(&other)
		t.Altered(a.Container.NL.RouteAdd(&other))
		detects(t, a, what)
		t.Altered(a.Container.NL.RouteDel(&other))
	}
}

// hostEnd is the host's end of the attachment's cable.
func hostEnd(t *trial.T, a *trial.Attachment) netlink.Link {
	l := link(a)
	t.Need(l != nil && l.Type() == "veth", "the interface is not a cable")
	far, err := t.Host.NL.LinkByIndex(l.Attrs().ParentIndex)
	t.Must(err)
	return far
}

// bridged is hostEnd with the bridge it is in.
func bridged(t *trial.T, a *trial.Attachment) (end, bridge netlink.Link) {
	end = hostEnd(t, a)
	t.Need(end.Attrs().MasterIndex != 0, "the host's end is in no bridge")
	bridge, err := t.Host.NL.LinkByIndex(end.Attrs().MasterIndex)
	t.Must(err)
	return end, bridge
}

func checkDetached(t *trial.T) {
	needCheck(t)
	a := t.Attach()
	end, _ := bridged(t, a)
	sound(t, a)
	t.Altered(t.Host.NL.LinkSetNoMaster(end))
	detects(t, a, "the host's end was taken out of the bridge")
	t.Must(t.Host.Loose("other0"))
	other, err := t.Host.NL.LinkByName("other0")
	t.Must(err)
	t.Altered(t.Host.NL.LinkSetMaster(end, other))
	detects(t, a, "the host's end is in another bridge")
}

func checkTolerates(t *trial.T) {
	needCheck(t)
	for _, later := range []struct {
		what string
		do   func(a *trial.Attachment) error
	}{
		{"another hardware address, in the final result", func(a *trial.Attachment) error {
			a.Result = withMAC(a.Result, a, otherMAC().String())
			return a.Container.NL.LinkSetHardwareAddr(link(a), otherMAC())
		}},
		{"an extra address", func(a *trial.Attachment) error {
			addr, _ := netlink.ParseAddr("172.31.0.5/24")
			return a.Container.NL.AddrAdd(link(a), addr)
		}},
		{"an extra route", func(a *trial.Attachment) error {
			dst, _ := netlink.ParseIPNet("198.51.100.0/24")
			return a.Container.NL.RouteAdd(&netlink.Route{LinkIndex: link(a).Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK})
		}},
		{"promiscuous mode in the container", func(a *trial.Attachment) error { return a.Container.NL.SetPromiscOn(link(a)) }},
		{"promiscuous mode on the bridge", func(a *trial.Attachment) error {
			if end, err := t.Host.NL.LinkByIndex(link(a).Attrs().ParentIndex); err == nil && end.Attrs().MasterIndex != 0 {
				bridge, err := t.Host.NL.LinkByIndex(end.Attrs().MasterIndex)
				if err != nil {
					return err
				}
				return t.Host.NL.SetPromiscOn(bridge)
			}
			return nil
		}},
	} {
		a := t.Attach()
		t.Altered(later.do(a))
		reply := a.Check()
		t.Expect(reply.OK(), "CHECK tolerates "+later.what, "%s", reply.Summary())
		a.MustDel()
		t.Must(a.Container.Kill())
	}
}

// withMAC is a result in which the attachment's interface has another
// hardware address, as a plugin that changed it would have answered.
func withMAC(res *protocol.Result, a *trial.Attachment, mac string) *protocol.Result {
	conf := mustConf(res.Bytes)
	links, _ := conf["interfaces"].([]any)
	for _, l := range links {
		if entry, ok := l.(map[string]any); ok && entry["name"] == a.IfName && entry["sandbox"] == a.Netns {
			entry["mac"] = mac
		}
	}
	out := *res
	out.Bytes = conf.JSON()
	return &out
}

func checkDelegates(t *trial.T) {
	needCheck(t)
	a := t.AttachWith(func(a *trial.Attachment) { a.Delegated(trial.Addresses()) })
	sound(t, a)
	t.Expect(called(t, protocol.Check), "CHECK is delegated", "the delegate was not called with it")
	t.Script(double.Script{protocol.Check: trial.Refuses(999, "not what it was")})
	f := t.Refused(a.Request(protocol.Check), "the delegate's CHECK fails")
	if f != nil {
		t.Expect(contains(f.Text(), "not what it was"), "the delegate's error is passed on", "%s", f.Text())
	}
}

func checkGrace(t *trial.T) {
	needCheck(t)
	a := t.Attach()
	end := hostEnd(t, a)
	sound(t, a)
	t.Altered(t.Host.NL.LinkSetDown(end))
	t.Altered(t.Host.NL.LinkSetUp(end))
	reply := a.Check()
	t.Expect(reply.OK(), fmt.Sprintf("CHECK passes right after %s went down and up", end.Attrs().Name), "%s", reply.Summary())
}
