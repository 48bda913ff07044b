package rows

import (
	"strings"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var environmentRows = []trial.Row{
	{
		ID: "C013", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error code 4",
		Statement: "Unknown CNI_COMMAND gives code 4; the message contains the offending value.",
		Judged:    "CNI_COMMAND=FROB, and ADD in lower case.",
		Check:     unknownCommand,
	},
	{
		ID: "C014", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 2, Parameters; 4, ADD",
		Statement: "ADD without CNI_CONTAINERID, CNI_NETNS or CNI_IFNAME gives code 4 and names every missing variable.",
		Judged:    "Each of the seven combinations of missing variables.",
		Check:     func(t *trial.T) { missingVariables(t, protocol.Add) },
	},
	{
		ID: "C015", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, CHECK",
		Statement: "CHECK has the same three required variables.",
		Judged:    "After an ADD, CHECK with each combination of missing variables.",
		Check:     func(t *trial.T) { missingVariables(t, protocol.Check) },
	},
	{
		ID: "C016", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, DEL",
		Statement: "DEL requires CNI_CONTAINERID and CNI_IFNAME but not CNI_NETNS.",
		Judged:    "DEL of an attachment without CNI_NETNS succeeds; without either of the others it is code 4.",
		Check:     delVariables,
	},
	{
		ID: "C017", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, STATUS and GC",
		Statement: "STATUS and GC succeed with no attachment variables set.",
		Judged:    "Both with only CNI_COMMAND and CNI_PATH.",
		Check:     noAttachmentVariables,
	},
	{
		ID: "C018", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, VERSION",
		Statement: "VERSION needs only CNI_COMMAND and ignores dummy values in the others (libcni sends the text `dummy`).",
		Judged:    "VERSION with nothing but CNI_COMMAND, and with `dummy` in every other variable.",
		Check:     versionAlone,
	},
	{
		ID: "C019", Level: trial.Should, Profile: trial.Spec, Scope: trial.Chained | trial.IPAM | trial.Other, Section: "SPEC 2, Parameters (CNI_PATH)",
		Statement: "CNI_PATH may be absent when the plugin has nothing to delegate to.",
		Judged:    "ADD and DEL of a plugin that does not delegate, with CNI_PATH unset.",
		Check:     withoutPath,
	},
	{
		ID: "C020", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 2, Parameters (CNI_CONTAINERID)",
		Statement: "Container IDs start with an ASCII alphanumeric and continue with alphanumerics, `_`, `.`, `-`; anything else is code 4.",
		Judged:    "Ten bad identifiers are refused, four good ones are not.",
		Check:     containerIDs,
	},
	{
		ID: "C021", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 2, Parameters (CNI_IFNAME)",
		Statement: "CNI_IFNAME is 1 to 15 bytes, not `.` or `..`, without `/`, `:` and whitespace; otherwise code 4 before side effects.",
		Judged:    "Nine bad names are refused with code 4 and leave the host as it was.",
		Check:     interfaceNames,
	},
	{
		ID: "C022", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 1, Configuration format (name)",
		Statement: "The network name obeys the container ID alphabet; a violation is code 7.",
		Judged:    "Seven bad network names.",
		Check:     networkNames,
	},
	{
		ID: "C023", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 2, Parameters (CNI_ARGS)",
		Statement: "CNI_ARGS is parsed as `K=V` pairs joined by `;`; a pair without `=` is an error.",
		Judged:    "ADD with `IgnoreUnknown=1;FOO`, for a plugin that reads CNI_ARGS at all.",
		Check:     argsWithoutEquals,
	},
	{
		ID: "C024", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 2",
		Statement: "A CNI_ARGS value may itself contain `=`: split on the first one only.",
		Judged:    "ADD with `IgnoreUnknown=1;FOO=a=b` succeeds.",
		Check:     argsValueWithEquals,
	},
	{
		ID: "C025", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "CONVENTIONS, CNI_ARGS",
		Statement: "Unknown CNI_ARGS keys are an error unless `IgnoreUnknown` is 1 or true in any case; then all are skipped, in any order.",
		Judged:    "`FOO=BAR` alone is refused (by a plugin that reads CNI_ARGS); with IgnoreUnknown before and behind it, in five spellings, it is not.",
		Check:     unknownArgs,
	},
	{
		ID: "C026", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "containerd and CRI-O",
		Statement: "The four K8S_POD keys with `IgnoreUnknown=1` work in every order (containerd emits them in random order).",
		Judged:    "ADD with the five pairs in ten different orders.",
		Check:     podArgs,
	},
	{
		ID: "C027", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.Chained | trial.Other, Section: "SPEC 5, Error; libraries' code 8",
		Statement: "CNI_NETNS identical to the plugin's own namespace gives code 8 before any change.",
		Judged:    "ADD with CNI_NETNS=/proc/self/ns/net on an untouched host.",
		Check:     ownNetns,
	},
	{
		ID: "C028", Level: trial.Should, Profile: trial.Runtime, Scope: trial.Interface | trial.Chained | trial.Other, Section: "upstream test helpers",
		Statement: "CNI_NETNS_OVERRIDE set to 1 or true disables the refusal of the plugin's own namespace.",
		Judged:    "The request of C027 with the variable set is not answered with code 8.",
		Check:     ownNetnsAllowed,
	},
	{
		ID: "C029", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 5, Error code 3",
		Statement: "A CNI_NETNS path that does not exist gives an error on ADD (recommended code 3) and leaves nothing on the host.",
		Judged:    "ADD with such a path: error code 3, host unchanged.",
		Check:     missingNetns,
	},
	{
		ID: "C030", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 2, Parameters (CNI_NETNS)",
		Statement: "A CNI_NETNS path that is not a namespace file gives an error on ADD.",
		Judged:    "ADD with an ordinary file and with a directory.",
		Check:     notANetns,
	},
}

func unknownCommand(t *trial.T) {
	add := t.Place().Request(protocol.Add)
	for _, verb := range []string{"FROB", "add"} {
		f := t.Code(add.With(protocol.EnvCommand, verb), "CNI_COMMAND="+verb, protocol.CodeEnvironment)
		if f != nil {
			t.Expect(strings.Contains(f.Text(), verb), "the message contains "+verb, "%s", f.Text())
		}
	}
}

// attachmentVariables are what ADD and CHECK require.
func attachmentVariables() []string {
	return []string{protocol.EnvContainerID, protocol.EnvNetns, protocol.EnvIfName}
}

func missingVariables(t *trial.T, verb string) {
	a := t.Place()
	if verb == protocol.Check {
		t.Need(t.Subject.Supports("0.4.0"), "CHECK came with 0.4.0")
		a.MustAdd()
	}
	names := attachmentVariables()
	for mask := 1; mask < 1<<len(names); mask++ {
		var missing []string
		for i, name := range names {
			if mask&(1<<i) != 0 {
				missing = append(missing, name)
			}
		}
		why := strings.Join(missing, ", ") + " missing"
		f := t.Code(a.Request(verb).Without(missing...), why, protocol.CodeEnvironment)
		if f == nil {
			continue
		}
		for _, name := range missing {
			t.Expect(strings.Contains(f.Text(), name), "the error names "+name+": "+why, "%s", f.Text())
		}
	}
}

func delVariables(t *trial.T) {
	a := t.Attach()
	for _, name := range []string{protocol.EnvContainerID, protocol.EnvIfName} {
		t.Code(a.Request(protocol.Del).Without(name), "DEL without "+name, protocol.CodeEnvironment)
	}
	reply := t.Call(a.Request(protocol.Del).Without(protocol.EnvNetns))
	t.Expect(reply.OK(), "DEL without CNI_NETNS succeeds", "%s", reply.Summary())
}

func noAttachmentVariables(t *trial.T) {
	a := t.At("1.1.0")
	for _, r := range []protocol.Request{a.Request(protocol.Status), gcWith(a, []any{})} {
		reply := t.Call(r)
		t.Expect(reply.OK(), r.Verb()+" with no attachment variables succeeds", "%s", reply.Summary())
	}
}

func versionAlone(t *trial.T) {
	r := t.Request(t.Subject, protocol.Version, protocol.Conf{"cniVersion": "1.0.0"})
	dummy := r
	for _, name := range append(attachmentVariables(), protocol.EnvPath) {
		dummy = dummy.With(name, "dummy")
	}
	for why, r := range map[string]protocol.Request{
		"only CNI_COMMAND": r.Without(protocol.EnvPath),
		"dummy values":     dummy,
	} {
		reply := t.Call(r)
		_, err := reply.Versions()
		t.Expect(reply.OK() && err == nil, "VERSION succeeds with "+why, "%v; %s", err, reply.Summary())
	}
}

func withoutPath(t *trial.T) {
	t.Need(t.Subject.Kind&trial.Delegating == 0, "the plugin delegates")
	a := t.Place()
	for _, verb := range []string{protocol.Add, protocol.Del} {
		reply := a.Took(t.Call(a.Request(verb).Without(protocol.EnvPath)))
		t.Expect(reply.OK(), verb+" without CNI_PATH succeeds", "%s", reply.Summary())
	}
}

func containerIDs(t *trial.T) {
	a := t.Place()
	for _, id := range []string{"-x", "_x", ".x", "a/b", "../x", "a b", "a\nb", "é", "a;b", "a:b"} {
		t.Code(a.Request(protocol.Add).With(protocol.EnvContainerID, id), "container ID "+mustText(id), protocol.CodeEnvironment)
	}
	for _, id := range []string{"a", "0", "a.b_c-d", strings.Repeat("0123456789abcdef", 4)} {
		good := t.Place()
		good.ID = id
		reply := good.Add()
		t.Expect(reply.OK(), "ADD succeeds with container ID "+id, "%s", reply.Summary())
	}
}

func interfaceNames(t *trial.T) {
	a := t.Place()
	before := t.HostState()
	for _, name := range []string{"sixteen-bytes-xx", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\nb", strings.Repeat("x", 300)} {
		t.Code(a.Request(protocol.Add).With(protocol.EnvIfName, name), "interface name "+mustText(name), protocol.CodeEnvironment)
	}
	t.Unchanged(before, "a bad interface name")
}

func networkNames(t *trial.T) {
	a := t.Place()
	for _, name := range []string{"-x", ".x", "a/b", "../x", "a b", "é", "a;b"} {
		a.Conf = a.Conf.With("name", name)
		t.Code(a.Request(protocol.Add), "network name "+mustText(name), protocol.CodeConfig)
	}
}

// needArgs makes a row about CNI_ARGS not applicable to a plugin that never
// looks at them: one that accepts an unknown key without being told to.
func needArgs(t *trial.T) {
	a := t.Place()
	a.Args = "CONFORMANCE_UNKNOWN=x"
	reply := a.Add()
	t.Need(!reply.OK(), "the plugin does not read CNI_ARGS")
}

func argsWithoutEquals(t *trial.T) {
	needArgs(t)
	a := t.Place()
	a.Args = "IgnoreUnknown=1;FOO"
	t.Refused(a.Request(protocol.Add), "a pair without =")
}

func argsValueWithEquals(t *trial.T) {
	a := t.Place()
	a.Args = "IgnoreUnknown=1;FOO=a=b"
	reply := a.Add()
	t.Expect(reply.OK(), "ADD succeeds with "+a.Args, "%s", reply.Summary())
}

func unknownArgs(t *trial.T) {
	for _, args := range []string{
		"IgnoreUnknown=1;FOO=BAR", "FOO=BAR;IgnoreUnknown=1", "FOO=BAR;IgnoreUnknown=true;X=Y",
		"IgnoreUnknown=True;FOO=BAR", "FOO=BAR;IgnoreUnknown=TRUE",
	} {
		a := t.Place()
		a.Args = args
		reply := a.Add()
		t.Expect(reply.OK(), "ADD succeeds with "+args, "%s", reply.Summary())
	}
	needArgs(t)
}

func podArgs(t *trial.T) {
	pairs := []string{
		"IgnoreUnknown=1", "K8S_POD_NAMESPACE=default", "K8S_POD_NAME=web-0",
		"K8S_POD_INFRA_CONTAINER_ID=0123abcd", "K8S_POD_UID=8c1d-4",
	}
	for turn := range 2 * len(pairs) {
		order := append(append([]string{}, pairs[turn%len(pairs):]...), pairs[:turn%len(pairs)]...)
		if turn >= len(pairs) {
			order[1], order[3] = order[3], order[1]
		}
		a := t.Place()
		a.Args = strings.Join(order, ";")
		reply := a.Add()
		t.Expect(reply.OK(), "ADD succeeds with "+a.Args, "%s", reply.Summary())
	}
}

func ownNetns(t *trial.T) {
	a := t.Place()
	a.Netns = "/proc/self/ns/net"
	before := t.HostState()
	t.Code(a.Request(protocol.Add), "CNI_NETNS is the plugin's own namespace", protocol.CodeOwnNetns)
	t.Unchanged(before, "ADD with the plugin's own namespace")
}

func ownNetnsAllowed(t *trial.T) {
	a := t.Place()
	a.Netns = "/proc/self/ns/net"
	for _, yes := range []string{"1", "true"} {
		reply := t.Call(a.Request(protocol.Add).With("CNI_NETNS_OVERRIDE", yes))
		f, err := reply.Failure()
		t.Expect(reply.OK() || err != nil || f.Code != protocol.CodeOwnNetns, "CNI_NETNS_OVERRIDE="+yes+" disables code 8", "%s", reply.Summary())
	}
}

func missingNetns(t *trial.T) {
	a := t.Place()
	a.Netns = "/run/netns/nobody"
	before := t.HostState()
	t.Code(a.Request(protocol.Add), "the namespace does not exist", protocol.CodeUnknown)
	t.Unchanged(before, "ADD into a namespace that does not exist")
}

func notANetns(t *trial.T) {
	a := t.Place()
	t.Must(t.Host.WriteFile("/run/netns/file", nil, 0o644))
	for _, path := range []string{"/run/netns/file", "/run"} {
		a.Netns = path
		t.Refused(a.Request(protocol.Add), "CNI_NETNS is "+path)
	}
}
