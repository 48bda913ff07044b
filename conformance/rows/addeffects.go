package rows

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var addEffectRows = []trial.Row{
	{
		ID: "C066", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 5, Success (routes)",
		Statement: "Each result route exists with dst, gw, metric, table, scope.",
		Judged:    "The delegate answers with such routes; the kernel's tables afterwards.",
		Check:     routesInstalled,
	},
	{
		ID: "C067", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 5, Success (routes.mtu, advmss)",
		Statement: "Route `mtu` and `advmss` are applied.",
		Judged:    "As C066 with both set.",
		Check:     routeMetrics,
	},
	{
		ID: "C068", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "reference plugins",
		Statement: "Several routes to one destination install as multipath.",
		Judged:    "The delegate answers with two gateways for one destination; the kernel has both.",
		Check:     multipath,
	},
	{
		ID: "C069", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 5, Success (routes.gw)",
		Statement: "A route without `gw` uses the gateway of its address family.",
		Judged:    "The delegate answers with a route per family without gw.",
		Check:     routeWithoutGateway,
	},
	{
		ID: "C070", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 5, Success (routes.scope)",
		Statement: "A scope of 0 and an absent scope are distinguished.",
		Judged:    "Link scope is installed as such; 0 and absent with a gateway both become global, and the result keeps the difference.",
		Check:     routeScopes,
	},
	{
		ID: "C071", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 5, Success (dns)",
		Statement: "`dns`: the configuration's value wins if any sub-key is set, else the IPAM's is passed through.",
		Judged:    "The delegate answers with dns; ADD with and without dns in the configuration.",
		Check:     dnsPrecedence,
	},
	{
		ID: "C072", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 2, Parameters",
		Statement: "Same container, second ifname, same network: succeeds with a different address.",
		Judged:    "Two ADDs; both interfaces have their addresses.",
		Check:     secondInterface,
	},
	{
		ID: "C073", Level: trial.Must, Profile: trial.Runtime, Scope: trial.Interface, Section: "containerd attaches in parallel",
		Statement: "Two ADDs for one container with different ifnames run concurrently without interference.",
		Judged:    "Four interfaces added at the same time, three times over.",
		Check:     parallelInterfaces,
	},
	{
		ID: "C074", Level: trial.Should, Profile: trial.Netctl, Scope: trial.IPAM, Section: "stricter than SPEC 4, ADD",
		Statement: "A repeated ADD for the same (container, ifname) never consumes a second address.",
		Judged:    "With a pool of two: ADD twice for one container; another container still gets an address.",
		Check:     repeatedReservation,
	},
	{
		ID: "C075", Level: trial.Should, Profile: trial.Spec, Scope: trial.Delegating, Section: "CONVENTIONS; reference plugins",
		Statement: "IPv6 addresses have left tentative state when ADD returns.",
		Judged:    "The flags of every IPv6 address of the interface right after ADD.",
		Check:     notTentative,
	},
	{
		ID: "C076", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Delegating, Section: "stricter than SPEC 4, ADD",
		Statement: "Adding an IPv6 address turns IPv6 on for that interface (and lo) only.",
		Judged:    "A container with IPv6 off in all and default: the interface gets its address, another interface and the defaults stay off.",
		Check:     ipv6OnlyThere,
	},
	{
		ID: "C077", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Interface, Section: "nested and rootless runtimes",
		Statement: "Works in a namespace owned by a user namespace and with a read-only sysctl tree where the value is already right.",
		Judged:    "A container of a user namespace whose defaults, and the host's, are what an earlier ADD left on its links, and /proc/sys read-only: ADD succeeds.",
		Check:     readOnlySysctls,
	},
	{
		ID: "C078", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error code 11",
		Statement: "Transient conditions (lock timeout, daemon restarting) use code 11.",
		Judged:    "Every lock file the plugin keeps is held for 12 s: ADD either succeeds meanwhile or answers code 11.",
		Check:     lockedOut,
	},
}

// routesTo are the container's routes to a destination, in any table.
func routesTo(a *trial.Attachment, dst string) []netlink.Route {
	all, _ := a.Container.NL.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	return slices.DeleteFunc(all, func(r netlink.Route) bool { return r.Dst == nil || r.Dst.String() != dst })
}

// withRoutes adds an attachment whose IPAM plugin answers with routes.
func withRoutes(t *trial.T, routes ...protocol.Route) *trial.Attachment {
	a := t.At("1.1.0")
	a.Delegated(trial.Addresses(routes...))
	reply := a.Add()
	t.Require(a.Result != nil, "ADD succeeds with the routes of its IPAM plugin", "%s", reply.Summary())
	return a
}

