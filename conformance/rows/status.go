package rows

import (
	"time"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var statusRows = []trial.Row{
	{
		ID: "C113", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, STATUS",
		Statement: "Ready: STATUS exits 0 in silence.",
		Judged:    "STATUS on an untouched host and after an ADD.",
		Check:     statusReady,
	},
	{
		ID: "C114", Level: trial.Must, Profile: trial.Spec, Scope: trial.IPAM | trial.Delegating, Section: "SPEC 4, STATUS; 5, Error code 50",
		Statement: "Pool exhausted: STATUS fails with code 50.",
		Judged:    "A pool of one address that is taken.",
		Check:     statusExhausted,
	},
	{
		ID: "C115", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, STATUS; 5, Error code 50",
		Statement: "A required daemon, tool, kernel feature or parent link is missing: STATUS fails with code 50.",
		Judged:    "Firewall tools missing, the uplink missing, IPAM plugin missing: whenever ADD fails there, STATUS must have said so.",
		Check:     statusTruthful,
	},
	{
		ID: "C116", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error code 51",
		Statement: "Existing attachments impaired (overlay peers lost, say): STATUS fails with code 51.",
		Never:     "what impairs attachments is different for every plugin and cannot be brought about from outside",
	},
	{
		ID: "C117", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "STATUS is delegated to IPAM and its failure passed on; a missing IPAM binary fails.",
		Judged:    "The delegate's STATUS succeeds, then fails; then its type does not exist.",
		Check:     statusDelegated,
	},
	{
		ID: "C118", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Alone: true, Section: "CRI-O polls every 500 ms",
		Statement: "STATUS is read-only and fast (under 50 ms).",
		Judged:    "The host before and after ten STATUS calls. The quickest of them takes less than 50 ms, or ten times what the mere start of a program takes where the machine is so busy that this takes over 5 ms.",
		Check:     statusCheap,
	},
	{
		ID: "C119", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, STATUS",
		Statement: "ADD and DEL behave the same whether or not STATUS was ever called or failed.",
		Judged:    "ADD and DEL after a STATUS that fails for a wrong configuration, and without any.",
		Check:     statusWithoutEffect,
	},
	{
		ID: "C120", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Chained, Section: "stricter than SPEC 4, STATUS",
		Statement: "STATUS of a plugin that filters packets verifies that the chosen backend works.",
		Judged:    "iptables and nft replaced by programs that fail: if ADD fails there, STATUS fails with code 50.",
		Check:     statusBackend,
	},
}

// status places an attachment for STATUS and GC, which came with 1.1.0.
func status(t *trial.T) *trial.Attachment { return t.At("1.1.0") }

func statusReady(t *trial.T) {
	a := status(t)
	for _, when := range []string{"on an untouched host", "after an ADD"} {
		reply := t.Call(a.Request(protocol.Status))
		t.Expect(reply.OK() && len(reply.Stdout) == 0, "STATUS succeeds in silence "+when, "%s", reply.Summary())
		if a.Result == nil {
			a.MustAdd()
		}
	}
}

func statusExhausted(t *trial.T) {
	a := status(t)
	a.NeedPool(1)
	a.MustAdd()
	t.Code(a.Request(protocol.Status), "the pool is exhausted", protocol.CodeUnavailable)
}

// handicap is something missing on the host.
type handicap struct {
	what  string
	spoil func(r protocol.Request) protocol.Request
}

func statusTruthful(t *trial.T) {
	a := status(t)
	tools, err := t.Host.OnlyTools()
	t.Must(err)
	handicaps := []handicap{{"no tool is in PATH", func(r protocol.Request) protocol.Request { return r.With("PATH", tools) }}}
	if t.Subject.Kind&trial.Delegating != 0 {
		handicaps = append(handicaps, handicap{"the IPAM plugin is missing", func(r protocol.Request) protocol.Request { return r.With(protocol.EnvPath, lab.StateDir) }})
	}
	if t.Subject.Kind&trial.Interface != 0 && t.Subject.Conf.String("master") != "" {
		handicaps = append(handicaps, handicap{"the parent link is missing", func(r protocol.Request) protocol.Request {
			t.Must(t.Host.Unplug())
			return r
		}})
	}
	tried := false
	for _, h := range handicaps {
		ready := t.Call(h.spoil(a.Request(protocol.Status)))
		b := t.Place()
		b.Conf = b.Conf.With("cniVersion", "1.1.0")
		if t.Call(h.spoil(b.Request(protocol.Add))).OK() {
			continue
		}
		tried = true
		f, err := ready.Failure()
		t.Expect(!ready.OK() && err == nil && f.Code == protocol.CodeUnavailable, "STATUS fails with code 50 where ADD fails: "+h.what, "%s", ready.Summary())
	}
	t.Need(tried, "ADD needs nothing that could be taken away")
}

func statusDelegated(t *trial.T) {
	a := status(t)
	a.Delegated(trial.Addresses())
	reply := t.Call(a.Request(protocol.Status))
	t.Expect(reply.OK() && called(t, protocol.Status), "STATUS succeeds and is delegated", "%s, delegate saw %v", reply.Summary(), double.Verbs(t.Calls()))
	t.Script(double.Script{protocol.Status: trial.Refuses(protocol.CodeUnavailable, "no addresses left")})
	t.Code(a.Request(protocol.Status), "the delegate's STATUS fails with code 50", protocol.CodeUnavailable)
	a.Conf = a.Conf.With("ipam.type", "conformance-missing")
	t.Refused(a.Request(protocol.Status), "the IPAM plugin does not exist")
}

func statusCheap(t *trial.T) {
	a := status(t)
	before := t.HostState()
	quickest, control := time.Hour, time.Hour
	for range 10 {
		control = min(control, t.Host.Startup())
		reply := t.Call(a.Request(protocol.Status))
		quickest = min(quickest, reply.Took)
	}
	t.Unchanged(before, "STATUS")
	limit := lab.Stretched(50*time.Millisecond, control)
	t.Expect(quickest < limit, "STATUS takes less than "+rounded(limit), "%s, the start of a program that does nothing %s", rounded(quickest), rounded(control))
}

func statusWithoutEffect(t *trial.T) {
	plain := t.Attach()
	a := t.At("1.1.0")
	bad := a.Request(protocol.Status)
	t.Call(bad.Sending([]byte("junk")))
	t.Call(bad)
	reply := a.Add()
	if !t.Expect(a.Result != nil, "ADD succeeds after STATUS", "%s", reply.Summary()) {
		return
	}
	t.Expect(outline(plain.Result) == outline(a.Result), "the result is like one without STATUS: "+outline(plain.Result), "%s", outline(a.Result))
	del := a.Del()
	t.Expect(del.OK(), "DEL succeeds after STATUS", "%s", del.Summary())
}

func statusBackend(t *trial.T) {
	a := status(t)
	dir, err := t.Host.BrokenTools("iptables", "ip6tables", "iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore", "nft", "firewall-cmd")
	t.Must(err)
	broken := func(r protocol.Request) protocol.Request { return r.With("PATH", dir) }
	b := t.Place()
	b.Conf = b.Conf.With("cniVersion", "1.1.0")
	t.Need(!t.Call(broken(b.Request(protocol.Add))).OK(), "ADD works without any firewall tool")
	t.Code(broken(a.Request(protocol.Status)), "the packet filter's tools do not work", protocol.CodeUnavailable)
}
