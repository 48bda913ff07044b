package rows

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// mapsPorts are the kinds of plugin that can have the portMappings capability.
const mapsPorts = trial.Interface | trial.Chained

var portmapRows = []trial.Row{
	{
		ID: "C162", Level: trial.Must, Profile: trial.Spec, Scope: mapsPorts, Section: "CONVENTIONS, portMappings",
		Statement: "Mappings have hostPort, containerPort, protocol, optional hostIP; an empty hostIP, `0.0.0.0` and `::` mean any.",
		Judged:    "TCP and UDP, IPv4 and IPv6: from outside, from the host, from 127.0.0.1, from another container and from the container itself.",
		Check:     mappingsWork,
	},
	{
		ID: "C163", Level: trial.Must, Profile: trial.Spec, Scope: mapsPorts, Section: "CONVENTIONS, portMappings",
		Statement: "hostIP selects only its own family and address; the other family is skipped silently.",
		Judged:    "A mapping for a second address of the host: reached there, not at the first address and not over IPv6.",
		Check:     mappingHostIP,
	},
	{
		ID: "C164", Level: trial.Must, Profile: trial.Netctl, Scope: mapsPorts, Section: "stricter than CONVENTIONS",
		Statement: "An invalid hostIP is an error.",
		Judged:    "`banana`, `300.1.2.3`, `10.0.0.0/8`.",
		Check: func(t *trial.T) {
			for _, ip := range []string{"banana", "300.1.2.3", "10.0.0.0/8"} {
				badMapping(t, "hostIP "+ip, map[string]any{"hostPort": 20999, "containerPort": 80, "protocol": "tcp", "hostIP": ip})
			}
		},
	},
	{
		ID: "C165", Level: trial.Must, Profile: trial.Netctl, Scope: mapsPorts, Section: "stricter than CONVENTIONS",
		Statement: "Ports outside 1–65535 are rejected before side effects.",
		Judged:    "70000, -1 and 0 as hostPort and containerPort: refused, the host as before.",
		Check: func(t *trial.T) {
			for _, port := range []int{70000, -1, 0} {
				badMapping(t, fmt.Sprintf("containerPort %d", port), map[string]any{"hostPort": 20999, "containerPort": port, "protocol": "tcp"})
			}
			for _, port := range []int{70000, -1} {
				badMapping(t, fmt.Sprintf("hostPort %d", port), map[string]any{"hostPort": port, "containerPort": 80, "protocol": "tcp"})
			}
		},
	},
	{
		ID: "C166", Level: trial.Should, Profile: trial.Netctl, Scope: mapsPorts, Section: "stricter than CONVENTIONS",
		Statement: "Protocol tcp, udp or sctp in any letter case; others are rejected.",
		Judged:    "TCP and Udp work; icmp and nonsense are refused.",
		Check:     mappingProtocols,
	},
	{
		ID: "C167", Level: trial.Should, Profile: trial.Netctl, Scope: mapsPorts, Section: "stricter than CONVENTIONS",
		Statement: "A conflict with another mapping (family, overlapping hostIP, port, protocol) is an error naming the holder.",
		Judged:    "Two containers want the same port: the second is refused and told who has it; the first keeps working.",
		Check:     mappingConflict,
	},
	{
		ID: "C168", Level: trial.Must, Profile: trial.Spec, Scope: trial.Chained, Section: "CONVENTIONS, portMappings",
		Statement: "An empty or absent list is pure pass-through without firewall calls.",
		Judged:    "ADD with no list, with null and with []: the host is untouched, on one without firewall tools as well.",
		Check:     mappingsEmpty,
	},
}

// needMappings makes a row not applicable unless the plugin maps ports.
func needMappings(t *trial.T) {
	t.Need(t.Subject.Declares("portMappings"), "the configuration does not declare portMappings")
}

// mapped places an attachment with one mapping list.
func mapped(t *trial.T, list ...any) *trial.Attachment {
	a := t.Place()
	a.Conf = a.Conf.With("runtimeConfig.portMappings", list)
	return a
}

func mappingsWork(t *trial.T) {
	needMappings(t)
	other := t.Attach()
	for _, hostIP := range []string{"", "0.0.0.0", "::"} {
		a := t.Place()
		if hostIP != "" {
			list := trial.Mappings(a.Number)
			for _, m := range list {
				m.(map[string]any)["hostIP"] = hostIP
			}
			a.Conf = a.Conf.With("runtimeConfig.portMappings", list)
		}
		a.MustAdd()
		serve(t, a.Container.Netns, trial.ContainerPort)
		switch hostIP {
		case "":
			published(t, a, "hostIP empty")
			everyDirection(t, a, other)
		case "0.0.0.0":
			reached(t, a, t.Host.Outside, "hostIP 0.0.0.0, from outside", hostAddr(false))
		case "::":
			reached(t, a, t.Host.Outside, "hostIP ::, from outside", hostAddr(true))
		}
	}
}

