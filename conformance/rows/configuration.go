package rows

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var configurationRows = []trial.Row{
	{
		ID: "C031", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error code 6",
		Statement: "Non-JSON stdin gives code 6.",
		Judged:    "ADD with text, with a cut-off object and with a JSON array.",
		Check:     notJSON,
	},
	{
		ID: "C032", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 1, Configuration format (name)",
		Statement: "A missing or empty `name` gives code 7.",
		Judged:    "ADD with both.",
		Check:     noName,
	},
	{
		ID: "C033", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 1, Configuration format (cniVersion)",
		Statement: "A missing or empty `cniVersion` is treated as 0.1.0.",
		Judged:    "ADD without it answers in the shape of 0.1.0 if VERSION lists 0.1.0, else with code 1.",
		Check:     noVersion,
	},
	{
		ID: "C034", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error code 1",
		Statement: "A `cniVersion` the plugin does not list gives code 1; the text shows requested and supported versions.",
		Judged:    "ADD with 9.9.9: code 1, and both 9.9.9 and the newest supported version in message or details.",
		Check:     unlistedVersion,
	},
	{
		ID: "C035", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "nerdctl writes misspelled keys",
		Statement: "Unknown keys at any depth are ignored.",
		Judged:    "ADD with an unknown key in every object of the configuration.",
		Check:     unknownKeys,
	},
	{
		ID: "C036", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 3, Deriving execution configuration",
		Statement: "`capabilities` may be present in the request and is ignored (libcni leaves it in).",
		Judged:    "ADD with capabilities of every kind declared, known and unknown.",
		Check:     capabilitiesPresent,
	},
	{
		ID: "C037", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "containerd's structs have no JSON names",
		Statement: "Key matching is case-insensitive at least inside `runtimeConfig`.",
		Judged:    "portMappings, bandwidth, mac, ips as containerd spells them (HostPort, IngressRate): each still has its effect.",
		Check:     caseInsensitive,
	},
	{
		ID: "C038", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error codes 6 and 7",
		Statement: "A known key with the wrong JSON type gives code 6 or 7 naming the key, never a crash.",
		Judged:    "Each key of the configuration with each wrong type; what is refused is refused so.",
		Check:     wrongTypes,
	},
	{
		ID: "C039", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 1, Configuration format (reserved keys)",
		Statement: "Unrecognised `cni.dev/…` keys are ignored.",
		Judged:    "ADD, CHECK and DEL with such keys.",
		Check:     reservedKeys,
	},
	{
		ID: "C040", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 1 and 2, alphabets",
		Statement: "Nothing from `name`, container ID, ifname or any `type` can escape a state directory or the plugin path.",
		Judged:    "Names with `..` and separators leave no file; an IPAM type with a path never runs what it points to.",
		Check:     noEscape,
	},
	{
		ID: "C041", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "CONVENTIONS, args in network config",
		Statement: "`args.cni.*` metadata that is not understood is ignored, not rejected.",
		Judged:    "ADD with unknown keys of several types there.",
		Check:     unknownMetadata,
	},
	{
		ID: "C042", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 5, Error",
		Statement: "Validation errors name the key, the bad value and the accepted form.",
		Judged:    "Bad network name, container ID, interface name, version, subnet and MTU: the error contains key and value.",
		Check:     errorsNameKey,
	},
	{
		ID: "C043", Level: trial.Should, Profile: trial.Runtime, Scope: trial.Interface, Section: "reference plugins, L2 use",
		Statement: "L2 use (`ipam` missing, `{}` or of empty type) is legal for bridge, macvlan, ipvlan, vlan, tap and dummy.",
		Judged:    "ADD in the three forms makes the interface.",
		Check:     layer2,
	},
}

func notJSON(t *trial.T) {
	add := t.Place().Request(protocol.Add)
	for _, text := range []string{"this is not JSON", `{"cniVersion": "1.0.0", "name": `, `[1, 2]`} {
		t.Code(add.Sending([]byte(text)), "stdin is "+text, protocol.CodeDecode)
	}
}

func noName(t *trial.T) {
	a := t.Place()
	conf := a.Conf
	a.Conf = conf.Without("name")
	t.Code(a.Request(protocol.Add), "name is missing", protocol.CodeConfig)
	a.Conf = conf.With("name", "")
	t.Code(a.Request(protocol.Add), "name is empty", protocol.CodeConfig)
}

