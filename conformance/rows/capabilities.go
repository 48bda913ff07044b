package rows

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var capabilityRows = []trial.Row{
	{
		ID: "C169", Level: trial.Must, Profile: trial.Spec, Scope: trial.IPAM, Section: "CONVENTIONS, ipRanges",
		Statement: "ipRanges: same structure as host-local's `ranges`; takes precedence by being placed in front.",
		Judged:    "ADD with a range in runtimeConfig: its address comes first in the result.",
		Check:     ipRanges,
	},
	{
		ID: "C170", Level: trial.Must, Profile: trial.Spec, Scope: trial.IPAM | trial.Delegating, Section: "CONVENTIONS, ips",
		Statement: "ips: each entry `IP` or `IP/prefix`; each is satisfied or ADD fails and nothing is kept.",
		Judged:    "A wanted address with and without a prefix; then two of which one is impossible, and the other is free afterwards.",
		Check:     wantedAddresses,
	},
	{
		ID: "C171", Level: trial.Must, Profile: trial.Spec, Scope: trial.IPAM | trial.Delegating, Section: "CONVENTIONS, ips",
		Statement: "ips: the gateway, network, broadcast, out-of-range and taken addresses are refused.",
		Judged:    "One ADD for each.",
		Check:     forbiddenAddresses,
	},
	{
		ID: "C172", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.Chained, Section: "CONVENTIONS, mac",
		Statement: "mac: sets the container's MAC exactly; the result shows it; a malformed or multicast MAC is rejected.",
		Judged:    "ADD with a MAC: kernel and result; then three bad ones.",
		Check:     wantedMAC,
	},
	{
		ID: "C173", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.Chained, Section: "CONVENTIONS, bandwidth",
		Statement: "bandwidth: rate and burst both or neither per direction; bursts of 2³²−1 (containerd) and 8·(2³²−1)−1 (CRI-O) bits are accepted.",
		Judged:    "Rate without burst and burst without rate are refused; both bursts shape the link.",
		Check:     bandwidthValues,
	},
	{
		ID: "C174", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.Chained, Section: "CONVENTIONS, dns",
		Statement: "dns: servers, searches and options map to nameservers, search and options of the result.",
		Judged:    "ADD with all three, for a configuration that declares dns.",
		Check:     dnsCapability,
	},
	{
		ID: "C175", Level: trial.Should, Profile: trial.Runtime, Scope: trial.All, Section: "CONVENTIONS, aliases; CRI-O passes a map",
		Statement: "aliases: a list of names, or a map keyed by network name.",
		Judged:    "ADD with both forms.",
		Check: func(t *trial.T) {
			accepts(t, "aliases", []any{"web", "db"}, map[string]any{t.Subject.Conf.String("name"): []any{"web"}})
		},
	},
	{
		ID: "C176", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "CONVENTIONS, cgroupPath",
		Statement: "cgroupPath is accepted, and ignored when unused.",
		Judged:    "ADD with it.",
		Check:     func(t *trial.T) { accepts(t, "cgroupPath", "/kubepods/pod1/container1") },
	},
	{
		ID: "C177", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "CONVENTIONS, deviceID",
		Statement: "deviceID: a PCI or auxiliary-bus identifier selects the device.",
		Never:     "needs a PCI device that can be given away, which a lab host does not have",
	},
	{
		ID: "C178", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "CONVENTIONS, infinibandGUID",
		Statement: "infinibandGUID: eight octets, validated where used; others ignore it.",
		Judged:    "ADD with a good one.",
		Check:     func(t *trial.T) { accepts(t, "infinibandGUID", "c2:11:22:33:44:55:66:77") },
	},
	{
		ID: "C179", Level: trial.Should, Profile: trial.Runtime, Scope: trial.All, Section: "containerd and CRI-O",
		Statement: "`io.kubernetes.cri.pod-annotations` (a map) is ignored if not understood.",
		Judged:    "ADD with it in runtimeConfig.",
		Check:     podAnnotations,
	},
	{
		ID: "C180", Level: trial.Should, Profile: trial.Spec, Scope: trial.IPAM, Section: "CONVENTIONS, args in network config",
		Statement: "args.cni: `labels` and `ips` are understood by IPAM where relevant.",
		Judged:    "ADD with a wanted address there, and with labels.",
		Check:     argsInConf,
	},
	{
		ID: "C181", Level: trial.Should, Profile: trial.Runtime, Scope: trial.IPAM | trial.Interface | trial.Chained, Section: "CONVENTIONS, CNI_ARGS; nerdctl and CRI-O",
		Statement: "CNI_ARGS `IP` and `MAC` are honoured unless the same datum came by a stronger route.",
		Judged:    "ADD with each alone, and with runtimeConfig beside it.",
		Check:     argsHonoured,
	},
}