// everyDirection asks through the mapping from everywhere but the outside.
func everyDirection(t *trial.T, a, other *trial.Attachment) {
	families(a, func(v6 bool, _ netip.Addr) {
		reached(t, a, t.Host.Netns, "from the host", hostAddr(v6))
		reached(t, a, other.Container.Netns, "from another container", hostAddr(v6))
		reached(t, a, a.Container.Netns, "from the container itself", hostAddr(v6))
	})
	reached(t, a, t.Host.Netns, "from the host by way of localhost", netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

// reached wants the sample mapping to work from a namespace, TCP and UDP.
func reached(t *trial.T, a *trial.Attachment, from *lab.Netns, want string, addr netip.Addr) {
	to := netip.AddrPortFrom(addr, uint16(trial.HostPort(a.Number)))
	for _, network := range []string{"tcp", "udp"} {
		err := t.Host.Eventually(settling, func() error { return reaches(from, network, to, a.Container.Netns) })
		t.Expect(err == nil, fmt.Sprintf("%s: %s %s reaches the container", want, network, to), "%v", err)
	}
}

func mappingHostIP(t *trial.T) {
	needMappings(t)
	second := netip.MustParsePrefix("192.0.2.3/24")
	t.Must(t.Host.Address(t.Host.Uplink(), second))
	a := mapped(t, map[string]any{"hostPort": 20500, "containerPort": trial.ContainerPort, "protocol": "tcp", "hostIP": second.Addr().String()})
	a.MustAdd()
	serve(t, a.Container.Netns, trial.ContainerPort)
	err := t.Host.Eventually(settling, func() error {
		return reaches(t.Host.Outside, "tcp", netip.AddrPortFrom(second.Addr(), 20500), a.Container.Netns)
	})
	t.Expect(err == nil, "the mapping is reached at "+second.Addr().String(), "%v", err)
	for _, v6 := range []bool{false, true} {
		to := netip.AddrPortFrom(hostAddr(v6), 20500)
		err := t.Host.Eventually(lab.Patience, func() error { return reaches(t.Host.Outside, "tcp", to, a.Container.Netns) })
		t.Expect(err != nil, "the mapping is not reached at "+to.String(), "it is")
	}
}

// badMapping wants a mapping refused and the host untouched.
func badMapping(t *trial.T, why string, mapping map[string]any) {
	needMappings(t)
	a := mapped(t, mapping)
	before := t.HostState()
	add := a.Request(protocol.Add)
	add.Limit = 5 * time.Second // some resolve a wrong address as a name
	t.Refused(add, why)
	t.Unchanged(before, "a mapping with "+why)
	t.Call(a.Request(protocol.Del))
}

func mappingProtocols(t *trial.T) {
	needMappings(t)
	for i, name := range []string{"TCP", "Udp"} {
		port := 20600 + i
		a := mapped(t, map[string]any{"hostPort": port, "containerPort": trial.ContainerPort, "protocol": name})
		reply := a.Add()
		if !t.Expect(reply.OK(), "protocol "+name+" is accepted", "%s", reply.Summary()) {
			continue
		}
		serve(t, a.Container.Netns, trial.ContainerPort)
		to := netip.AddrPortFrom(hostAddr(false), uint16(port))
		err := t.Host.Eventually(settling, func() error { return reaches(t.Host.Outside, strings.ToLower(name), to, a.Container.Netns) })
		t.Expect(err == nil, "a mapping of protocol "+name+" works", "%v", err)
	}
	for _, name := range []string{"icmp", "banana"} {
		badMapping(t, "protocol "+name, map[string]any{"hostPort": 20999, "containerPort": 80, "protocol": name})
	}
}

func mappingConflict(t *trial.T) {
	needMappings(t)
	mapping := map[string]any{"hostPort": 20700, "containerPort": trial.ContainerPort, "protocol": "tcp"}
	a := mapped(t, mapping)
	a.MustAdd()
	serve(t, a.Container.Netns, trial.ContainerPort)
	b := mapped(t, mapping)
	f := t.Refused(b.Request(protocol.Add), "another container has port 20700")
	if f != nil {
		t.Expect(strings.Contains(f.Text(), a.ID), "the error names the holder "+a.ID, "%s", f.Text())
	}
	to := netip.AddrPortFrom(hostAddr(false), 20700)
	err := t.Host.Eventually(settling, func() error { return reaches(t.Host.Outside, "tcp", to, a.Container.Netns) })
	t.Expect(err == nil, "the first container keeps the port", "%v", err)
}

func mappingsEmpty(t *trial.T) {
	needMappings(t)
	tools, err := t.Host.OnlyTools()
	t.Must(err)
	for why, list := range map[string]any{"no list": nil, "null": nil, "an empty list": []any{}} {
		a := t.Place()
		a.Conf = a.Conf.Without("runtimeConfig")
		if why != "no list" {
			a.Conf = a.Conf.With("runtimeConfig.portMappings", list)
		}
		before := t.HostState()
		reply := t.Call(a.Request(protocol.Add).With("PATH", tools))
		t.Expect(reply.OK(), "ADD succeeds with "+why+" on a host without firewall tools", "%s", reply.Summary())
		t.Unchanged(before, "ADD with "+why)
	}
}
