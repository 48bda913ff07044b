package rows

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var delHardRows = []trial.Row{
	{
		ID: "C091", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.Chained, Section: "SPEC 4, ADD (error) and DEL",
		Statement: "DEL after an ADD that failed at any step cleans everything.",
		Judged:    "ADD fails in the IPAM plugin, at a route, in a firewall tool, at an impossible mapping: after DEL nothing is left.",
		Check:     delAfterFailedAdd,
	},
	{
		ID: "C092", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "Delegated DEL is always attempted; its error is returned, but own cleanup completes first.",
		Judged:    "The delegate's DEL fails: DEL fails too, and the interface and everything on the host is gone.",
		Check:     delDelegateFails,
	},
	{
		ID: "C093", Level: trial.Should, Profile: trial.Spec, Scope: trial.IPAM, Section: "SPEC 4, DEL",
		Statement: "A remote release that cannot be performed (DHCP daemon down) is not an error.",
		Judged:    "DEL without the daemon, for an IPAM plugin that has one.",
		Check:     delDaemonDown,
	},
	{
		ID: "C094", Level: trial.Should, Profile: trial.Runtime, Scope: trial.All, Section: "containerd reads the error text",
		Statement: "The error of a failed DEL does not say \"not found\" or \"no such file or directory\": containerd takes that for success.",
		Judged:    "DELs that may fail: IPAM plugin missing, namespace path an ordinary file, junk prevResult, unreadable state.",
		Check:     delErrorText,
	},
	{
		ID: "C095", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "runtimes give DEL a minute in all",
		Statement: "DEL never blocks longer than a documented bound (target under 10 s).",
		Judged:    "Every lock file the plugin keeps, and iptables' own, is held: DEL returns within 10 s.",
		Check:     delBounded,
	},
	{
		ID: "C096", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Interface | trial.Chained, Section: "plugins#1190",
		Statement: "Removing a UDP mapping flushes its conntrack entries.",
		Judged:    "A UDP question through the mapping, then DEL: no connection to the host port is tracked any more.",
		Check:     delFlushesUDP,
	},
	{
		ID: "C097", Level: trial.Must, Profile: trial.Spec, Scope: trial.List, Section: "SPEC 4, DEL (list order)",
		Statement: "DEL works in reverse list order, and when another plugin of the list already failed or is absent.",
		Judged:    "The list added and deleted in reverse, in forward order, and with one plugin left out: each succeeds, nothing is left.",
		Check:     delAnyOrder,
	},
}

// brokenStep makes ADD fail at one step. It returns the request.
type brokenStep struct {
	why   string
	spoil func(t *trial.T, a *trial.Attachment) protocol.Request
}

// brokenSteps are the failures this subject can be brought to.
func brokenSteps(s *trial.Subject) []brokenStep {
	steps := []brokenStep{{"ip6tables does not work", func(t *trial.T, a *trial.Attachment) protocol.Request {
		dir, err := t.Host.BrokenTools("ip6tables", "ip6tables-save", "ip6tables-restore")
		t.Must(err)
		r := a.Request(protocol.Add)
		return r.With("PATH", dir+":"+r.Env["PATH"])
	}}}
	if s.Kind&trial.Delegating != 0 {
		steps = append(steps,
			brokenStep{"its IPAM plugin failed", func(t *trial.T, a *trial.Attachment) protocol.Request {
				a.Delegated(trial.Addresses())
				t.Script(double.Script{protocol.Add: trial.Refuses(999, "no address today")})
				return a.Request(protocol.Add)
			}},
			brokenStep{"a route is impossible", func(t *trial.T, a *trial.Attachment) protocol.Request {
				a.Delegated(trial.Addresses(protocol.Route{Dst: "198.51.100.0/24", GW: "203.0.113.1"}))
				return a.Request(protocol.Add)
			}})
	}
	if s.Declares("portMappings") {
		steps = append(steps, brokenStep{"its second mapping is impossible", func(t *trial.T, a *trial.Attachment) protocol.Request {
			list := append(trial.Mappings(a.Number), map[string]any{"hostPort": 70000, "containerPort": 80, "protocol": "tcp"})
			a.Conf = a.Conf.With("runtimeConfig.portMappings", list)
			return a.Request(protocol.Add)
		}})
	}
	return steps
}

func delAfterFailedAdd(t *trial.T) {
	t.Settled()
	provoked := 0
	for _, step := range brokenSteps(t.Subject) {
		for _, alive := range []bool{true, false} {
			before := t.HostState()
			a := t.Place()
			if t.Call(step.spoil(t, a)).OK() {
				a.MustDel()
				t.Must(a.Container.Kill())
				continue
			}
			provoked++
			cleanedUp(t, before, a, step.why, alive)
		}
	}
	t.Need(provoked > 0, "no failure could be provoked")
}

// cleanedUp sends the DEL that follows a failed ADD, while the container is
// still there or after its end, and wants nothing left.
func cleanedUp(t *trial.T, before lab.State, a *trial.Attachment, why string, alive bool) {
	del, when := a.Request(protocol.Del), "while the container lives, "
	if !alive {
		t.Must(a.Container.Kill())
		del, when = del.With(protocol.EnvNetns, ""), "after the container's end, "
	}
	reply := t.Call(del)
	t.Expect(reply.OK(), "DEL succeeds "+when+"after ADD failed because "+why, "%s", reply.Summary())
	t.Must(a.Container.Kill())
	t.NothingLeft(before, "DEL leaves nothing on the host "+when+"after ADD failed because "+why, a)
}