func ipRanges(t *trial.T) {
	t.Need(len(trial.Subnets(t.Subject.Conf)) > 0, "the plugin has no ranges")
	a := t.Place()
	a.Conf = a.Conf.With("runtimeConfig.ipRanges", []any{[]any{map[string]any{"subnet": "10.77.0.0/24"}}})
	reply := a.Add()
	t.Require(a.Result != nil, "ADD succeeds with ipRanges", "%s", reply.Summary())
	t.Expect(len(a.Result.IPs) > 0 && strings.HasPrefix(a.Result.IPs[0].Address, "10.77.0."), "an address of 10.77.0.0/24 comes first", "%s", a.Result.Bytes)
}

// needIPs makes a row not applicable unless addresses can be asked for. It
// returns the networks they come from.
func needIPs(t *trial.T) []netip.Prefix {
	list := trial.Subnets(t.Subject.Conf)
	t.Need(len(list) > 0, "the networks are not known: ipam has neither subnet nor ranges")
	t.Need(t.Subject.Kind&trial.IPAM != 0 || t.Subject.Declares("ips"), "the configuration does not declare ips")
	return list
}

// wants places an attachment that asks for addresses.
func wants(t *trial.T, ips ...string) *trial.Attachment {
	a := t.Place()
	a.Conf = a.Conf.With("runtimeConfig.ips", ips)
	return a
}

// nth is the n-th address of a network.
func nth(p netip.Prefix, n int) netip.Addr {
	addr := p.Masked().Addr()
	for range n {
		addr = addr.Next()
	}
	return addr
}

func wantedAddresses(t *trial.T) {
	p := needIPs(t)[0]
	for i, text := range []string{nth(p, 100).String(), netip.PrefixFrom(nth(p, 101), p.Bits()).String()} {
		a := wants(t, text)
		reply := a.Add()
		if t.Expect(a.Result != nil, "ADD succeeds with ips "+text, "%s", reply.Summary()) {
			got, _ := address(a, p.Addr().Is6())
			t.Expect(got == nth(p, 100+i), text+" is in the result", "%s", a.Result.Bytes)
		}
	}
	possible := nth(p, 102).String()
	t.Refused(wants(t, possible, "172.31.255.7").Request(protocol.Add), "one of two addresses is impossible")
	again := wants(t, possible)
	reply := again.Add()
	t.Expect(reply.OK(), possible+" is free after the refusal", "%s", reply.Summary())
}

func forbiddenAddresses(t *trial.T) {
	p := needIPs(t)[0]
	held := t.Attach()
	taken, _ := address(held, p.Addr().Is6())
	gateway := nth(p, 1).String()
	for _, ip := range held.Result.IPs {
		if own, err := netip.ParsePrefix(ip.Address); err == nil && own.Addr() == taken && ip.Gateway != "" {
			gateway = ip.Gateway
		}
	}
	list := []struct{ what, ip string }{
		{"the gateway", gateway},
		{"the network's own address", p.Masked().Addr().String()},
		{"an address out of range", "172.31.255.7"},
		{"a taken address", taken.String()},
	}
	if p.Addr().Is4() {
		list = append(list, struct{ what, ip string }{"the broadcast address", broadcast(p).String()})
	}
	for _, bad := range list {
		t.Refused(wants(t, bad.ip).Request(protocol.Add), bad.what+" "+bad.ip+" is asked for")
	}
}

// broadcast is the last address of an IPv4 network.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}

func wantedMAC(t *trial.T) {
	t.Need(t.Subject.Declares("mac"), "the configuration does not declare mac")
	mac := otherMAC().String()
	a := t.Place()
	a.Conf = a.Conf.With("runtimeConfig.mac", mac)
	reply := a.Add()
	t.Require(a.Result != nil, "ADD succeeds with a MAC", "%s", reply.Summary())
	got := link(a).Attrs().HardwareAddr.String()
	t.Expect(got == mac, "the interface has "+mac, "%s", got)
	t.Expect(inside(a.Result, a).Mac == mac, "the result has "+mac, "%s", a.Result.Bytes)
	for why, bad := range map[string]string{"malformed": "banana", "too long": "02:00:00:00:00:01:02", "multicast": "01:00:5e:00:00:01"} {
		b := t.Place()
		b.Conf = b.Conf.With("runtimeConfig.mac", bad)
		t.Refused(b.Request(protocol.Add), "a "+why+" MAC "+bad)
	}
}

