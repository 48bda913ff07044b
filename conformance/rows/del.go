package rows

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var delRows = []trial.Row{
	{
		ID: "C079", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, DEL",
		Statement: "DEL removes what ADD made; silent, exit 0.",
		Judged:    "Host and container before ADD and after DEL; with a tight pool, others can have the address.",
		Check: func(t *trial.T) {
			removal(t, "DEL", func(a *trial.Attachment) protocol.Request { return a.Request(protocol.Del) })
		},
	},
	{
		ID: "C080", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, DEL",
		Statement: "Repeating DEL succeeds.",
		Judged:    "DEL three times, the last one without a container.",
		Check:     delAgain,
	},
	{
		ID: "C081", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, DEL",
		Statement: "DEL for something never added succeeds.",
		Judged:    "DEL on an untouched host, with and without a namespace.",
		Check:     delNeverAdded,
	},
	{
		ID: "C082", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "nerdctl calls DEL this way; plugins#810",
		Statement: "With empty CNI_NETNS all state outside the container is removed: address, NAT, shaping, spoof check, DNS.",
		Judged:    "The container is ended, then DEL with an empty CNI_NETNS: the host is as before ADD and the address is free.",
		Check: func(t *trial.T) {
			removal(t, "DEL with empty CNI_NETNS", func(a *trial.Attachment) protocol.Request {
				t.Must(a.Container.Kill())
				return a.Request(protocol.Del).With(protocol.EnvNetns, "")
			})
		},
	},
	{
		ID: "C083", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, DEL",
		Statement: "CNI_NETNS path gone: the same full cleanup.",
		Judged:    "As C082 with the path of the ended container.",
		Check: func(t *trial.T) {
			removal(t, "DEL after the namespace is gone", func(a *trial.Attachment) protocol.Request {
				t.Must(a.Container.Kill())
				return a.Request(protocol.Del)
			})
		},
	},
	{
		ID: "C084", Level: trial.Must, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4; typical after a reboot",
		Statement: "CNI_NETNS path exists but is not a namespace: the same full cleanup, exit 0.",
		Judged:    "As C083 with an ordinary file at the path.",
		Check: func(t *trial.T) {
			removal(t, "DEL with an ordinary file as namespace", func(a *trial.Attachment) protocol.Request {
				t.Must(a.Container.Kill())
				t.Must(t.Host.WriteFile(a.Netns, nil, 0o644))
				return a.Request(protocol.Del)
			})
		},
	},
	{
		ID: "C085", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, DEL",
		Statement: "Missing `prevResult`: exit 0 and full cleanup.",
		Judged:    "DEL without it, container alive.",
		Check: func(t *trial.T) {
			removal(t, "DEL without prevResult", func(a *trial.Attachment) protocol.Request {
				r := a.Request(protocol.Del)
				return r.Sending(mustConf(r.Stdin).Without("prevResult").JSON())
			})
		},
	},
	{
		ID: "C086", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, DEL",
		Statement: "Unparseable or foreign-version `prevResult`: still cleans, exit 0.",
		Judged:    "DEL with a string, an empty object, and a result of version 9.9.9.",
		Check:     delJunkPrev,
	},
	{
		ID: "C087", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Interface | trial.Chained, Section: "stricter than SPEC 4, DEL",
		Statement: "Missing `runtimeConfig`: still removes port mappings.",
		Judged:    "ADD with mappings, DEL without runtimeConfig.",
		Check:     delWithoutRuntimeConfig,
	},
	{
		ID: "C088", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, DEL",
		Statement: "Configuration changed since ADD (ranges removed or replaced, switches flipped, backend switched): still cleans.",
		Judged:    "DEL with each change that the configuration allows for.",
		Check:     delChangedConf,
	},
	{
		ID: "C089", Level: trial.Must, Profile: trial.Runtime, Scope: trial.Interface | trial.Chained, Section: "several networks per container",
		Statement: "Deleting one attachment leaves other attachments of the same container and network working.",
		Judged:    "eth0 and net1 added, net1 deleted: host state and traffic of eth0 as when it was alone.",
		Check:     delSibling,
	},
	{
		ID: "C090", Level: trial.Must, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, DEL",
		Statement: "If A's address was re-used by B, DEL of A does not remove B's rules.",
		Judged:    "A added and deleted, B added with the same address, A deleted again: the host is as B left it.",
		Check:     delReusedAddress,
	},
}

