package rows

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var securityRows = []trial.Row{
	{
		ID: "C193", Level: trial.Must, Profile: trial.Netctl, Scope: trial.Interface, Section: "CVE-2020-10749",
		Statement: "Host-side links ignore IPv6 router advertisements.",
		Judged:    "Every link ADD made on the host has accept_ra 0 or IPv6 off.",
		Check:     noAdvertisements,
	},
	{
		ID: "C194", Level: trial.Must, Profile: trial.Netctl, Scope: trial.Interface | trial.Chained, Section: "CVE-2025-67499",
		Statement: "Port mappings match only packets addressed to the host itself, in both hooks.",
		Judged:    "A server behind the host on the mapped port: the outside and the host still reach it, not the container.",
		Check:     onlyToHost,
	},
	{
		ID: "C195", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Interface | trial.Chained, Section: "plugins#729",
		Statement: "Turning on localhost routing for mappings adds a guard that drops foreign packets to 127/8.",
		Judged:    "A service on the host's 127.0.0.1: a packet the container sends to that address must not arrive.",
		Check:     localhostGuarded,
	},
	{
		ID: "C196", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "CVE-2021-20206",
		Statement: "A plugin type with a path separator is refused.",
		Judged:    "An IPAM type that is a path, relative and absolute: ADD fails and nothing of that path runs.",
		Check:     typeWithPath,
	},
	{
		ID: "C197", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC",
		Statement: "State files are 0600 in a 0700 tree.",
		Judged:    "The mode of every file and directory that appears in /run and /var/lib with an ADD.",
		Check:     privateFiles,
	},
	{
		ID: "C198", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Chained, Section: "plugins#618",
		Statement: "One network's published ports can be confined to an interface or zone; no silent hole through the host firewall.",
		Never:     "no key for it is common to plugins; the suite would judge one vendor's spelling",
	},
}

func noAdvertisements(t *trial.T) {
	before := t.HostState()
	t.Attach()
	for _, c := range before.Diff(t.HostState()) {
		if c.Kind() != "link" || !c.Appeared() {
			continue
		}
		name := strings.TrimPrefix(c.Key, "link ")
		ra, err := t.Host.ReadSysctl("ipv6/conf/" + name + "/accept_ra")
		t.Must(err)
		off, err := t.Host.ReadSysctl("ipv6/conf/" + name + "/disable_ipv6")
		t.Must(err)
		t.Expect(ra == "0" || off == "1", name+" ignores router advertisements", "accept_ra = %s, disable_ipv6 = %s", ra, off)
	}
}

// The network behind the host in onlyToHost.
var (
	behindHost   = netip.MustParsePrefix("198.51.100.1/24")
	behindServer = netip.MustParsePrefix("198.51.100.2/24")
)

func onlyToHost(t *trial.T) {
	needMappings(t)
	a := t.Attach()
	serve(t, a.Container.Netns, trial.ContainerPort)
	server, err := t.Host.NewContainer("behind")
	t.Must(err)
	t.Must(t.Host.CableTo(server.Netns, "behind0", behindHost, behindServer))
	t.Must(t.Host.Sysctl("ipv4/ip_forward", "1"))
	port := trial.HostPort(a.Number)
	serve(t, server.Netns, port)
	to := netip.AddrPortFrom(behindServer.Addr(), uint16(port))
	for _, from := range []*lab.Netns{t.Host.Outside, t.Host.Netns} {
		err := t.Host.Eventually(settling, func() error { return reaches(from, "tcp", to, server.Netns) })
		t.Expect(err == nil, fmt.Sprintf("%s from %s is answered by its owner", to, from.Name), "%v", err)
	}
}

func localhostGuarded(t *trial.T) {
	needMappings(t)
	secret := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 7070)
	arrives, err := t.Host.Hear(secret)
	t.Must(err)
	a := t.Attach()
	i := slices.IndexFunc(a.Result.IPs, func(ip protocol.IP) bool { return ip.Gateway != "" && !strings.Contains(ip.Gateway, ":") })
	t.Need(i >= 0, "the container has no IPv4 gateway")
	gateway, err := netip.ParseAddr(a.Result.IPs[i].Gateway)
	t.Must(err)
	t.Must(a.Container.RouteLocalhost(a.IfName, gateway))
	own, _ := address(a, false)
	// No answer is expected: the reply, from 127.0.0.1, is a martian to the
	// container. What counts is whether the question got through.
	a.Container.Ask("udp", secret, netip.AddrPortFrom(own, 0))
	t.Expect(!arrives(lab.Patience+t.Host.Slack(lab.Patience)), "a packet from the container to 127.0.0.1 does not reach the host's services", "it did")
}

func typeWithPath(t *trial.T) {
	for _, kind := range []string{"../elsewhere/conformance-ipam", lab.DoubleDir + "/conformance-ipam", "./conformance-ipam"} {
		pathAsType(t, kind)
	}
}

func privateFiles(t *trial.T) {
	before := t.HostState()
	t.Attach()
	seen := 0
	for _, c := range before.Diff(t.HostState()) {
		if c.Kind() != "file" || !c.Appeared() {
			continue
		}
		seen++
		mode, _, _ := strings.Cut(c.After, " ")
		t.Expect(strings.HasSuffix(mode, "------"), strings.TrimPrefix(c.Key, "file ")+" is for its owner only", "%s", mode)
	}
	t.Need(seen > 0, "the plugin keeps no files")
}