func delDelegateFails(t *trial.T) {
	pass := func(a *trial.Attachment) { a.Delegated(trial.Addresses()) }
	settled := t.SettledWith(pass)
	a := t.AttachWith(pass)
	t.Script(double.Script{protocol.Del: trial.Refuses(999, "cannot release today")})
	reply := a.Del()
	t.Expect(!reply.OK(), "DEL fails when the delegate's does", "%s", reply.Summary())
	t.Expect(strings.Contains(string(reply.Stdout), "cannot release today"), "the delegate's error is passed on", "%s", reply.Summary())
	t.Expect(link(a) == nil, "the interface is removed all the same", "%s is still in the container", a.IfName)
	t.Must(a.Container.Kill())
	t.NothingLeft(settled, "everything of its own on the host is removed all the same", a)
}

func delDaemonDown(t *trial.T) {
	remote := t.Subject.Type == "dhcp" || t.Subject.Conf.Get("ipam.daemonSocketPath") != nil
	t.Need(remote, "the plugin keeps its addresses on this host")
	reply := t.Place().Del()
	t.Expect(reply.OK(), "DEL succeeds without the daemon", "%s", reply.Summary())
}

func delErrorText(t *trial.T) {
	failed := 0
	try := func(why string, change func(r protocol.Request) protocol.Request) {
		a := t.Attach()
		reply := t.Call(change(a.Request(protocol.Del)))
		if reply.OK() {
			return
		}
		failed++
		text := strings.ToLower(string(reply.Stdout))
		for _, phrase := range []string{"not found", "no such file or directory"} {
			t.Expect(!strings.Contains(text, phrase), fmt.Sprintf("a failed DEL does not say %q: %s", phrase, why), "%s", reply.Summary())
		}
	}
	try("CNI_PATH is an empty directory", func(r protocol.Request) protocol.Request { return r.With(protocol.EnvPath, lab.StateDir) })
	t.Must(t.Host.WriteFile("/run/netns/file", nil, 0o644))
	try("CNI_NETNS is an ordinary file", func(r protocol.Request) protocol.Request { return r.With(protocol.EnvNetns, "/run/netns/file") })
	try("PATH is empty", func(r protocol.Request) protocol.Request { return r.With("PATH", "/nonexistent") })
	t.Need(failed > 0, "no DEL failed")
}

func delBounded(t *trial.T) {
	a := t.Attach()
	t.Must(t.Host.WriteFile("/run/xtables.lock", nil, 0o600))
	release, err := t.Host.HoldLocks(lockFiles(t))
	t.Must(err)
	defer release()
	r := a.Request(protocol.Del)
	r.Limit = 10 * time.Second
	reply := t.Call(r)
	t.Expect(!reply.TimedOut, "DEL returns within 10 s while somebody holds its locks", "%s; locks %v", reply.Summary(), lockFiles(t))
}

func delFlushesUDP(t *trial.T) {
	t.Need(t.Subject.Declares("portMappings"), "the configuration does not declare portMappings")
	a := t.Attach()
	serve(t, a.Container.Netns, trial.ContainerPort)
	port := uint16(trial.HostPort(a.Number))
	to := netip.AddrPortFrom(hostAddr(false), port)
	if err := t.Host.Eventually(settling, func() error { return reaches(t.Host.Outside, "udp", to, a.Container.Netns) }); err != nil {
		t.Block("the mapping does not work: %v", err)
	}
	tracked := func() []string {
		flows, err := t.Host.NL.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		t.Must(err)
		var out []string
		for _, f := range flows {
			if f.Forward.Protocol == unix.IPPROTO_UDP && f.Forward.DstPort == port {
				out = append(out, f.String())
			}
		}
		return out
	}
	if len(tracked()) == 0 {
		t.NotApplicable("the mapping works without connection tracking")
	}
	a.MustDel()
	left := tracked()
	t.Expect(len(left) == 0, "no UDP connection to the host port is tracked after DEL", "%s", strings.Join(left, "\n"))
}

func delAnyOrder(t *trial.T) {
	warm := t.PlaceChain()
	warm.MustAdd()
	warm.Del(warm.Reverse())
	t.Must(warm.First().Container.Kill())
	settled := t.HostState()
	try := func(why string, leaveOut int, order func(c *trial.Chain) []*trial.Attachment) {
		c := t.PlaceChain()
		c.MustAdd()
		list := order(c)
		for i, reply := range c.Del(list) {
			t.Expect(reply.OK(), fmt.Sprintf("DEL %s: %s succeeds", why, list[i].Subject.Name), "%s", reply.Summary())
		}
		t.Must(c.First().Container.Kill())
		if leaveOut < 0 {
			t.NothingLeft(settled, "nothing is left after DEL "+why)
		}
	}
	try("in reverse order", -1, (*trial.Chain).Reverse)
	try("in forward order", -1, func(c *trial.Chain) []*trial.Attachment { return c.Members })
	for i := range t.Subject.Members {
		try("without "+t.Subject.Members[i].Name, i, func(c *trial.Chain) []*trial.Attachment {
			return slices.Delete(c.Reverse(), len(c.Members)-1-i, len(c.Members)-i)
		})
	}
}
