package rows

import (
	"net/netip"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var shapeRows = []trial.Row{
	{
		ID: "C141", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.IPAM, Section: "spec-v0.2.0, Result",
		Statement: "0.1.0 and 0.2.0: `ip4` and/or `ip6` with `ip`, `gateway`, `routes`; one address per family; routes attached to their family.",
		Judged:    "ADD in both versions against that shape.",
		Check:     func(t *trial.T) { shapes(t, "0.1.0", "0.2.0") },
	},
	{
		ID: "C142", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "spec-v0.2.0, Result",
		Statement: "0.1.0 and 0.2.0: no address at all is an error, because the old shape cannot say so.",
		Judged:    "The delegate answers without addresses; ADD in both versions fails.",
		Check:     noAddressOld,
	},
	{
		ID: "C143", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.IPAM | trial.Other, Section: "spec-v0.3.x and v0.4.0, Result",
		Statement: "0.3.0 to 0.4.0: entries of `ips` carry `version` \"4\" or \"6\".",
		Judged:    "ADD in the three versions against that shape.",
		Check:     func(t *trial.T) { shapes(t, "0.3.0", "0.3.1", "0.4.0") },
	},
	{
		ID: "C144", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.IPAM | trial.Other, Section: "SPEC 5, Success (ips)",
		Statement: "From 1.0.0: entries of `ips` have no `version`.",
		Judged:    "ADD in 1.0.0 and 1.1.0 against that shape.",
		Check:     func(t *trial.T) { shapes(t, "1.0.0", "1.1.0") },
	},
	{
		ID: "C145", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface | trial.Chained, Section: "SPEC 5, Success (interfaces)",
		Statement: "Below 1.1.0 `mtu`, `socketPath` and `pciID` are not emitted.",
		Judged:    "ADD in each version with interfaces below 1.1.0.",
		Check:     noNewFields,
	},
	{
		ID: "C146", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.IPAM, Section: "SPEC 5, Success (ips, routes)",
		Statement: "`address` keeps host bits, `gateway` is a bare address, `dst` is a network.",
		Judged:    "The result of ADD, each field parsed.",
		Check:     addressForms,
	},
	{
		ID: "C147", Level: trial.Must, Profile: trial.Spec, Scope: trial.IPAM, Section: "SPEC 5, Delegated plugins (IPAM)",
		Statement: "An IPAM result has no `interfaces` and no `ips[].interface`.",
		Judged:    "ADD in each version from 0.3.0.",
		Check:     ipamWithoutInterfaces,
	},
	{
		ID: "C148", Level: trial.Must, Profile: trial.Spec, Scope: trial.IPAM, Section: "spec-v0.2.0, Result",
		Statement: "More than one address per family is refused below 0.3.0.",
		Judged:    "ADD in 0.2.0 with two IPv4 range sets.",
		Check:     twoPerFamilyOld,
	},
	{
		ID: "C149", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Success (dns)",
		Statement: "`dns` uses only nameservers, domain, search and options.",
		Judged:    "ADD with all four in the configuration.",
		Check:     dnsKeys,
	},
	{
		ID: "C150", Level: trial.Should, Profile: trial.Spec, Scope: trial.Chained, Section: "spec-v0.3.x and v0.4.0, Result",
		Statement: "Consumers accept `interface` missing or −1 in older results.",
		Judged:    "ADD in each of these versions behind a result without the index, and with −1.",
		Check:     oldIndices,
	},
}

// shapes wants the result of each version the plugin lists in its form.
func shapes(t *trial.T, versions ...string) {
	tried := false
	for _, v := range versions {
		if !t.Subject.Supports(v) {
			continue
		}
		tried = true
		a := t.Place()
		a.Conf = a.Conf.With("cniVersion", v)
		reply := a.Add()
		obj, err := reply.Object()
		if !reply.OK() || err != nil {
			t.Block("ADD in %s, which this row builds on, failed: %s", v, reply.Summary())
		}
		for _, fault := range protocol.Shape(v, obj) {
			t.Expect(false, "the shape of "+v, "%s; %s", fault, reply.Summary())
		}
	}
	t.Need(tried, "the plugin lists none of %v", versions)
}

func noAddressOld(t *trial.T) {
	for _, v := range []string{"0.1.0", "0.2.0"} {
		t.Need(t.Subject.Supports(v), "the plugin does not list %s", v)
		a := t.At(v)
		a.Conf = a.Conf.Without("isGateway", "isDefaultGateway", "ipMasq")
		a.Delegated(&protocol.Result{})
		t.Refused(a.Request(protocol.Add), "no address in "+v)
	}
}

func noNewFields(t *trial.T) {
	tried := false
	for _, v := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0"} {
		if !t.Subject.Supports(v) {
			continue
		}
		tried = true
		a := t.At(v)
		a.MustAdd()
		links, _ := a.Result.Raw["interfaces"].([]any)
		for _, l := range links {
			entry, _ := l.(map[string]any)
			for _, key := range []string{"mtu", "socketPath", "pciID"} {
				_, present := entry[key]
				t.Expect(!present, key+" is not emitted in "+v, "%s", mustText(entry))
			}
		}
	}
	t.Need(tried, "the plugin lists no version with interfaces below 1.1.0")
}

