package rows

import (
	"slices"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var versionRows = []trial.Row{
	{
		ID: "C044", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, VERSION",
		Statement: "VERSION prints an object with `cniVersion` and a non-empty `supportedVersions` array.",
		Judged:    "One call.",
		Check:     versionShape,
	},
	{
		ID: "C045", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Version success",
		Statement: "The `cniVersion` VERSION returns repeats the one supplied on stdin.",
		Judged:    "VERSION asked with each released version.",
		Check:     versionRepeats,
	},
	{
		ID: "C046", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, VERSION",
		Statement: "VERSION succeeds with empty, `{}` or junk stdin.",
		Judged:    "Three calls.",
		Check:     versionAnyStdin,
	},
	{
		ID: "C047", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, VERSION; 5, Error code 1",
		Statement: "`supportedVersions` equals the set of versions for which ADD is accepted.",
		Judged:    "ADD with each version from 0.1.0 to 1.1.0 and some between: accepted exactly when listed.",
		Check:     versionsAccepted,
	},
	{
		ID: "C048", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "drop-in minimum",
		Statement: "0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are supported (bandwidth from 0.3.0, firewall from 0.4.0).",
		Judged:    "The list VERSION gives.",
		Check:     versionMinimum,
	},
	{
		ID: "C049", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, CHECK",
		Statement: "CHECK with a configuration below 0.4.0 gives code 1.",
		Judged:    "CHECK with each older version the plugin lists.",
		Check:     func(t *trial.T) { tooOld(t, "0.4.0", protocol.Check) },
	},
	{
		ID: "C050", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, GC and STATUS",
		Statement: "GC or STATUS with a configuration below 1.1.0 gives code 1.",
		Judged:    "Both with each older version the plugin lists.",
		Check:     func(t *trial.T) { tooOld(t, "1.1.0", protocol.GC, protocol.Status) },
	},
	{
		ID: "C051", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Success; spec-v0.x tags",
		Statement: "For every supported version the ADD result carries that `cniVersion` and its shape.",
		Judged:    "ADD in each listed version; the document against the shape of that version.",
		Check:     everyVersionsShape,
	},
	{
		ID: "C052", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error code 1",
		Statement: "A future minor (1.2.0) and a nonsense version both give code 1, not a crash.",
		Judged:    "ADD with 1.2.0, `banana`, `1`, `-1.0.0`.",
		Check:     nonsenseVersions,
	},
}

func askVersion(t *trial.T, stdin []byte) *protocol.Reply {
	return t.Call(t.Request(t.Subject, protocol.Version, protocol.Conf{}).Sending(stdin))
}

func versionShape(t *trial.T) {
	reply := askVersion(t, []byte(`{"cniVersion":"1.0.0"}`))
	t.Require(reply.OK(), "VERSION succeeds", "%s", reply.Summary())
	_, err := reply.Versions()
	t.Expect(err == nil, "cniVersion and supportedVersions", "%v", err)
}

func versionRepeats(t *trial.T) {
	for _, v := range protocol.Versions() {
		reply := askVersion(t, protocol.Conf{"cniVersion": v}.JSON())
		answer, err := reply.Versions()
		if t.Expect(err == nil, "an answer to VERSION of "+v, "%v; %s", err, reply.Summary()) {
			t.Expect(answer.CNIVersion == v, "cniVersion "+v, "%s", answer.CNIVersion)
		}
	}
}

func versionAnyStdin(t *trial.T) {
	for _, stdin := range []string{"", "{}", "junk"} {
		reply := askVersion(t, []byte(stdin))
		_, err := reply.Versions()
		t.Expect(reply.OK() && err == nil, "VERSION succeeds with stdin "+mustText(stdin), "%v; %s", err, reply.Summary())
	}
}

func versionsAccepted(t *trial.T) {
	between := []string{"0.0.1", "0.1.1", "0.3.2", "0.5.0", "1.0.1", "1.1.1"}
	for _, v := range append(protocol.Versions(), between...) {
		a := t.Place()
		a.Conf = a.Conf.With("cniVersion", v)
		reply := a.Add()
		if t.Subject.Supports(v) {
			t.Expect(reply.OK(), "ADD accepts "+v+", which VERSION lists", "%s", reply.Summary())
		} else {
			t.Expect(!reply.OK(), "ADD refuses "+v+", which VERSION does not list", "%s", reply.Summary())
		}
	}
}

func versionMinimum(t *trial.T) {
	want := protocol.Versions()
	switch t.Subject.Type {
	case "bandwidth":
		want = want[slices.Index(want, "0.3.0"):]
	case "firewall":
		want = want[slices.Index(want, "0.4.0"):]
	}
	for _, v := range want {
		t.Expect(t.Subject.Supports(v), v+" is supported", "%v", t.Subject.Versions)
	}
}

// tooOld wants operations refused in the versions that did not have them.
func tooOld(t *trial.T, since string, verbs ...string) {
	tried := false
	for _, v := range protocol.Versions() {
		if !protocol.Before(v, since) || !t.Subject.Supports(v) {
			continue
		}
		tried = true
		a := t.Place()
		a.Conf = a.Conf.With("cniVersion", v)
		if !a.Add().OK() {
			continue // C047 speaks about that
		}
		for _, verb := range verbs {
			t.Code(a.Request(verb), verb+" in "+v, protocol.CodeVersion)
		}
	}
	t.Need(tried, "the plugin lists no version below %s", since)
}

func everyVersionsShape(t *trial.T) {
	for _, v := range t.Subject.Versions {
		a := t.Place()
		a.Conf = a.Conf.With("cniVersion", v)
		reply := a.Add()
		if !reply.OK() {
			continue // C047 speaks about that
		}
		obj, err := reply.Object()
		if !t.Expect(err == nil, "a result in "+v, "%v", err) {
			continue
		}
		for _, fault := range protocol.Shape(v, obj) {
			t.Expect(false, "the shape of "+v, "%s; %s", fault, reply.Summary())
		}
	}
}

func nonsenseVersions(t *trial.T) {
	a := t.Place()
	r := a.Request(protocol.Add)
	for _, v := range []string{"1.2.0", "banana", "1", "-1.0.0"} {
		if !t.Subject.Supports(v) {
			t.Code(r.Sending(mustConf(r.Stdin).With("cniVersion", v).JSON()), "cniVersion "+v, protocol.CodeVersion)
		}
	}
}
