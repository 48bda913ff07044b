package rows

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var addRows = []trial.Row{
	{
		ID: "C053", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, ADD",
		Statement: "After success the named interface exists in the target namespace and is up.",
		Judged:    "ADD with the names eth0 and net1; the link and its flags.",
		Check:     interfaceUp,
	},
	{
		ID: "C054", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 2, Parameters (CNI_IFNAME)",
		Statement: "If the name already exists in the container the plugin fails and the existing interface is untouched.",
		Judged:    "A bridge device of that name is put into the container first.",
		Check:     nameTaken,
	},
	{
		ID: "C055", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, ADD",
		Statement: "Such a failure leaks no address and no host link.",
		Judged:    "As C054 with a tight pool: the host is as before and other containers can have every address.",
		Check:     nameTakenLeaksNothing,
	},
	{
		ID: "C056", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, ADD (error)",
		Statement: "Any ADD failure removes the links it made.",
		Judged:    "The delegated IPAM fails: nothing is left in the container and no link beyond shared ones on the host; a retry works.",
		Check:     failureRemovesLinks,
	},
	{
		ID: "C057", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "A failure after IPAM success releases the address.",
		Judged:    "The delegate answers with a route the kernel must refuse: ADD fails, and the delegate has seen DEL.",
		Check:     failureReleases,
	},
	{
		ID: "C058", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "When the delegated ADD itself fails, the delegate is called with DEL before returning.",
		Judged:    "The delegate's ADD fails: it has seen DEL when the plugin returns.",
		Check:     failedDelegateDeleted,
	},
	{
		ID: "C059", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface | trial.Chained, Section: "SPEC 4, ADD (error)",
		Statement: "A failure removes firewall and NAT rules already added.",
		Judged:    "ADD with an ip6tables that fails and with a mapping the kernel refuses; the packet filter before and after.",
		Check:     failureRemovesRules,
	},
	{
		ID: "C060", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 5, Success (interfaces)",
		Statement: "`interfaces` lists every link the attachment created, host side included; container entries carry `sandbox` equal to CNI_NETNS, host entries none.",
		Judged:    "Links that appeared on host and in container against the result. A bridge device may be listed or not.",
		Check:     interfacesListed,
	},
	{
		ID: "C061", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 5, Success (interfaces.mac)",
		Statement: "`mac` matches the kernel at return time.",
		Judged:    "Each entry of the result against the link it names.",
		Check:     macMatches,
	},
	{
		ID: "C062", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 5, Success (interfaces.mtu)",
		Statement: "`mtu` is present for 1.1.0 and matches the kernel.",
		Judged:    "As C061.",
		Check:     mtuMatches,
	},
	{
		ID: "C063", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 5, Success (socketPath, pciID)",
		Statement: "`socketPath` (vhost-user) and `pciID` (PCI-backed) are emitted when applicable.",
		Never:     "needs vhost-user or PCI hardware, which a lab host does not have",
	},
	{
		ID: "C064", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 5, Success (ips.interface)",
		Statement: "Every `ips[].interface` is a valid index of a sandbox interface.",
		Judged:    "ADD in each version that has interfaces.",
		Check:     indicesValid,
	},
	{
		ID: "C065", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 5, Success (ips)",
		Statement: "Addresses in the result are exactly those configured.",
		Judged:    "The delegate's addresses and gateways, the kernel's and the result's: all three agree.",
		Check:     addressesMatch,
	},
}

func interfaceUp(t *trial.T) {
	for _, name := range []string{"eth0", "net1"} {
		a := t.Place()
		a.IfName = name
		reply := a.Add()
		t.Require(reply.OK(), "ADD succeeds for "+name, "%s", reply.Summary())
		l := link(a)
		if t.Expect(l != nil, name+" exists in the container", "it does not") {
			up := strings.Contains(l.Attrs().Flags.String(), "up")
			t.Expect(up, name+" is up", "flags %s", l.Attrs().Flags)
		}
	}
}

