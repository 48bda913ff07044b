package rows

import (
	"fmt"
	"path/filepath"

	"github.com/netctl/netctl/conformance/double"
	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var gcRows = []trial.Row{
	{
		ID: "C121", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, GC",
		Statement: "GC accepts `cni.dev/valid-attachments`: an array of objects with `containerID` and `ifname`.",
		Judged:    "GC with two attachments, both listed.",
		Check:     gcAccepts,
	},
	{
		ID: "C122", Level: trial.Should, Profile: trial.Runtime, Scope: trial.All, Section: "libcni sends both spellings",
		Statement: "GC accepts the older spelling `cni.dev/attachments` when the first is absent.",
		Judged:    "GC with the older key alone: what is listed stays, what is not listed goes.",
		Check:     gcOldKey,
	},
	{
		ID: "C123", Level: trial.Must, Profile: trial.Spec, Scope: trial.IPAM | trial.Delegating, Section: "SPEC 4, GC",
		Statement: "Reservations of this network that are not listed are released.",
		Judged:    "A pool of two, both taken, one listed: one address is free afterwards, the other is not.",
		Check:     gcReleases,
	},
	{
		ID: "C124", Level: trial.Must, Profile: trial.Spec, Scope: trial.Interface | trial.Chained, Section: "SPEC 4, GC",
		Statement: "Host-side rules and devices of vanished attachments are removed.",
		Judged:    "Two attachments, one container ended, GC listing the other: the host as before the first.",
		Check:     gcRemovesHostSide,
	},
	{
		ID: "C125", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, GC",
		Statement: "Listed attachments are untouched.",
		Judged:    "Host and containers before and after a GC that lists everything.",
		Check:     gcKeepsListed,
	},
	{
		ID: "C126", Level: trial.Must, Profile: trial.Spec, Scope: trial.All, Section: "SPEC 4, GC",
		Statement: "The scope is this network only; other networks' state never changes.",
		Judged:    "An attachment on another network; GC of this one with nothing listed.",
		Check:     gcOtherNetwork,
	},
	{
		ID: "C127", Level: trial.Must, Profile: trial.Runtime, Scope: trial.All, Section: "CRI-O sends null",
		Statement: "`[]` and `null` both mean that nothing is valid.",
		Judged:    "An ended container's attachment and GC with each: nothing is left and the address is free.",
		Check:     gcEmptyAndNull,
	},
	{
		ID: "C128", Level: trial.May, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, GC",
		Statement: "Key absent altogether: refused with code 7, nothing is deleted.",
		Judged:    "GC without either key after an ADD; host before and after.",
		Check:     gcWithoutKey,
	},
	{
		ID: "C129", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, Delegation",
		Statement: "GC is forwarded to the delegate.",
		Judged:    "The delegate has seen GC with the same valid attachments.",
		Check:     gcDelegated,
	},
	{
		ID: "C130", Level: trial.Must, Profile: trial.Spec, Scope: trial.Delegating, Section: "SPEC 4, GC",
		Statement: "GC continues after an error and reports all errors in one document.",
		Judged:    "The delegate's GC fails while an attachment has vanished: own remains are gone, and the delegate's error is in the document.",
		Check:     gcContinues,
	},
	{
		ID: "C131", Level: trial.Must, Profile: trial.Netctl, Scope: trial.Interface | trial.Chained, Section: "stricter than SPEC 4, GC",
		Statement: "Shared objects (bridge, base chains) survive GC.",
		Judged:    "GC with nothing left to keep: the host stays as it was when an attachment had come and gone.",
		Check:     gcKeepsShared,
	},
	{
		ID: "C132", Level: trial.Must, Profile: trial.Netctl, Scope: trial.IPAM, Section: "host-local's old file format",
		Statement: "Old-format reservations that hold only a container ID are matched on container ID alone.",
		Judged:    "For a store of one file per address: a file with only an ID is kept while that ID is listed, and released when not.",
		Check:     gcOldFormat,
	},
	{
		ID: "C133", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4, GC",
		Statement: "GC is idempotent, and safe while an ADD is running.",
		Judged:    "A second GC changes nothing; eight ADDs run beside GCs that list them, all work and stay.",
		Check:     gcIdempotent,
	},
	{
		ID: "C134", Level: trial.Should, Profile: trial.Spec, Scope: trial.Interface, Section: "SPEC 4, GC",
		Statement: "GC does not enter or alter namespaces that still exist.",
		Judged:    "A living container that is not listed: its links, addresses and routes before and after.",
		Check:     gcLeavesNamespaces,
	},
}

// gcAttach adds an attachment of a version that has GC.
func gcAttach(t *trial.T, change func(*trial.Attachment)) *trial.Attachment {
	a := t.At("1.1.0")
	if change != nil {
		change(a)
	}
	a.MustAdd()
	return a
}

// gcSettled is Settled for attachments that can be collected.
func gcSettled(t *trial.T, change func(*trial.Attachment)) lab.State {
	a := gcAttach(t, change)
	a.MustDel()
	t.Must(a.Container.Kill())
	return t.HostState()
}

func gcAccepts(t *trial.T) {
	a, b := gcAttach(t, nil), gcAttach(t, nil)
	reply := t.Call(gcKeeping(a, b))
	t.Expect(reply.OK() && len(reply.Stdout) == 0, "GC succeeds in silence", "%s", reply.Summary())
}

func gcOldKey(t *trial.T) {
	settled := gcSettled(t, tight)
	a := gcAttach(t, tight)
	t.Must(a.Container.Kill())
	r := a.Request(protocol.GC)
	old := func(valid []any) protocol.Request {
		return r.Sending(mustConf(r.Stdin).WithKey("cni.dev/attachments", valid).JSON())
	}
	listed := t.HostState()
	reply := t.Call(old([]any{map[string]any{"containerID": a.ID, "ifname": a.IfName}}))
	t.Expect(reply.OK(), "GC accepts cni.dev/attachments", "%s", reply.Summary())
	t.NothingLeft(listed, "GC that lists the attachment by the older key changes nothing")
	t.Call(old([]any{}))
	t.NothingLeft(settled, "GC that lists nothing by the older key collects", a)
	t.Free(a, tightPool, "GC by the older key releases the address")
}

func gcReleases(t *trial.T) {
	two := func(a *trial.Attachment) { a.NeedPool(2) }
	a, b := gcAttach(t, two), gcAttach(t, two)
	t.Must(b.Container.Kill())
	reply := t.Call(gcKeeping(a))
	t.Require(reply.OK(), "GC succeeds", "%s", reply.Summary())
	c, d := t.At("1.1.0"), t.At("1.1.0")
	two(c)
	two(d)
	reply = c.Add()
	t.Expect(reply.OK(), "the address that was not listed is free", "%s", reply.Summary())
	if reply.OK() {
		reply = d.Add()
		t.Expect(!reply.OK(), "the address that was listed is still taken", "%s", reply.Summary())
	}
}

func gcRemovesHostSide(t *trial.T) {
	gcSettled(t, nil)
	a := gcAttach(t, nil)
	before := t.HostState()
	b := gcAttach(t, nil)
	t.Must(b.Container.Kill())
	left := t.HostState().Diff(before)
	reply := t.Call(gcKeeping(a))
	t.Expect(reply.OK(), "GC succeeds", "%s", reply.Summary())
	t.Need(len(left) > 0, "nothing remains of a container that has ended")
	t.NothingLeft(before, "nothing is left of the vanished attachment", b)
}

func gcKeepsListed(t *trial.T) {
	a, b := gcAttach(t, nil), gcAttach(t, nil)
	host := t.HostState()
	inside, err := a.Container.State()
	t.Must(err)
	reply := t.Call(gcKeeping(a, b))
	t.Expect(reply.OK(), "GC succeeds", "%s", reply.Summary())
	t.NothingLeft(host, "a GC that lists everything changes nothing on the host")
	after, err := a.Container.State()
	t.Must(err)
	for _, c := range inside.Diff(after) {
		t.Expect(false, "a listed container is untouched", "%s", c)
	}
	check := a.Check()
	t.Expect(check.OK(), "CHECK of a listed attachment passes", "%s", check.Summary())
}

func gcOtherNetwork(t *trial.T) {
	other := func(a *trial.Attachment) {
		tight(a)
		a.Conf = a.Conf.With("name", "conformance-other")
	}
	x := gcAttach(t, other)
	a := t.At("1.1.0")
	before := t.HostState()
	t.Call(gcWith(a, []any{}))
	t.NothingLeft(before, "GC of another network changes nothing")
	check := x.Check()
	t.Expect(check.OK(), "CHECK of the other network's attachment passes", "%s", check.Summary())
}

func gcEmptyAndNull(t *trial.T) {
	for i, valid := range []any{[]any{}, nil} {
		own := ownNetwork(i)
		settled := gcSettled(t, own)
		a := gcAttach(t, own)
		t.Must(a.Container.Kill())
		reply := t.Call(gcWith(a, valid))
		t.Expect(reply.OK(), "GC succeeds with "+mustText(valid), "%s", reply.Summary())
		t.NothingLeft(settled, "GC with "+mustText(valid)+" collects everything", a)
		t.Free(a, tightPool, "GC with "+mustText(valid)+" releases the address")
	}
}

func gcWithoutKey(t *trial.T) {
	a := gcAttach(t, nil)
	before := t.HostState()
	t.Code(a.Request(protocol.GC), "no list of valid attachments", protocol.CodeConfig)
	t.NothingLeft(before, "GC without a list changes nothing")
}

func gcDelegated(t *trial.T) {
	a := gcAttach(t, func(a *trial.Attachment) { a.Delegated(trial.Addresses()) })
	r := gcKeeping(a)
	reply := t.Call(r)
	t.Expect(reply.OK(), "GC succeeds", "%s", reply.Summary())
	for _, call := range t.Calls() {
		if call.Verb != protocol.GC {
			continue
		}
		got, want := mustConf(call.Stdin)[validKey], mustConf(r.Stdin)[validKey]
		t.Expect(mustText(got) == mustText(want), "the delegate sees the same valid attachments", "%s", mustText(got))
		return
	}
	t.Expect(false, "the delegate sees GC", "%v", double.Verbs(t.Calls()))
}

func gcContinues(t *trial.T) {
	pass := func(a *trial.Attachment) { a.Delegated(trial.Addresses()) }
	settled := gcSettled(t, pass)
	a := gcAttach(t, pass)
	t.Must(a.Container.Kill())
	t.Script(double.Script{protocol.GC: trial.Refuses(999, "cannot collect today")})
	f := t.Refused(gcWith(a, []any{}), "the delegate's GC fails")
	if f != nil {
		t.Expect(contains(f.Text(), "cannot collect today"), "the delegate's error is reported", "%s", f.Text())
	}
	t.NothingLeft(settled, "its own remains are collected all the same", a)
}

func gcKeepsShared(t *trial.T) {
	gcSettled(t, nil)
	a := t.At("1.1.0")
	before := t.HostState()
	reply := t.Call(gcWith(a, []any{}))
	t.Expect(reply.OK(), "GC succeeds", "%s", reply.Summary())
	t.NothingLeft(before, "shared objects survive GC")
}

func gcOldFormat(t *trial.T) {
	a := gcAttach(t, func(a *trial.Attachment) { a.PoolOf(1) })
	files, err := t.Host.Files(func(path string) bool {
		for _, p := range resultAddresses(a) {
			if filepath.Base(path) == p.Addr().String() {
				return true
			}
		}
		return false
	})
	t.Must(err)
	t.Need(len(files) > 0, "the store does not have a file per address")
	for _, file := range files {
		t.Must(t.Host.WriteFile(file, []byte(a.ID), 0o600))
	}
	b := t.At("1.1.0")
	b.PoolOf(1)
	t.Call(gcKeeping(a))
	t.Expect(!b.Add().OK(), "a file with only a listed container ID is kept", "its address was given away")
	t.Call(gcWith(a, []any{}))
	reply := b.Add()
	t.Expect(reply.OK(), "a file with only an unlisted container ID is released", "%s", reply.Summary())
}

func gcIdempotent(t *trial.T) {
	a := gcAttach(t, nil)
	t.Call(gcKeeping(a))
	before := t.HostState()
	reply := t.Call(gcKeeping(a))
	t.Expect(reply.OK(), "a second GC succeeds", "%s", reply.Summary())
	t.NothingLeft(before, "a second GC changes nothing")
	all := []*trial.Attachment{a}
	for range 8 {
		all = append(all, t.At("1.1.0"))
	}
	var requests []protocol.Request
	for _, b := range all[1:] {
		requests = append(requests, b.Request(protocol.Add), gcKeeping(all[0], all[1:]...))
	}
	for i, reply := range t.Parallel(requests) {
		t.Expect(reply.OK(), fmt.Sprintf("%s beside others succeeds", requests[i].Verb()), "%s", reply.Summary())
		if i%2 == 0 {
			all[1+i/2].Took(reply)
		}
	}
	for _, b := range all[1:] {
		if b.Result != nil {
			check := b.Check()
			t.Expect(check.OK(), "CHECK of an attachment added beside GC passes", "%s", check.Summary())
		}
	}
}

func gcLeavesNamespaces(t *trial.T) {
	a := gcAttach(t, nil)
	before, err := a.Container.State()
	t.Must(err)
	t.Call(gcWith(a, []any{}))
	after, err := a.Container.State()
	t.Must(err)
	for _, c := range before.Diff(after) {
		t.Expect(false, "a living container is not touched", "%s", c)
	}
}