// tight shrinks the pool to two addresses where that can be done. A row lets one
// container pass first, so that what attachments share exists; if either it or
// the attachment in question keeps its address, Free finds the pool short.
func tight(a *trial.Attachment) { a.PoolOf(tightPool) }

const tightPool = 2

// removal adds an attachment, sends the DEL that spoil makes, and wants
// nothing left and the address free.
func removal(t *trial.T, what string, spoil func(*trial.Attachment) protocol.Request) {
	settled := t.SettledWith(tight)
	a := t.AttachWith(tight)
	removed(t, settled, a, what, spoil(a))
}

// removed sends a DEL and wants nothing left of the attachment.
func removed(t *trial.T, settled lab.State, a *trial.Attachment, what string, del protocol.Request) {
	reply := t.Call(del)
	t.Expect(reply.OK() && len(reply.Stdout) == 0, what+" succeeds in silence", "%s", reply.Summary())
	if reply.OK() && del.Env[protocol.EnvNetns] == a.Container.Path && a.Container.Alive() && a.Subject.Kind&trial.Interface != 0 {
		_, err := a.Container.NL.LinkByName(a.IfName)
		t.Expect(err != nil, what+" removes the interface", "%s is still in the container", a.IfName)
	}
	t.Must(a.Container.Kill())
	t.NothingLeft(settled, what+" leaves nothing on the host", a)
	t.Free(a, tightPool, what+" releases the address")
}

func delAgain(t *trial.T) {
	a := t.Attach()
	a.MustDel()
	reply := a.Del()
	t.Expect(reply.OK(), "a second DEL succeeds", "%s", reply.Summary())
	t.Must(a.Container.Kill())
	reply = t.Call(a.Request(protocol.Del).With(protocol.EnvNetns, ""))
	t.Expect(reply.OK(), "a third DEL, without the container, succeeds", "%s", reply.Summary())
}

func delNeverAdded(t *trial.T) {
	a := t.Place()
	for _, netns := range []string{a.Netns, ""} {
		reply := t.Call(a.Request(protocol.Del).With(protocol.EnvNetns, netns))
		t.Expect(reply.OK(), "DEL of what was never added succeeds with CNI_NETNS="+mustText(netns), "%s", reply.Summary())
	}
}

func delJunkPrev(t *trial.T) {
	for i, junk := range []struct {
		why  string
		prev any
	}{
		{"a string as prevResult", "junk"},
		{"an empty prevResult", map[string]any{}},
		{"a prevResult of version 9.9.9", map[string]any{"cniVersion": "9.9.9", "ips": "junk"}},
		{"a prevResult without addresses", map[string]any{"cniVersion": t.Subject.Latest()}},
	} {
		own := ownNetwork(i)
		settled := t.SettledWith(own)
		a := t.AttachWith(own)
		r := a.Request(protocol.Del)
		removed(t, settled, a, "DEL with "+junk.why, r.Sending(mustConf(r.Stdin).With("prevResult", junk.prev).JSON()))
	}
}

// ownNetwork gives each variant of a row a network of its own, with a pool of
// one, so that what one variant leaves does not spoil the next.
func ownNetwork(i int) func(*trial.Attachment) {
	return func(a *trial.Attachment) {
		tight(a)
		a.Conf = a.Conf.With("name", fmt.Sprintf("conformance-%d", i))
	}
}

func delWithoutRuntimeConfig(t *trial.T) {
	t.Need(t.Subject.Declares("portMappings"), "the configuration does not declare portMappings")
	removal(t, "DEL without runtimeConfig", func(a *trial.Attachment) protocol.Request {
		r := a.Request(protocol.Del)
		return r.Sending(mustConf(r.Stdin).Without("runtimeConfig").JSON())
	})
}