func nameTaken(t *trial.T) {
	a := t.Place()
	t.Must(a.Container.Loose(a.IfName))
	before, err := a.Container.State()
	t.Must(err)
	t.Refused(a.Request(protocol.Add), a.IfName+" is taken in the container")
	after, err := a.Container.State()
	t.Must(err)
	for _, c := range before.Diff(after) {
		t.Expect(false, "the container is untouched", "%s", c)
	}
}

func nameTakenLeaksNothing(t *trial.T) {
	settled := t.SettledWith(tight)
	a := t.Place()
	tight(a)
	t.Must(a.Container.Loose(a.IfName))
	if a.Add().OK() {
		t.Block("ADD succeeded although %s is taken", a.IfName)
	}
	t.NothingLeft(settled, "a failed ADD leaves the host as it was", a)
	t.Free(a, tightPool, "a failed ADD holds no address")
}

func failureRemovesLinks(t *trial.T) {
	t.Need(t.Subject.Kind&trial.Delegating != 0, "a failure is provoked through the IPAM plugin, and there is none")
	settled := t.Settled()
	a := t.Place()
	before, err := a.Container.State()
	t.Must(err)
	good := a.Conf
	a.Delegated(trial.Addresses())
	t.Script(double.Script{protocol.Add: trial.Refuses(999, "no address today")})
	if a.Add().OK() {
		t.Block("ADD succeeded although its IPAM plugin failed")
	}
	after, err := a.Container.State()
	t.Must(err)
	for _, c := range before.Diff(after) {
		t.Expect(false, "nothing is left in the container", "%s", c)
	}
	t.NothingLeft(settled, "no link is left on the host", a)
	a.Conf = good
	reply := a.Add()
	t.Expect(reply.OK(), "a retry succeeds", "%s", reply.Summary())
}

func failureReleases(t *trial.T) {
	a := t.Place()
	// No gateway of the attachment reaches 203.0.113.1, so the kernel refuses
	// the route: "network is unreachable".
	a.Delegated(trial.Addresses(protocol.Route{Dst: "198.51.100.0/24", GW: "203.0.113.1"}))
	if a.Add().OK() {
		t.Block("ADD succeeded with a route the kernel should refuse")
	}
	verbs := double.Verbs(t.Calls())
	t.Expect(len(verbs) >= 2 && verbs[0] == protocol.Add && verbs[len(verbs)-1] == protocol.Del, "the delegate sees ADD, then DEL", "%v", verbs)
}

func failedDelegateDeleted(t *trial.T) {
	a := t.Place()
	a.Delegated(trial.Addresses())
	t.Script(double.Script{protocol.Add: trial.Refuses(999, "no address today")})
	if a.Add().OK() {
		t.Block("ADD succeeded although its IPAM plugin failed")
	}
	verbs := double.Verbs(t.Calls())
	t.Expect(slices.Equal(verbs, []string{protocol.Add, protocol.Del}), "the delegate sees ADD, then DEL", "%v", verbs)
}

func failureRemovesRules(t *trial.T) {
	t.Settled()
	provoked := 0
	for _, step := range brokenSteps(t.Subject) {
		before := t.HostState()
		a := t.Place()
		ok := t.Call(step.spoil(t, a)).OK()
		if ok {
			a.MustDel()
		} else {
			provoked++
		}
		t.Must(a.Container.Kill())
		rules := firewallChanges(before, t.HostState())
		t.Expect(ok || len(rules) == 0, "no rule is left of an ADD that failed because "+step.why, "%s", strings.Join(rules, "\n"))
	}
	t.Need(provoked > 0, "no failure could be provoked")
}

// firewallChanges are the differences in the packet filter.
func firewallChanges(before, after lab.State) []string {
	var out []string
	for _, c := range before.Diff(after) {
		if c.Kind() == "firewall" {
			out = append(out, c.String())
		}
	}
	return out
}

