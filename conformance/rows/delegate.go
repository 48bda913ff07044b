package rows

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var delegateRows = []trial.Row{
	{
		ID: "C156", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "The delegate is searched in CNI_PATH order; the first regular file wins; no match is an error naming type and path.",
		Judged:    "A directory of that name first, then the delegate twice; then a type that does not exist.",
		Check:     delegateSearched,
	},
	{
		ID: "C157", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "The delegate gets the complete request and the same environment except CNI_COMMAND.",
		Judged:    "What the delegate recorded against what was sent, with unknown keys and variables in both.",
		Check:     delegateSeesAll,
	},
	{
		ID: "C158", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "The delegate's stderr reaches the plugin's stderr.",
		Judged:    "The delegate writes a line there.",
		Check:     delegateStderr,
	},
	{
		ID: "C159", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "DEL, CHECK, GC and STATUS are delegated too; the delegate's errors surface.",
		Judged:    "Each operation is seen by the delegate, and fails when the delegate's does.",
		Check:     delegateEveryVerb,
	},
	{
		ID: "C160", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "A delegate's result in any supported version, or without `cniVersion`, is accepted.",
		Judged:    "The delegate answers in each listed version from 0.3.0, and without one.",
		Check:     delegateVersions,
	},
	{
		ID: "C161", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 5, Delegated plugins (IPAM)",
		Statement: "A delegate that returns no addresses is an error for a configuration that wants them.",
		Judged:    "The delegate answers with an empty result.",
		Check:     delegateEmpty,
	},
}

func delegateSearched(t *trial.T) {
	t.Must(t.Host.MakeDir(lab.StateDir + "/a/" + double.Name))
	second, err := t.Host.Link(lab.StateDir+"/b", lab.DoubleDir+"/"+double.Name)
	t.Must(err)
	third, err := t.Host.Link(lab.StateDir+"/c", lab.DoubleDir+"/"+double.Name)
	t.Must(err)
	path := strings.Join([]string{lab.StateDir + "/a", lab.StateDir + "/b", lab.StateDir + "/c"}, ":")

	a := t.Place()
	a.Delegated(trial.Addresses())
	reply := t.Call(a.Request(protocol.Add).With(protocol.EnvPath, path))
	t.Expect(reply.OK(), "ADD succeeds", "%s", reply.Summary())
	for _, call := range t.Calls() {
		t.Expect(call.Path == second, "the first regular file in CNI_PATH is executed: "+second, "%s (the other one is %s)", call.Path, third)
	}
	b := t.Place()
	b.Conf = b.Conf.With("ipam", map[string]any{"type": "conformance-missing"})
	f := t.Refused(b.Request(protocol.Add).With(protocol.EnvPath, path), "the delegate does not exist")
	if f != nil {
		for _, part := range []string{"conformance-missing", lab.StateDir + "/a"} {
			t.Expect(strings.Contains(f.Text(), part), "the error names "+part, "%s", f.Text())
		}
	}
}

func delegateSeesAll(t *trial.T) {
	a := t.Place()
	a.Delegated(trial.Addresses())
	a.Conf = a.Conf.With("conformanceUnknown", map[string]any{"deep": []any{1, "x"}}).With("ipam.conformanceUnknown", true)
	a.Args = "IgnoreUnknown=1;CONFORMANCE=x"
	r := a.Request(protocol.Add).With("CONFORMANCE_VARIABLE", "kept")
	t.Succeed(r)
	calls := t.Calls()
	t.Require(len(calls) > 0, "the delegate is called", "it was not")
	got := calls[0]
	t.Expect(got.Verb == protocol.Add, "CNI_COMMAND is ADD", "%s", got.Verb)
	want := r.Environ()
	for _, kv := range want {
		t.Expect(slices.Contains(got.Env, kv), "the delegate's environment has "+kv, "%v", got.Env)
	}
	t.Expect(reflect.DeepEqual(mustConf(r.Stdin), mustConf(got.Stdin)), "the delegate's request is the plugin's: "+string(r.Stdin), "%s", got.Stdin)
}

func delegateStderr(t *trial.T) {
	a := t.Place()
	a.Delegated(trial.Addresses())
	answer := trial.Answers(trial.Addresses(), a.Version())
	answer.Stderr = "a word from the delegate\n"
	t.Script(double.Script{protocol.Add: answer})
	reply := a.Add()
	t.Expect(contains(string(reply.Stderr), "a word from the delegate"), "the delegate's stderr is in the plugin's", "%q", reply.Stderr)
}

func delegateEveryVerb(t *trial.T) {
	a := t.At(t.Subject.Latest())
	a.Delegated(trial.Addresses())
	a.MustAdd()
	verbs := []string{protocol.Check, protocol.Status, protocol.GC, protocol.Del}
	if protocol.Before(a.Version(), "1.1.0") {
		verbs = []string{protocol.Check, protocol.Del}
	}
	for _, verb := range verbs {
		r := a.Request(verb)
		if verb == protocol.GC {
			r = gcKeeping(a)
		}
		t.Script(double.Script{verb: trial.Refuses(999, "the delegate says no to "+verb)})
		reply := t.Call(r)
		t.Expect(called(t, verb), verb+" is delegated", "the delegate saw %v", double.Verbs(t.Calls()))
		t.Expect(!reply.OK() && contains(string(reply.Stdout), "says no to "+verb), "the delegate's error of "+verb+" surfaces", "%s", reply.Summary())
	}
}

func delegateVersions(t *trial.T) {
	answers := map[string]string{}
	for _, v := range protocol.Versions()[2:] {
		if t.Subject.Supports(v) {
			answers["in "+v] = string(trial.Addresses().Encode(v))
		}
	}
	bare := mustConf(trial.Addresses().Encode("1.0.0")).Without("cniVersion")
	answers["without cniVersion"] = string(bare.JSON())
	for what, answer := range answers {
		a := t.Place()
		a.Delegated(trial.Addresses())
		t.Script(double.Script{protocol.Add: {Stdout: answer}})
		reply := a.Add()
		if t.Expect(a.Result != nil, "a delegate's result "+what+" is accepted", "%s", reply.Summary()) {
			t.Expect(len(a.Result.IPs) == 2, fmt.Sprintf("both addresses of a delegate's result %s are used", what), "%s", a.Result.Bytes)
		}
		t.Must(a.Container.Kill()) // the next one has the same addresses
	}
}

func delegateEmpty(t *trial.T) {
	a := t.Place()
	a.Delegated(&protocol.Result{})
	t.Refused(a.Request(protocol.Add), "the delegate returned no address")
}