func noVersion(t *trial.T) {
	for _, spoil := range []func(protocol.Conf) protocol.Conf{
		func(c protocol.Conf) protocol.Conf { return c.Without("cniVersion") },
		func(c protocol.Conf) protocol.Conf { return c.With("cniVersion", "") },
	} {
		a := t.Place()
		a.Conf = a.Conf.With("cniVersion", "0.1.0")
		r := a.Request(protocol.Add)
		r.Stdin = spoil(mustConf(r.Stdin)).JSON()
		if !t.Subject.Supports("0.1.0") {
			t.Code(r, "a request without a version counts as 0.1.0, which is not listed", protocol.CodeVersion)
			continue
		}
		reply := t.Call(r)
		if !t.Expect(reply.OK(), "ADD without a version succeeds", "%s", reply.Summary()) {
			continue
		}
		obj, _ := reply.Object()
		_, hasIPs := obj["ips"]
		t.Expect(!hasIPs && (obj["ip4"] != nil || obj["ip6"] != nil), "the result has the shape of 0.1.0", "%s", reply.Summary())
	}
}

func unlistedVersion(t *trial.T) {
	a := t.Place()
	a.Conf = a.Conf.With("cniVersion", "9.9.9")
	f := t.Code(a.Request(protocol.Add), "cniVersion 9.9.9", protocol.CodeVersion)
	if f == nil {
		return
	}
	for _, v := range []string{"9.9.9", t.Subject.Latest()} {
		t.Expect(strings.Contains(f.Text(), v), "the error shows "+v, "%s", f.Text())
	}
}

func unknownKeys(t *trial.T) {
	a := t.Place()
	a.Conf = everywhere(a.Conf)
	if a.Conf.Get("ipam") != nil {
		a.Conf = a.Conf.With("ipam.resolveConf", "/etc/resolv.conf")
	}
	reply := a.Add()
	t.Expect(reply.OK(), "ADD ignores unknown keys in every object", "%s", reply.Summary())
}

// everywhere adds an unknown key to each object of a configuration.
func everywhere(conf protocol.Conf) protocol.Conf {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, child := range v {
				// Keys of these are names chosen by the user, not keywords.
				if key != "sysctl" && key != "capabilities" {
					walk(child)
				}
			}
			v["conformanceUnknown"] = map[string]any{"deep": []any{1, "x"}}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	out := conf.Clone()
	walk(map[string]any(out))
	return out
}

func capabilitiesPresent(t *trial.T) {
	a := t.Place()
	for _, name := range []string{"portMappings", "ipRanges", "bandwidth", "dns", "ips", "mac", "aliases", "cgroupPath", "conformanceUnknown"} {
		a.Conf = a.Conf.With("capabilities."+name, true)
	}
	reply := a.Add()
	t.Expect(reply.OK(), "ADD ignores capabilities", "%s", reply.Summary())
}

func wrongTypes(t *trial.T) {
	a := t.Place()
	for _, key := range ownKeys(a.Conf) {
		for _, wrong := range wrongValues(a.Conf.Get(key)) {
			if wrong == nil {
				continue // null means absent to most decoders
			}
			b := *a
			b.Conf = a.Conf.With(key, wrong)
			reply := t.Call(b.Request(protocol.Add))
			if reply.OK() {
				t.Call(b.Request(protocol.Del))
				continue
			}
			refusedByKey(t, reply, key, wrong)
		}
	}
}

func refusedByKey(t *trial.T, reply *protocol.Reply, key string, wrong any) {
	what := key + " is " + mustText(wrong)
	f, err := reply.Failure()
	if !t.Expect(err == nil, "an error document: "+what, "%v; %s", err, reply.Summary()) {
		return
	}
	t.Expect(f.Code == protocol.CodeDecode || f.Code == protocol.CodeConfig, "code 6 or 7: "+what, "code %d: %s", f.Code, f.Text())
	t.Expect(strings.Contains(strings.ToLower(f.Text()), strings.ToLower(key)), "the error names the key: "+what, "%s", f.Text())
}

func reservedKeys(t *trial.T) {
	a := t.Place()
	a.Conf = a.Conf.WithKey("cni.dev/conformance", map[string]any{"x": 1}).WithKey("cni.dev/other", "y")
	for _, verb := range []string{protocol.Add, protocol.Check, protocol.Del} {
		if verb == protocol.Check && protocol.Before(a.Version(), "0.4.0") {
			continue
		}
		reply := a.Took(t.Call(a.Request(verb)))
		t.Expect(reply.OK(), verb+" ignores unrecognised cni.dev keys", "%s", reply.Summary())
	}
}