func addressForms(t *trial.T) {
	a := t.Attach()
	for _, fault := range protocol.Shape(a.Version(), a.Result.Raw) {
		t.Expect(false, "addresses, gateways and destinations in their form", "%s", fault)
	}
	for _, ip := range a.Result.IPs {
		if gw, err := netip.ParseAddr(ip.Gateway); err == nil {
			own, _ := netip.ParsePrefix(ip.Address)
			t.Expect(gw != own.Addr(), "the gateway of "+ip.Address+" is another address", "%s", gw)
		}
	}
}

func ipamWithoutInterfaces(t *trial.T) {
	for _, v := range protocol.Versions()[2:] {
		if !t.Subject.Supports(v) {
			continue
		}
		a := t.At(v)
		a.MustAdd()
		_, present := a.Result.Raw["interfaces"]
		t.Expect(!present, "no interfaces in "+v, "%s", a.Result.Bytes)
		for _, ip := range a.Result.IPs {
			t.Expect(ip.Interface == nil, "no interface index in "+v, "%s", a.Result.Bytes)
		}
	}
}

func twoPerFamilyOld(t *trial.T) {
	a := t.At("0.2.0")
	t.Need(len(trial.Subnets(a.Conf)) > 0, "the ranges cannot be set: ipam has neither subnet nor ranges")
	a.Conf = a.Conf.Without("ipam.subnet").With("ipam.ranges", []any{
		[]any{map[string]any{"subnet": "10.97.0.0/24"}},
		[]any{map[string]any{"subnet": "10.98.0.0/24"}},
	})
	t.Refused(a.Request(protocol.Add), "two IPv4 addresses in 0.2.0")
}

func dnsKeys(t *trial.T) {
	a := t.Place()
	a.Conf = a.Conf.With("dns", map[string]any{
		"nameservers": []any{lab.OutsideV4.Addr().String()}, "domain": "example.org", "search": []any{"example.org"}, "options": []any{"ndots:2"},
	})
	a.MustAdd()
	for _, fault := range protocol.Shape(a.Version(), map[string]any{"cniVersion": a.Version(), "dns": a.Result.Raw["dns"], "ip4": nil}) {
		if contains(fault, "dns") {
			t.Expect(false, "only the four keys of dns", "%s", fault)
		}
	}
}

func oldIndices(t *trial.T) {
	tried := false
	for _, v := range []string{"0.3.0", "0.3.1", "0.4.0"} {
		if !t.Subject.Supports(v) {
			continue
		}
		for _, index := range []any{nil, -1} {
			tried = true
			a := t.At(v)
			r := a.Request(protocol.Add)
			conf := mustConf(r.Stdin)
			ips, _ := conf.Get("prevResult.ips").([]any)
			for _, entry := range ips {
				ip, _ := entry.(map[string]any)
				delete(ip, "interface")
				if index != nil {
					ip["interface"] = index
				}
			}
			reply := t.Call(r.Sending(conf.JSON()))
			t.Expect(reply.OK(), "ADD in "+v+" accepts a prevResult with interface "+mustText(index), "%s", reply.Summary())
		}
	}
	t.Need(tried, "the plugin lists no version from 0.3.0 to 0.4.0")
}