func delChangedConf(t *trial.T) {
	changes := changedConfs(t.Subject.Conf)
	t.Need(len(changes) > 0, "the configuration has nothing whose change DEL could notice")
	for i, change := range changes {
		own := ownNetwork(i)
		settled := t.SettledWith(own)
		a := t.AttachWith(own)
		r := a.Request(protocol.Del)
		removed(t, settled, a, "DEL after "+change.why, r.Sending(change.edit(mustConf(r.Stdin)).JSON()))
	}
}

// confChange is a way a user may have edited a configuration.
type confChange struct {
	why  string
	edit func(protocol.Conf) protocol.Conf
}

// changedConfs are the changes that make sense for this configuration.
func changedConfs(conf protocol.Conf) []confChange {
	var out []confChange
	if len(trial.Subnets(conf)) > 0 {
		out = append(out,
			confChange{"its ranges were removed", func(c protocol.Conf) protocol.Conf { return c.Without("ipam.ranges", "ipam.subnet") }},
			confChange{"its ranges were replaced", func(c protocol.Conf) protocol.Conf {
				return c.Without("ipam.ranges").With("ipam.subnet", "10.99.0.0/16")
			}})
	}
	if conf.Bool("ipMasq") {
		out = append(out,
			confChange{"ipMasq was switched off", func(c protocol.Conf) protocol.Conf { return c.With("ipMasq", false) }},
			confChange{"the masquerade backend was switched", func(c protocol.Conf) protocol.Conf { return c.With("ipMasqBackend", "nftables") }})
	}
	if conf.Bool("capabilities.portMappings") {
		out = append(out, confChange{"the backend was switched", func(c protocol.Conf) protocol.Conf { return c.With("backend", "nftables") }})
	}
	return out
}

// outbound asks the outside from the container and tells how it was seen.
func outbound(t *trial.T, a *trial.Attachment, port int) string {
	var seen []string
	families(a, func(v6 bool, _ netip.Addr) {
		to := lab.OutsideV4.Addr()
		if v6 {
			to = lab.OutsideV6.Addr()
		}
		var answer lab.Answer
		err := t.Host.Eventually(settling, func() (err error) {
			answer, err = a.Container.Ask("tcp", netip.AddrPortFrom(to, uint16(port)), netip.AddrPort{})
			return err
		})
		if err != nil {
			seen = append(seen, fmt.Sprintf("%s is not reached", to))
			return
		}
		seen = append(seen, fmt.Sprintf("%s is reached as %s", to, answer.SeenAs.Addr()))
	})
	return strings.Join(seen, ", ")
}

func delSibling(t *trial.T) {
	t.Settled()
	const port = 7000
	serve(t, t.Host.Outside, port)
	a := t.Attach()
	serve(t, a.Container.Netns, trial.ContainerPort)
	alone, before := t.HostState(), outbound(t, a, port)
	b := a.Sibling("net1")
	reply := b.Add()
	t.Require(b.Result != nil, "a second interface of the container can be added", "%s", reply.Summary())
	reply = b.Del()
	t.Expect(reply.OK(), "DEL of net1 succeeds", "%s", reply.Summary())
	t.NothingLeft(alone, "the host is as when eth0 was alone", b)
	after := outbound(t, a, port)
	t.Expect(before == after, "traffic of eth0 goes out as before: "+before, "%s", after)
	if t.Subject.Declares("portMappings") {
		published(t, a, "after DEL of net1, eth0's mapping still works")
	}
}

func delReusedAddress(t *trial.T) {
	only := func(a *trial.Attachment) { a.PoolOf(1) }
	a := t.AttachWith(only)
	a.MustDel()
	b := t.Place()
	only(b)
	if b.Prev != nil {
		b.Prev.IPs = a.Prev.IPs
	}
	b.MustAdd()
	before := t.HostState()
	reply := a.Del()
	t.Expect(reply.OK(), "a late DEL of A succeeds", "%s", reply.Summary())
	t.NothingLeft(before, "a late DEL of A, whose address B has now, changes nothing")
	if !protocol.Before(b.Version(), "0.4.0") {
		check := b.Check()
		t.Expect(check.OK(), "CHECK of B passes after the late DEL of A", "%s", check.Summary())
	}
}