func noEscape(t *trial.T) {
	a := t.Place()
	before := t.HostState()
	for _, bad := range []string{"..", "../../escape", "a/../../escape"} {
		b := *a
		b.Conf = a.Conf.With("name", bad)
		t.Refused(b.Request(protocol.Add), "network name "+bad)
		t.Refused(a.Request(protocol.Add).With(protocol.EnvContainerID, bad), "container ID "+bad)
		t.Refused(a.Request(protocol.Add).With(protocol.EnvIfName, bad), "interface name "+bad)
	}
	t.Unchanged(before, "names that try to escape")
	if t.Subject.Kind&trial.Delegating != 0 {
		pathAsType(t, "../elsewhere/conformance-ipam")
	}
}

// pathAsType delegates to a type that is a path, and wants nothing to run.
func pathAsType(t *trial.T, kind string) {
	a := t.Place()
	a.Delegated(trial.Addresses())
	_, err := t.Host.Link(filepath.Join(filepath.Dir(lab.DoubleDir), "elsewhere"), filepath.Join(lab.DoubleDir, double.Name))
	if !errors.Is(err, fs.ErrExist) {
		t.Must(err)
	}
	a.Conf = a.Conf.With("ipam.type", kind)
	t.Refused(a.Request(protocol.Add), "ipam.type is "+kind)
	t.Expect(len(t.Calls()) == 0, "nothing is executed for ipam.type "+kind, "it was called")
}

func unknownMetadata(t *trial.T) {
	a := t.Place()
	a.Conf = a.Conf.With("args.cni.conformanceUnknown", map[string]any{"x": []any{1}}).With("args.cni.other", "text").With("args.vendor", 1)
	reply := a.Add()
	t.Expect(reply.OK(), "ADD ignores unknown metadata in args", "%s", reply.Summary())
}

func errorsNameKey(t *trial.T) {
	a := t.Place()
	add := a.Request(protocol.Add)
	conf := mustConf(add.Stdin)
	type bad struct {
		key, value string
		request    protocol.Request
	}
	list := []bad{
		{"name", "bad/name", add.Sending(conf.With("name", "bad/name").JSON())},
		{"CNI_CONTAINERID", "bad/id", add.With(protocol.EnvContainerID, "bad/id")},
		{"CNI_IFNAME", "bad/if", add.With(protocol.EnvIfName, "bad/if")},
		{"CNI_COMMAND", "FROB", add.With(protocol.EnvCommand, "FROB")},
		{"cniVersion", "77.0.0", add.Sending(conf.With("cniVersion", "77.0.0").JSON())},
	}
	if conf.Get("mtu") != nil {
		list = append(list, bad{"mtu", "many", add.Sending(conf.With("mtu", "many").JSON())})
	}
	if len(trial.Subnets(conf)) > 0 {
		list = append(list, bad{"subnet", "10.0.0.0/99", add.Sending(conf.Without("ipam.ranges").With("ipam.subnet", "10.0.0.0/99").JSON())})
	}
	for _, b := range list {
		f := t.Refused(b.request, b.key+" is "+b.value)
		if f == nil {
			continue
		}
		t.Expect(strings.Contains(f.Text(), b.key), "the error names "+b.key, "%s", f.Text())
		t.Expect(strings.Contains(f.Text(), b.value), "the error shows the bad value "+b.value, "%s", f.Text())
	}
}

func layer2(t *trial.T) {
	switch t.Subject.Type {
	case "bridge", "macvlan", "ipvlan", "vlan", "tap", "dummy":
	default:
		t.NotApplicable("%s may insist on addresses", t.Subject.Name)
	}
	for why, conf := range map[string]protocol.Conf{
		"ipam missing":       t.Subject.Conf.Without("ipam"),
		"ipam {}":            t.Subject.Conf.With("ipam", map[string]any{}),
		"ipam of empty type": t.Subject.Conf.With("ipam", map[string]any{"type": ""}),
	} {
		a := t.Place()
		a.Conf = conf.Without("isGateway", "ipMasq", "isDefaultGateway")
		reply := a.Add()
		if !t.Expect(reply.OK(), "ADD succeeds with "+why, "%s", reply.Summary()) {
			continue
		}
		_, err := a.Container.NL.LinkByName(a.IfName)
		t.Expect(err == nil, "the interface exists with "+why, "%v", err)
	}
}