func interfacesListed(t *trial.T) {
	t.Settled()
	hostBefore := t.HostState()
	a := t.Place()
	insideBefore, err := a.Container.State()
	t.Must(err)
	a.MustAdd()
	insideAfter, err := a.Container.State()
	t.Must(err)
	listed := func(name, sandbox string) bool {
		return slices.ContainsFunc(a.Result.Interfaces, func(i protocol.Interface) bool { return i.Name == name && i.Sandbox == sandbox })
	}
	for _, c := range append(insideBefore.Diff(insideAfter), lab.Change{}) {
		if c.Kind() == "link" && c.Appeared() {
			name := strings.TrimPrefix(c.Key, "link ")
			t.Expect(listed(name, a.Netns), fmt.Sprintf("%s is listed with sandbox %s", name, a.Netns), "%v", a.Result.Interfaces)
		}
	}
	for _, c := range hostBefore.Diff(t.HostState()) {
		if c.Kind() == "link" && c.Appeared() {
			name := strings.TrimPrefix(c.Key, "link ")
			t.Expect(listed(name, ""), fmt.Sprintf("%s is listed without sandbox", name), "%v", a.Result.Interfaces)
		}
	}
}

// eachListed calls fn for every interface of the result with the namespace it
// should be in.
func eachListed(t *trial.T, a *trial.Attachment, fn func(i protocol.Interface, n *lab.Netns)) {
	for _, i := range a.Result.Interfaces {
		switch i.Sandbox {
		case "":
			fn(i, t.Host.Netns)
		case a.Netns:
			fn(i, a.Container.Netns)
		}
	}
}

func macMatches(t *trial.T) {
	a := t.Attach()
	seen := 0
	eachListed(t, a, func(i protocol.Interface, n *lab.Netns) {
		l, err := n.NL.LinkByName(i.Name)
		if !t.Expect(err == nil, i.Name+" exists", "%v", err) {
			return
		}
		seen++
		want := l.Attrs().HardwareAddr.String()
		t.Expect(strings.EqualFold(i.Mac, want), fmt.Sprintf("mac of %s is %s", i.Name, want), "%q", i.Mac)
	})
	t.Expect(seen > 0, "the result lists interfaces", "%s", a.Result.Bytes)
}

func mtuMatches(t *trial.T) {
	a := t.At("1.1.0")
	a.MustAdd()
	eachListed(t, a, func(i protocol.Interface, n *lab.Netns) {
		l, err := n.NL.LinkByName(i.Name)
		if err != nil {
			return // C061 speaks about that
		}
		t.Expect(i.MTU == l.Attrs().MTU, fmt.Sprintf("mtu of %s is %d", i.Name, l.Attrs().MTU), "%d", i.MTU)
	})
}

func indicesValid(t *trial.T) {
	for _, v := range protocol.Versions()[2:] {
		if !t.Subject.Supports(v) {
			continue
		}
		a := t.Place()
		a.Conf = a.Conf.With("cniVersion", v)
		a.MustAdd()
		for _, ip := range a.Result.IPs {
			at := -1
			if ip.Interface != nil {
				at = *ip.Interface
			}
			ok := at >= 0 && at < len(a.Result.Interfaces) && a.Result.Interfaces[at].Sandbox != ""
			t.Expect(ok, "in "+v+" the interface of "+ip.Address+" is the index of one in the sandbox", "%d of %d interfaces", at, len(a.Result.Interfaces))
		}
	}
}

func addressesMatch(t *trial.T) {
	a := t.Place()
	if t.Subject.Kind&trial.Delegating != 0 {
		a.Delegated(trial.Addresses())
	}
	a.MustAdd()
	got, want := resultAddresses(a), addresses(a)
	t.Expect(slices.Equal(got, want), "the result has the addresses of the interface: "+prefixes(want), "%s", prefixes(got))
	if t.Subject.Kind&trial.Delegating == 0 {
		return
	}
	for _, want := range trial.Addresses().IPs {
		found := slices.ContainsFunc(a.Result.IPs, func(ip protocol.IP) bool { return ip.Address == want.Address && ip.Gateway == want.Gateway })
		t.Expect(found, fmt.Sprintf("%s with gateway %s, as the IPAM plugin answered", want.Address, want.Gateway), "%s", a.Result.Bytes)
	}
}

func prefixes(list []netip.Prefix) string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}
