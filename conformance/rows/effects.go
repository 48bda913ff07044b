package rows

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// This file looks at what requests bring about: links, addresses, traffic.

// link is the attachment's interface in its container, or nil.
func link(a *trial.Attachment) netlink.Link {
	l, err := a.Container.NL.LinkByName(a.IfName)
	if err != nil {
		return nil
	}
	return l
}

// addresses are the global addresses of the attachment's interface.
func addresses(a *trial.Attachment) []netip.Prefix {
	l := link(a)
	if l == nil {
		return nil
	}
	list, _ := a.Container.NL.AddrList(l, netlink.FAMILY_ALL)
	var out []netip.Prefix
	for _, addr := range list {
		if !addr.IP.IsLinkLocalUnicast() {
			ip, _ := netip.AddrFromSlice(addr.IP)
			ones, _ := addr.Mask.Size()
			out = append(out, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}

// resultAddresses are the addresses of the attachment's result.
func resultAddresses(a *trial.Attachment) []netip.Prefix {
	var out []netip.Prefix
	for _, ip := range a.Result.IPs {
		if p, err := netip.ParsePrefix(ip.Address); err == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}

// address is the attachment's first address of a family, from its result.
func address(a *trial.Attachment, v6 bool) (netip.Addr, bool) {
	for _, p := range resultAddresses(a) {
		if p.Addr().Is6() == v6 {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// families calls fn for each family the attachment has an address in.
func families(a *trial.Attachment, fn func(v6 bool, container netip.Addr)) {
	for _, v6 := range []bool{false, true} {
		if addr, ok := address(a, v6); ok {
			fn(v6, addr)
		}
	}
}

// hostAddr is the host's uplink address of a family.
func hostAddr(v6 bool) netip.Addr {
	if v6 {
		return lab.HostV6.Addr()
	}
	return lab.HostV4.Addr()
}

// anyAddr is the wildcard of a family.
func anyAddr(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// serve answers on a port in a namespace, TCP and UDP, in both families, for
// as long as the row lasts. The token tells the namespaces apart.
func serve(t *trial.T, n *lab.Netns, port int) {
	for _, network := range []string{"tcp", "udp"} {
		for _, v6 := range []bool{false, true} {
			_, err := n.Serve(network, netip.AddrPortFrom(anyAddr(v6), uint16(port)), n.Name)
			t.Must(err)
		}
	}
}

// reaches reports whether a question from one namespace is answered by another.
func reaches(from *lab.Netns, network string, to netip.AddrPort, server *lab.Netns) error {
	answer, err := from.Ask(network, to, netip.AddrPort{})
	if err != nil {
		return err
	}
	if answer.Token != server.Name {
		return fmt.Errorf("%s %s was answered by %s", network, to, answer.Token)
	}
	return nil
}

// settling is how long traffic may take to flow after ADD: neighbours have to
// be found through a bridge whose ports have just come up.
const settling = 1500 * time.Millisecond

// published wants the sample mapping of an attachment to work from outside,
// over TCP and UDP, in every family the attachment has.
func published(t *trial.T, a *trial.Attachment, want string) {
	families(a, func(v6 bool, _ netip.Addr) {
		to := netip.AddrPortFrom(hostAddr(v6), uint16(trial.HostPort(a.Number)))
		for _, network := range []string{"tcp", "udp"} {
			err := t.Host.Eventually(settling, func() error { return reaches(t.Host.Outside, network, to, a.Container.Netns) })
			if !t.Expect(err == nil, fmt.Sprintf("%s: %s to %s reaches the container", want, network, to), "%v", err) {
				return
			}
		}
	})
}

// shaping is the queueing of the host, the sign that bandwidth limits exist.
func shaping(t *trial.T) []string {
	var out []string
	for key := range t.HostState() {
		if (lab.Change{Key: key}).Kind() == "qdisc" {
			out = append(out, key)
		}
	}
	return out
}

// goCased is runtimeConfig as containerd writes it: structs without JSON names.
func goCased(a *trial.Attachment) protocol.Conf {
	conf := a.Conf
	if a.Subject.Declares("portMappings") {
		var list []any
		for _, network := range []string{"tcp", "udp"} {
			list = append(list, map[string]any{"HostPort": trial.HostPort(a.Number), "ContainerPort": trial.ContainerPort, "Protocol": network, "HostIP": ""})
		}
		conf = conf.With("runtimeConfig.portMappings", list)
	}
	if a.Subject.Declares("bandwidth") {
		conf = conf.With("runtimeConfig.bandwidth", map[string]any{"IngressRate": 8_000_000, "IngressBurst": 8_000_000, "EgressRate": 8_000_000, "EgressBurst": 8_000_000})
	}
	return conf
}

func caseInsensitive(t *trial.T) {
	ports, shapes := t.Subject.Declares("portMappings"), t.Subject.Declares("bandwidth")
	t.Need(ports || shapes, "the configuration declares neither portMappings nor bandwidth")
	a := t.Place()
	a.Conf = goCased(a)
	before := shaping(t)
	reply := a.Add()
	t.Require(a.Result != nil, "ADD succeeds with keys as containerd spells them", "%s", reply.Summary())
	if ports {
		serve(t, a.Container.Netns, trial.ContainerPort)
		published(t, a, "HostPort, ContainerPort, Protocol")
	}
	if shapes {
		t.Expect(len(shaping(t)) > len(before), "IngressRate and its like limit the traffic", "no queueing was added")
	}
}