func bandwidthValues(t *trial.T) {
	t.Need(t.Subject.Declares("bandwidth"), "the configuration does not declare bandwidth")
	for why, value := range map[string]map[string]any{
		"a rate without burst": {"ingressRate": 8000000},
		"a burst without rate": {"egressBurst": 8000000},
	} {
		a := t.Place()
		a.Conf = a.Conf.With("runtimeConfig.bandwidth", value)
		t.Refused(a.Request(protocol.Add), why)
	}
	const containerd, crio = 1<<32 - 1, 8*(1<<32-1) - 1
	for _, burst := range []int{containerd, crio} {
		before := shaping(t)
		a := t.Place()
		a.Conf = a.Conf.With("runtimeConfig.bandwidth", map[string]any{"ingressRate": 8000000, "ingressBurst": burst, "egressRate": 8000000, "egressBurst": burst})
		reply := a.Add()
		if t.Expect(reply.OK(), "a burst of "+mustText(burst)+" is accepted", "%s", reply.Summary()) {
			t.Expect(len(shaping(t)) > len(before), "the traffic is limited", "no queueing was added")
		}
	}
}

func dnsCapability(t *trial.T) {
	t.Need(t.Subject.Declares("dns"), "the configuration does not declare dns")
	a := t.Place()
	a.Conf = a.Conf.With("runtimeConfig.dns", map[string]any{"servers": []any{"192.0.2.53"}, "searches": []any{"example.org"}, "options": []any{"ndots:2"}})
	a.MustAdd()
	got := a.Result.DNS
	ok := got != nil && slices.Equal(got.Nameservers, []string{"192.0.2.53"}) && slices.Equal(got.Search, []string{"example.org"}) && slices.Equal(got.Options, []string{"ndots:2"})
	t.Expect(ok, "dns of the result is what was asked for", "%s", a.Result.Bytes)
}

// accepts wants ADD to succeed with each form of a capability's value.
func accepts(t *trial.T, capability string, values ...any) {
	for _, value := range values {
		a := t.Place()
		a.Conf = a.Conf.With("runtimeConfig."+capability, value)
		reply := a.Add()
		t.Expect(reply.OK(), "ADD succeeds with "+capability+" "+mustText(value), "%s", reply.Summary())
	}
}

func podAnnotations(t *trial.T) {
	a := t.Place()
	runtime, _ := a.Conf.Clone().Get("runtimeConfig").(map[string]any)
	if runtime == nil {
		runtime = map[string]any{}
	}
	runtime["io.kubernetes.cri.pod-annotations"] = map[string]any{"kubernetes.io/name": "web"}
	a.Conf = a.Conf.With("runtimeConfig", runtime)
	reply := a.Add()
	t.Expect(reply.OK(), "ADD succeeds with pod annotations", "%s", reply.Summary())
}

func argsInConf(t *trial.T) {
	p := needIPs(t)[0]
	want := nth(p, 110)
	a := t.Place()
	a.Conf = a.Conf.With("args.cni.ips", []any{want.String()}).With("args.cni.labels", []any{map[string]any{"key": "app", "value": "web"}})
	reply := a.Add()
	t.Require(a.Result != nil, "ADD succeeds with args.cni.ips and labels", "%s", reply.Summary())
	got, _ := address(a, p.Addr().Is6())
	t.Expect(got == want, want.String()+" is in the result", "%s", a.Result.Bytes)
}

func argsHonoured(t *trial.T) {
	tried := false
	if t.Subject.Kind&trial.IPAM != 0 && len(trial.Subnets(t.Subject.Conf)) > 0 {
		tried = true
		p := needIPs(t)[0]
		a := t.Place()
		a.Args = "IgnoreUnknown=1;IP=" + nth(p, 120).String()
		reply := a.Add()
		if t.Expect(a.Result != nil, "ADD succeeds with "+a.Args, "%s", reply.Summary()) {
			got, _ := address(a, p.Addr().Is6())
			t.Expect(got == nth(p, 120), "IP of CNI_ARGS is in the result", "%s", a.Result.Bytes)
		}
	}
	if t.Subject.Kind&trial.IPAM == 0 && t.Subject.Declares("mac") {
		tried = true
		macFromArgs(t)
	}
	t.Need(tried, "the plugin takes neither addresses nor a MAC")
}

func macFromArgs(t *trial.T) {
	const weak = "02:c0:4f:0f:0f:02"
	for want, conf := range map[string]any{weak: nil, otherMAC().String(): otherMAC().String()} {
		a := t.Place()
		a.Args = "IgnoreUnknown=1;MAC=" + weak
		if conf != nil {
			a.Conf = a.Conf.With("runtimeConfig.mac", conf)
		}
		reply := a.Add()
		if t.Expect(a.Result != nil, "ADD succeeds with "+a.Args, "%s", reply.Summary()) {
			got := link(a).Attrs().HardwareAddr.String()
			t.Expect(got == want, "the interface has "+want+" (CNI_ARGS "+weak+", runtimeConfig "+mustText(conf)+")", "%s", got)
		}
	}
}
