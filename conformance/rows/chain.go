package rows

import (
	"reflect"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var chainRows = []trial.Row{
	{
		ID: "C151", Level: trial.Must, Profile: trial.Spec, Scope: trial.Chained, Section: "SPEC 4, ADD (prevResult)",
		Statement: "A chained plugin that changes nothing answers with what it was given.",
		Judged:    "ADD with nothing to do: the result equals prevResult once empty values are dropped.",
		Check:     passesThrough,
	},
	{
		ID: "C152", Level: trial.Must, Profile: trial.Spec, Scope: trial.Chained, Section: "SPEC 4, ADD (prevResult)",
		Statement: "Changes are reflected (new MAC, new MTU) and everything else is preserved.",
		Judged:    "MAC and MTU of the result against the kernel; addresses, routes, dns and the other interfaces against prevResult.",
		Check:     changesReflected,
	},
	{
		ID: "C153", Level: trial.Must, Profile: trial.Spec, Scope: trial.Chained, Section: "SPEC 4, ADD (prevResult)",
		Statement: "ADD without `prevResult` is answered with an error document.",
		Judged:    "ADD of a chained plugin alone, with its configuration and with nothing to do.",
		Check:     chainedAlone,
	},
	{
		ID: "C154", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, ADD (prevResult)",
		Statement: "An interface plugin given `prevResult` passes it through or extends it.",
		Judged:    "ADD behind a result that lists lo and its address: both are still in the result.",
		Check:     extendsPrev,
	},
	{
		ID: "C155", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "CONVENTIONS, attaching existing links",
		Statement: "A plugin that does not care about the type of interface also attaches an existing host-side link found in `prevResult`.",
		Judged:    "For a bridge plugin: ADD behind a result that lists a host-side link puts it into the bridge.",
		Check:     attachesExisting,
	},
}

func passesThrough(t *trial.T) {
	a := t.Place()
	a.Conf = a.Conf.Without(append(ownKeys(a.Conf), "runtimeConfig")...)
	reply := a.Add()
	t.Need(a.Result != nil, "ADD fails without the plugin's own keys: %s", reply.Summary())
	want := filled(map[string]any(mustConf(a.Prev.Encode(a.Version()))))
	got := filled(a.Result.Raw)
	t.Expect(reflect.DeepEqual(want, got), "the result equals prevResult: "+mustText(want), "%s", mustText(got))
}

// filled is a document without empty values, for which absent, null and empty
// are the same.
func filled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, child := range v {
			if f := filled(child); f != nil {
				out[key] = f
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		var out []any
		for _, child := range v {
			out = append(out, filled(child))
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

func changesReflected(t *trial.T) {
	a := t.Place()
	if t.Subject.Declares("mac") {
		a.Conf = a.Conf.With("runtimeConfig.mac", otherMAC().String())
	}
	a.MustAdd()
	l, prev := link(a), inside(a.Prev, a)
	changed := l.Attrs().HardwareAddr.String() != prev.Mac || l.Attrs().MTU != prev.MTU
	now := inside(a.Result, a)
	t.Expect(now.Mac == l.Attrs().HardwareAddr.String(), "mac "+l.Attrs().HardwareAddr.String()+" in the result", "%q", now.Mac)
	if !protocol.Before(a.Version(), "1.1.0") {
		t.Expect(now.MTU == l.Attrs().MTU, "mtu "+mustText(l.Attrs().MTU)+" in the result", "%d", now.MTU)
	}
	for _, key := range []string{"ips", "routes", "dns"} {
		want, got := filled(mustConf(a.Prev.Encode(a.Version()))[key]), filled(a.Result.Raw[key])
		t.Expect(reflect.DeepEqual(want, got), key+" as in prevResult: "+mustText(want), "%s", mustText(got))
	}
	for _, i := range a.Prev.Interfaces {
		kept := slices.ContainsFunc(a.Result.Interfaces, func(j protocol.Interface) bool { return i.Name == j.Name && i.Sandbox == j.Sandbox })
		t.Expect(kept, "interface "+i.Name+" is still listed", "%v", a.Result.Interfaces)
	}
	t.Need(t.Failed() || changed, "the plugin changes neither MAC nor MTU")
}

// inside is a result's entry for the attachment's interface.
func inside(res *protocol.Result, a *trial.Attachment) protocol.Interface {
	for _, i := range res.Interfaces {
		if i.Name == a.IfName && i.Sandbox == a.Netns {
			return i
		}
	}
	return protocol.Interface{}
}

func chainedAlone(t *trial.T) {
	a := t.Place()
	r := a.Request(protocol.Add)
	conf := mustConf(r.Stdin).Without("prevResult")
	t.Refused(r.Sending(conf.JSON()), "prevResult is missing")
	idle := conf.Without(append(ownKeys(conf), "runtimeConfig")...)
	t.Refused(r.Sending(idle.JSON()), "prevResult is missing and there is nothing to do")
}

func extendsPrev(t *trial.T) {
	a := t.Place()
	zero := 0
	a.Prev = &protocol.Result{
		Interfaces: []protocol.Interface{{Name: "lo", Mac: "00:00:00:00:00:00", Sandbox: a.Netns}},
		IPs:        []protocol.IP{{Address: "127.0.0.1/8", Interface: &zero}},
	}
	t.Need(!protocol.Before(a.Version(), "0.3.0"), "results have interfaces from 0.3.0 on")
	a.MustAdd()
	has := func(name string) bool {
		return slices.ContainsFunc(a.Result.Interfaces, func(i protocol.Interface) bool { return i.Name == name && i.Sandbox == a.Netns })
	}
	t.Expect(has(a.IfName), a.IfName+" is in the result", "%s", a.Result.Bytes)
	t.Expect(has("lo"), "lo of prevResult is in the result", "%s", a.Result.Bytes)
	kept := slices.ContainsFunc(a.Result.IPs, func(ip protocol.IP) bool { return ip.Address == "127.0.0.1/8" })
	t.Expect(kept, "127.0.0.1/8 of prevResult is in the result", "%s", a.Result.Bytes)
	for _, ip := range a.Result.IPs {
		if ip.Interface != nil && *ip.Interface < len(a.Result.Interfaces) {
			name := a.Result.Interfaces[*ip.Interface].Name
			t.Expect(strings.HasPrefix(ip.Address, "127.") == (name == "lo"), "indices still point at the right interface: "+ip.Address, "%s", name)
		}
	}
}

func attachesExisting(t *trial.T) {
	probe := t.Attach()
	_, bridge := bridged(t, probe)
	t.Must(t.Host.Cable("ext0", "ext1"))
	ext, err := t.Host.NL.LinkByName("ext0")
	t.Must(err)
	a := t.Place()
	a.Prev = &protocol.Result{Interfaces: []protocol.Interface{{Name: "ext0", Mac: ext.Attrs().HardwareAddr.String()}}}
	a.MustAdd()
	ext, err = t.Host.NL.LinkByName("ext0")
	t.Must(err)
	t.Expect(ext.Attrs().MasterIndex == bridge.Attrs().Index, "ext0 of prevResult is in "+bridge.Attrs().Name, "master index %d", ext.Attrs().MasterIndex)
}