func routesInstalled(t *trial.T) {
	table := 100
	a := withRoutes(t,
		protocol.Route{Dst: "198.51.100.0/24", GW: "10.214.0.2", Priority: 77},
		protocol.Route{Dst: "203.0.113.0/24", GW: "10.214.0.3", Table: &table},
		protocol.Route{Dst: "2001:db8:1::/64", GW: "fd00:bee::2", Priority: 78},
	)
	for _, want := range []struct {
		dst, gw  string
		priority int
		table    int
	}{
		{"198.51.100.0/24", "10.214.0.2", 77, unix.RT_TABLE_MAIN},
		{"203.0.113.0/24", "10.214.0.3", 0, table},
		{"2001:db8:1::/64", "fd00:bee::2", 78, unix.RT_TABLE_MAIN},
	} {
		found := slices.ContainsFunc(routesTo(a, want.dst), func(r netlink.Route) bool {
			return r.Gw.Equal(net.ParseIP(want.gw)) && r.Table == want.table && (want.priority == 0 || r.Priority == want.priority)
		})
		t.Expect(found, fmt.Sprintf("a route to %s via %s, metric %d, table %d", want.dst, want.gw, want.priority, want.table), "%v", routesTo(a, want.dst))
	}
}

func routeMetrics(t *trial.T) {
	a := withRoutes(t, protocol.Route{Dst: "198.51.100.0/24", GW: "10.214.0.2", MTU: 1300, AdvMSS: 1200})
	routes := routesTo(a, "198.51.100.0/24")
	t.Require(len(routes) == 1, "one route to 198.51.100.0/24", "%v", routes)
	t.Expect(routes[0].MTU == 1300, "mtu 1300", "%d", routes[0].MTU)
	t.Expect(routes[0].AdvMSS == 1200, "advmss 1200", "%d", routes[0].AdvMSS)
}

func multipath(t *trial.T) {
	for _, via := range [][2]string{{"10.214.0.2", "10.214.0.3"}, {"fd00:bee::2", "fd00:bee::3"}} {
		dst := "198.51.100.0/24"
		if strings.Contains(via[0], ":") {
			dst = "2001:db8:1::/64"
		}
		a := withRoutes(t, protocol.Route{Dst: dst, GW: via[0]}, protocol.Route{Dst: dst, GW: via[1]})
		var hops []string
		for _, r := range routesTo(a, dst) {
			if r.Gw != nil {
				hops = append(hops, r.Gw.String())
			}
			for _, hop := range r.MultiPath {
				hops = append(hops, hop.Gw.String())
			}
		}
		for _, gw := range via {
			t.Expect(slices.Contains(hops, gw), "a next hop "+gw+" to "+dst, "%v", hops)
		}
		t.Must(a.Container.Kill()) // the next one has the same address
	}
}

func routeWithoutGateway(t *trial.T) {
	a := withRoutes(t, protocol.Route{Dst: "198.51.100.0/24"}, protocol.Route{Dst: "2001:db8:1::/64"})
	for dst, gw := range map[string]string{"198.51.100.0/24": "10.214.0.1", "2001:db8:1::/64": "fd00:bee::1"} {
		routes := routesTo(a, dst)
		t.Expect(len(routes) == 1 && routes[0].Gw.Equal(net.ParseIP(gw)), fmt.Sprintf("%s via %s", dst, gw), "%v", routes)
	}
}

func routeScopes(t *trial.T) {
	linkScope, global := int(netlink.SCOPE_LINK), int(netlink.SCOPE_UNIVERSE)
	a := t.At("1.1.0")
	a.Delegated(&protocol.Result{
		IPs: []protocol.IP{{Address: "10.214.0.5/24"}},
		Routes: []protocol.Route{
			{Dst: "198.51.100.0/24", Scope: &linkScope},
			{Dst: "203.0.113.0/24", GW: "10.214.0.2", Scope: &global},
			{Dst: "192.0.2.128/25", GW: "10.214.0.2"},
		},
	})
	if conf := a.Conf; conf.Bool("isGateway") || conf.Bool("isDefaultGateway") {
		a.Conf = conf.Without("isGateway", "isDefaultGateway", "ipMasq")
	}
	reply := a.Add()
	if a.Result == nil {
		b := t.Place()
		b.Delegated(&protocol.Result{IPs: []protocol.IP{{Address: "10.214.0.6/24"}}})
		t.Need(b.Add().OK(), "the plugin cannot do without a gateway, and a route of link scope cannot have one")
	}
	t.Require(a.Result != nil, "ADD succeeds with routes of every scope", "%s", reply.Summary())
	for dst, scope := range map[string]netlink.Scope{"198.51.100.0/24": netlink.SCOPE_LINK, "203.0.113.0/24": netlink.SCOPE_UNIVERSE, "192.0.2.128/25": netlink.SCOPE_UNIVERSE} {
		routes := routesTo(a, dst)
		t.Expect(len(routes) == 1 && routes[0].Scope == scope, fmt.Sprintf("a route to %s of scope %s", dst, scope), "%v", routes)
	}
	for _, r := range a.Result.Routes {
		if r.Dst == "203.0.113.0/24" {
			t.Expect(r.Scope != nil, "scope 0 is still written in the result", "%+v", r)
		}
		if r.Dst == "192.0.2.128/25" {
			t.Expect(r.Scope == nil, "an absent scope is still absent in the result", "%+v", r)
		}
	}
}

