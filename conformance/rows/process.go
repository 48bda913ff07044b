package rows

import (
	"regexp"
	"strings"
	"time"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var processRows = []trial.Row{
	{
		ID: "C001", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 2, Overview",
		Statement: "Exit status is 0 on success and non-zero on every failure.",
		Judged:    "ADD and DEL of an attachment, then ten requests that must be refused, each by exit status.",
		Check:     exitStatus,
	},
	{
		ID: "C002", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 2, Overview; 5, Success",
		Statement: "On ADD and VERSION stdout holds exactly one JSON document and nothing else.",
		Judged:    "ADD and VERSION, and an ADD whose CNI_NETNS is the plugin's own namespace: one document either way.",
		Check:     oneDocument,
	},
	{
		ID: "C003", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error",
		Statement: "On failure stdout holds exactly one JSON error document; a crash or stack trace is a failure of this row.",
		Judged:    "Requests that must be refused, and the configuration with each key missing, of a wrong type, or given as an argument.",
		Check:     errorDocument,
	},
	{
		ID: "C004", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Success",
		Statement: "DEL, CHECK, STATUS and GC write nothing to stdout on success.",
		Judged:    "Each operation the plugin's versions have, after an ADD.",
		Check:     silentSuccess,
	},
	{
		ID: "C005", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 2, Overview",
		Statement: "Diagnostics go to stderr only; stdout stays parseable at the highest log level.",
		Judged:    "ADD and DEL with the usual logging keys and variables at debug; stdout as in C002 and C004.",
		Check:     loudStderr,
	},
	{
		ID: "C006", Level: trial.Should, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 5, Error codes 5 and 6",
		Statement: "Empty or closed stdin yields a code 5 or 6 error promptly, never a hang. VERSION must still succeed.",
		Judged:    "ADD and DEL with empty stdin and with none: code 5 or 6 within 5 s. VERSION with empty stdin succeeds.",
		Check:     emptyStdin,
	},
	{
		ID: "C007", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "SPEC 2, Parameters",
		Statement: "The result does not depend on working directory, HOME and locale; unknown environment variables are ignored, trace context included.",
		Judged:    "The same attachment added plainly and in a strange environment: the results agree but for addresses and hardware addresses.",
		Check:     strangeEnvironment,
	},
	{
		ID: "C008", Level: trial.Must, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, ADD",
		Statement: "A request rejected during validation changes nothing on the host or in the container.",
		Judged:    "Requests that must be refused, and one whose namespace does not exist, on an untouched host: links, addresses, rules and files before and after.",
		Check:     rejectedUntouched,
	},
	{
		ID: "C009", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "nerdctl parses the banner",
		Statement: "With no CNI_COMMAND in the environment: exit 0, empty stdout, stderr first line `CNI <name> plugin v<semver>`.",
		Judged:    "One call with nothing but PATH.",
		Check:     banner,
	},
	{
		ID: "C010", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4",
		Statement: "SIGKILL at any point leaves no lock that blocks the next invocation.",
		Judged:    "ADD killed after 1 to 32 ms, each time followed by the ADD of another container within 10 s.",
		Check:     killedHoldsNoLock,
	},
	{
		ID: "C011", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "SPEC 2, Parameters (CNI_PATH)",
		Statement: "Works when invoked through a symlink and from any directory in CNI_PATH.",
		Judged:    "VERSION, ADD and DEL through a symlink of the same name in another directory.",
		Check:     throughSymlink,
	},
	{
		ID: "C012", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 2",
		Statement: "Never relies on a shell; arguments are never interpolated into command lines.",
		Judged:    "ADD and DEL on a host whose shells are empty files, with shell text in unknown keys and in CNI_ARGS.",
		Check:     noShell,
	},
}

func exitStatus(t *trial.T) {
	a := t.Attach()
	del := a.Del()
	t.Expect(del.OK(), "DEL of what was added exits 0", "%s", del.Summary())
	for _, bad := range refusals(a) {
		reply := t.Call(bad.request)
		t.Expect(!reply.OK(), "non-zero exit: "+bad.why, "%s", reply.Summary())
	}
}

func oneDocument(t *trial.T) {
	a := t.Place()
	expectOne(t, "ADD", a.Add())
	version := a.Request(protocol.Version)
	expectOne(t, "VERSION", t.Call(version))
	own := t.Place()
	own.Netns = "/proc/self/ns/net"
	expectOne(t, "ADD with the plugin's own namespace", own.Add())
}

// expectOne wants one JSON object on standard output.
func expectOne(t *trial.T, what string, reply *protocol.Reply) {
	_, err := reply.Object()
	t.Expect(err == nil, what+" prints exactly one JSON document", "%v; %s", err, reply.Summary())
}

func errorDocument(t *trial.T) {
	a := t.Place()
	for _, bad := range refusals(a) {
		t.Refused(bad.request, bad.why)
	}
	for _, odd := range oddities(a) {
		reply := t.Call(odd.request)
		if reply.OK() {
			t.Call(undoing(odd.request))
			continue
		}
		if t.Expect(!reply.Crashed(), "no crash: "+odd.why, "%s", reply.Summary()) {
			_, err := reply.Failure()
			t.Expect(err == nil, "one JSON error document: "+odd.why, "%v; %s", err, reply.Summary())
		}
	}
}

// undoing is the DEL that belongs to an ADD request.
func undoing(add protocol.Request) protocol.Request {
	return add.With(protocol.EnvCommand, protocol.Del)
}

func silentSuccess(t *trial.T) {
	a := t.Attach()
	var verbs []string
	if !protocol.Before(a.Version(), "0.4.0") {
		verbs = append(verbs, protocol.Check)
	}
	if !protocol.Before(a.Version(), "1.1.0") {
		verbs = append(verbs, protocol.Status, protocol.GC)
	}
	for _, verb := range append(verbs, protocol.Del) {
		r := a.Request(verb)
		if verb == protocol.GC {
			r = gcKeeping(a)
		}
		reply := t.Call(r)
		t.Expect(!reply.OK() || len(reply.Stdout) == 0, verb+" prints nothing on success", "%s", reply.Summary())
	}
}

// gcKeeping is a GC request in which the attachments are the valid ones.
func gcKeeping(a *trial.Attachment, more ...*trial.Attachment) protocol.Request {
	valid := []any{}
	for _, b := range append([]*trial.Attachment{a}, more...) {
		valid = append(valid, map[string]any{"containerID": b.ID, "ifname": b.IfName})
	}
	return gcWith(a, valid)
}

// validKey is where GC finds the attachments that are still in use.
const validKey = "cni.dev/valid-attachments"

// gcWith is a GC request with any value for the valid attachments.
func gcWith(a *trial.Attachment, valid any) protocol.Request {
	r := a.Request(protocol.GC)
	return r.Sending(mustConf(r.Stdin).WithKey(validKey, valid).JSON())
}

func loudStderr(t *trial.T) {
	a := t.Place()
	for _, key := range []string{"logLevel", "log_level"} {
		a.Conf = a.Conf.With(key, "debug")
	}
	a.Conf = a.Conf.With("debug", true)
	loud := func(r protocol.Request) protocol.Request {
		for _, key := range []string{"CNI_LOG_LEVEL", "LOG_LEVEL", "NETCTL_LOG"} {
			r = r.With(key, "debug")
		}
		return r.With("DEBUG", "1")
	}
	add := a.Took(t.Call(loud(a.Request(protocol.Add))))
	expectOne(t, "ADD at the highest log level", add)
	del := t.Call(loud(a.Request(protocol.Del)))
	t.Expect(len(del.Stdout) == 0, "DEL at the highest log level prints nothing on stdout", "%s", del.Summary())
}

func emptyStdin(t *trial.T) {
	a := t.Place()
	for _, verb := range []string{protocol.Add, protocol.Del} {
		r := a.Request(verb)
		r.Limit = 5 * time.Second
		t.Code(r.Sending([]byte{}), verb+" with empty stdin", protocol.CodeIO, protocol.CodeDecode)
		t.Code(r.Sending(nil), verb+" without stdin", protocol.CodeIO, protocol.CodeDecode)
	}
	version := a.Request(protocol.Version)
	version.Limit = 5 * time.Second
	reply := t.Call(version.Sending([]byte{}))
	t.Expect(reply.OK(), "VERSION with empty stdin succeeds", "%s", reply.Summary())
}

func strangeEnvironment(t *trial.T) {
	plain := t.Attach()
	strange := t.Place()
	r := strange.Request(protocol.Add)
	r.Dir = "/proc"
	for k, v := range map[string]string{
		"HOME": "/nonexistent", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu",
		"TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "TRACESTATE": "a=b", "BAGGAGE": "c=d",
		"CNI_SOMETHING_NEW": "1",
	} {
		r = r.With(k, v)
	}
	reply := strange.Took(t.Call(r))
	if !t.Expect(strange.Result != nil, "ADD succeeds in a strange environment", "%s", reply.Summary()) {
		return
	}
	want, got := outline(plain.Result), outline(strange.Result)
	t.Expect(want == got, "the same result as plainly: "+want, "%s", got)
}

// outline is a result without what differs between two attachments of a kind.
func outline(res *protocol.Result) string {
	var parts []string
	for _, link := range res.Interfaces {
		parts = append(parts, "interface in sandbox "+mustText(link.Sandbox != ""))
	}
	for _, ip := range res.IPs {
		parts = append(parts, "address with gateway "+ip.Gateway)
	}
	for _, r := range res.Routes {
		parts = append(parts, "route "+r.Dst+" via "+r.GW)
	}
	return strings.Join(parts, ", ")
}

func rejectedUntouched(t *trial.T) {
	a := t.Place()
	bad := refusals(a)
	missing := a.Request(protocol.Add).With(protocol.EnvNetns, "/run/netns/nobody")
	bad = append(bad, spoilt{why: "the namespace does not exist", request: missing})
	for _, bad := range bad {
		before := t.HostState()
		inside, err := a.Container.State()
		t.Must(err)
		if reply := t.Call(bad.request); reply.OK() {
			continue // C001, C014 to C022 and C029 speak about that
		}
		t.Unchanged(before, "a request that is refused because "+bad.why)
		after, err := a.Container.State()
		t.Must(err)
		for _, c := range inside.Diff(after) {
			t.Expect(false, "nothing changes in the container: "+bad.why, "%s", c)
		}
	}
}

func banner(t *trial.T) {
	r := t.Request(t.Subject, "", t.Subject.Conf)
	reply := t.Call(r.Without(protocol.EnvCommand, protocol.EnvPath).Sending(nil))
	t.Expect(reply.OK() && len(reply.Stdout) == 0, "exit 0 and empty stdout", "%s", reply.Summary())
	first, _, _ := strings.Cut(string(reply.Stderr), "\n")
	form := regexp.MustCompile(`^CNI (\S+) plugin v?(\S+)$`)
	m := form.FindStringSubmatch(first)
	if !t.Expect(m != nil, "stderr begins with `CNI <name> plugin v<semver>`", "%q", first) {
		return
	}
	t.Expect(m[1] == t.Subject.Type, "the banner names "+t.Subject.Type, "%q", first)
}

func killedHoldsNoLock(t *trial.T) {
	for _, after := range []time.Duration{1, 2, 4, 8, 12, 16, 24, 32} {
		victim := t.Place()
		p := t.Start(victim.Request(protocol.Add))
		time.Sleep(after * time.Millisecond)
		p.Kill()
		p.Wait()
		next := t.Place()
		r := next.Request(protocol.Add)
		r.Limit = 10 * time.Second
		reply := next.Took(t.Call(r))
		t.Require(!reply.TimedOut, "ADD after a killed one returns within 10 s", "killed after %d ms; %s", after, reply.Summary())
		t.Call(victim.Request(protocol.Del))
		t.Call(next.Request(protocol.Del))
	}
	t.Host.Script.Cannot("ADD is started and killed after 1 to 32 ms")
}

func throughSymlink(t *trial.T) {
	dir := lab.StateDir + "/elsewhere"
	link, err := t.Host.Link(dir, t.Subject.Plugin)
	t.Must(err)
	a := t.Place()
	for _, verb := range []string{protocol.Version, protocol.Add, protocol.Del} {
		r := a.Request(verb)
		r.Plugin = link
		r.Env[protocol.EnvPath] = dir + ":" + r.Env[protocol.EnvPath]
		reply := t.Call(r)
		t.Expect(reply.OK(), verb+" through a symlink succeeds", "%s", reply.Summary())
		a.Took(reply)
	}
}

func noShell(t *trial.T) {
	t.Must(t.Host.WithoutShells())
	marker := "/run/shell-was-here"
	text := "$(touch " + marker + ");`touch " + marker + "`"
	a := t.Place()
	a.Conf = a.Conf.With("comment", text).With("args.cni.comment", text)
	a.Args = "IgnoreUnknown=1;COMMENT=" + strings.ReplaceAll(text, ";", " ")
	for _, verb := range []string{protocol.Add, protocol.Del} {
		reply := a.Took(t.Call(a.Request(verb)))
		t.Expect(reply.OK(), verb+" succeeds on a host without shells", "%s", reply.Summary())
	}
	_, err := t.Host.ReadFile(marker)
	t.Expect(err != nil, "text in the request is never run", "%s appeared", marker)
}
