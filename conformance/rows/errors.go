package rows

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var errorRows = []trial.Row{
	{
		ID: "C135", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error",
		Statement: "`code` is a number, `msg` is not empty, `details` is an optional string.",
		Judged:    "The documents of ten requests that must be refused.",
		Check:     errorFields,
	},
	{
		ID: "C136", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error",
		Statement: "An error carries `cniVersion`, equal to the request's.",
		Judged:    "As C135, where the request has a version the plugin knows.",
		Check:     errorVersion,
	},
	{
		ID: "C137", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error codes",
		Statement: "Reserved codes are used as defined: 1 version, 4 environment, 6 decode, 7 invalid configuration; others from 100.",
		Judged:    "Requests whose fault has a reserved code: that code. Wrong values of the plugin's own keys: 6 or 7.",
		Check:     reservedCodes,
	},
	{
		ID: "C138", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error codes 2 and 4",
		Statement: "Code 2 messages contain key and value; code 4 messages contain variable names.",
		Judged:    "Every code 4 the refusals bring names its variable; a code 2, if any, its key.",
		Check:     messagesName,
	},
	{
		ID: "C139", Level: trial.Should, Profile: trial.Netctl, Scope: trial.IPAM, Section: "stricter than SPEC 5, Error codes",
		Statement: "Exhaustion, duplicate request, out-of-range request and a corrupt store have distinct stable codes from 100.",
		Judged:    "The first three brought about: codes from 100 to 998, all different.",
		Check:     ipamCodes,
	},
	{
		ID: "C140", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 5",
		Statement: "Output ends with a newline and is valid UTF-8.",
		Judged:    "ADD, VERSION and an error.",
		Check:     tidyOutput,
	},
}

func errorFields(t *trial.T) {
	for _, bad := range refusals(t.Place()) {
		t.Refused(bad.request, bad.why)
	}
}

func errorVersion(t *trial.T) {
	a := t.Place()
	for _, bad := range refusals(a) {
		conf, err := protocol.ParseConf(bad.request.Stdin)
		if err != nil || !t.Subject.Supports(conf.String("cniVersion")) {
			continue
		}
		f := t.Refused(bad.request, bad.why)
		if f != nil {
			t.Expect(f.CNIVersion == a.Version(), "cniVersion "+a.Version()+" in the error: "+bad.why, "%q", f.CNIVersion)
		}
	}
}

func reservedCodes(t *trial.T) {
	a := t.Place()
	for _, bad := range refusals(a) {
		t.Code(bad.request, bad.why, bad.codes...)
	}
	for _, key := range ownKeys(a.Conf) {
		for _, wrong := range wrongValues(a.Conf.Get(key)) {
			b := *a
			b.Conf = a.Conf.With(key, wrong)
			reply := t.Call(b.Request(protocol.Add))
			if reply.OK() {
				t.Call(b.Request(protocol.Del))
				continue
			}
			f, err := reply.Failure()
			if err == nil { // C003 speaks about the others
				t.Expect(f.Code == protocol.CodeDecode || f.Code == protocol.CodeConfig, fmt.Sprintf("code 6 or 7: %s is %s", key, mustText(wrong)), "code %d: %s", f.Code, f.Text())
			}
		}
	}
}

func messagesName(t *trial.T) {
	a := t.Place()
	for _, name := range attachmentVariables() {
		f := t.Refused(a.Request(protocol.Add).Without(name), name+" is unset")
		if f != nil && f.Code == protocol.CodeEnvironment {
			t.Expect(strings.Contains(f.Text(), name), "a code 4 names "+name, "%s", f.Text())
		}
	}
	a.Conf = a.Conf.With("conformanceUnsupported", "some-value")
	reply := a.Add()
	if f, err := reply.Failure(); err == nil && f.Code == protocol.CodeUnsupported {
		for _, part := range []string{"conformanceUnsupported", "some-value"} {
			t.Expect(strings.Contains(f.Text(), part), "a code 2 names key and value", "%s", f.Text())
		}
	}
}

func ipamCodes(t *trial.T) {
	codes := map[string]int{}
	keep := func(what string, r protocol.Request) {
		if f := t.Refused(r, what); f != nil {
			codes[what] = f.Code
			t.Expect(f.Code >= 100 && f.Code != 999, what+" has a code of its own from 100", "code %d: %s", f.Code, f.Text())
		}
	}
	full := t.Place()
	full.NeedPool(1)
	full.MustAdd()
	next := t.Place()
	next.PoolOf(1)
	keep("exhaustion", next.Request(protocol.Add))

	held := t.Attach()
	same := t.Place()
	same.Conf = same.Conf.With("runtimeConfig.ips", []any{resultAddresses(held)[0].String()})
	keep("a taken address", same.Request(protocol.Add))
	far := t.Place()
	far.Conf = far.Conf.With("runtimeConfig.ips", []any{"172.31.255.7"})
	keep("an address out of range", far.Request(protocol.Add))

	var seen []int
	for what, code := range codes {
		t.Expect(!slices.Contains(seen, code), "distinct codes", "%s shares %d with another", what, code)
		seen = append(seen, code)
	}
}

func tidyOutput(t *trial.T) {
	a := t.Attach()
	for _, r := range []protocol.Request{
		t.Place().Request(protocol.Add),
		a.Request(protocol.Version),
		a.Request(protocol.Add).With(protocol.EnvCommand, "FROB"),
	} {
		reply := t.Call(r)
		out := reply.Stdout
		t.Expect(len(out) > 0 && out[len(out)-1] == '\n' && utf8.Valid(out), r.Verb()+" prints valid UTF-8 that ends with a newline", "%q", last(out, 40))
	}
}

// last is the end of some output.
func last(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