func dnsPrecedence(t *trial.T) {
	res := trial.Addresses()
	res.DNS = &protocol.DNS{Nameservers: []string{"192.0.2.53"}, Search: []string{"ipam.example"}}
	for why, conf := range map[string]map[string]any{
		"the configuration's": {"nameservers": []any{"192.0.2.99"}},
		"the IPAM plugin's":   nil,
	} {
		a := t.Place()
		a.Delegated(res)
		want := "192.0.2.53"
		if conf != nil {
			a.Conf = a.Conf.With("dns", conf)
			want = "192.0.2.99"
		}
		a.MustAdd()
		var got []string
		if a.Result.DNS != nil {
			got = a.Result.DNS.Nameservers
		}
		t.Expect(slices.Equal(got, []string{want}), "the result's name servers are "+why+": "+want, "%v", got)
		t.Must(a.Container.Kill()) // the next one has the same addresses
	}
}

func secondInterface(t *trial.T) {
	a := t.Attach()
	b := a.Sibling("net1")
	reply := b.Add()
	t.Require(b.Result != nil, "ADD of a second interface succeeds", "%s", reply.Summary())
	families(a, func(v6 bool, first netip.Addr) {
		second, _ := address(b, v6)
		t.Expect(first != second, "the second interface has another address than "+first.String(), "%s", second)
	})
	for _, x := range []*trial.Attachment{a, b} {
		t.Expect(slices.Equal(resultAddresses(x), addresses(x)), x.IfName+" has the addresses of its result", "%s", prefixes(addresses(x)))
	}
}

func parallelInterfaces(t *trial.T) {
	for range 3 {
		first := t.Place()
		all := []*trial.Attachment{first, first.Sibling("net1"), first.Sibling("net2"), first.Sibling("net3")}
		var requests []protocol.Request
		for _, a := range all {
			requests = append(requests, a.Request(protocol.Add))
		}
		for i, reply := range t.Parallel(requests) {
			a := all[i]
			a.Took(reply)
			if !t.Expect(a.Result != nil, "parallel ADD of "+a.IfName+" succeeds", "%s", reply.Summary()) {
				continue
			}
			t.Expect(slices.Equal(resultAddresses(a), addresses(a)), a.IfName+" has the addresses of its result", "%s", prefixes(addresses(a)))
		}
	}
}

func repeatedReservation(t *trial.T) {
	a := t.Place()
	a.NeedPool(2)
	a.MustAdd()
	a.Add()
	b := t.Place()
	b.Conf = b.Conf.With("ipam", a.Conf.Get("ipam"))
	reply := b.Add()
	t.Expect(reply.OK(), "the second address of two is free after a repeated ADD", "%s", reply.Summary())
}

func notTentative(t *trial.T) {
	a := t.At(t.Subject.Latest())
	a.Delegated(trial.Addresses())
	a.MustAdd()
	l := link(a)
	t.Require(l != nil, "the interface exists", "it does not")
	list, err := a.Container.NL.AddrList(l, netlink.FAMILY_V6)
	t.Must(err)
	for _, addr := range list {
		if !addr.IP.IsLinkLocalUnicast() {
			t.Expect(addr.Flags&unix.IFA_F_TENTATIVE == 0, addr.IPNet.String()+" is not tentative", "flags %#x", addr.Flags)
		}
	}
}

func ipv6OnlyThere(t *trial.T) {
	a := t.Place()
	for _, key := range []string{"all", "default", "lo"} {
		t.Must(a.Container.Sysctl("ipv6/conf/"+key+"/disable_ipv6", "1"))
	}
	t.Must(a.Container.Loose("other0"))
	a.Delegated(trial.Addresses())
	reply := a.Add()
	t.Require(a.Result != nil, "ADD succeeds where IPv6 is off by default", "%s", reply.Summary())
	t.Expect(slices.Equal(resultAddresses(a), addresses(a)), "the interface has the addresses of the result", "%s", prefixes(addresses(a)))
	for _, key := range []string{"default", "other0"} {
		got, err := a.Container.ReadSysctl("ipv6/conf/" + key + "/disable_ipv6")
		t.Must(err)
		t.Expect(got == "1", "IPv6 stays off for "+key, "disable_ipv6 = %s", got)
	}
}

func readOnlySysctls(t *trial.T) {
	a := t.Attach()
	defaults, err := a.Container.LinkSysctls(a.IfName)
	t.Must(err)
	c, err := t.Host.NewUserContainer("nested")
	t.Must(err)
	t.Must(c.SetLinkSysctls("default", defaults))
	if end, err := t.Host.NL.LinkByIndex(link(a).Attrs().ParentIndex); err == nil {
		outer, err := t.Host.LinkSysctls(end.Attrs().Name)
		t.Must(err)
		t.Must(t.Host.SetLinkSysctls("default", outer))
	}
	t.Must(t.Host.ReadOnlySysctls())
	b := t.Place()
	b.Container, b.Netns = c, c.Path
	reply := b.Add()
	t.Expect(reply.OK(), "ADD succeeds in a user namespace's container where every setting is already right and /proc/sys is read-only", "%s", reply.Summary())
}
