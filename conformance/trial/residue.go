package trial

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
)

// HostState describes the host now.
func (t *T) HostState() lab.State {
	s, err := t.Host.State()
	t.Must(err)
	return s
}

// Settled is the state of a host on which an attachment came and went, so that
// whatever attachments share exists and only what one owns can differ later.
func (t *T) Settled() lab.State { return t.SettledWith(nil) }

// SettledWith is Settled with a change to the passing attachment.
func (t *T) SettledWith(change func(*Attachment)) lab.State {
	a := t.AttachWith(change)
	a.MustDel()
	t.Must(a.Container.Kill())
	return t.HostState()
}

// Unchanged wants the host to be exactly as before. Only places to keep state
// in, directories and empty lock files, may appear.
func (t *T) Unchanged(before lab.State, doing string) bool {
	changes := slices.DeleteFunc(before.Diff(t.HostState()), emptyPlace)
	return t.expectNone(changes, doing+" changes nothing on the host")
}

// emptyPlace reports whether a change is a new directory or a new empty file.
func emptyPlace(c lab.Change) bool {
	return c.Kind() == "file" && c.Appeared() && (strings.HasPrefix(c.After, "d") || strings.Contains(c.After, " 0 bytes "))
}

func (t *T) expectNone(changes []lab.Change, want string) bool {
	return t.Expect(len(changes) == 0, want, "%s", list(changes))
}

// NothingLeft wants the host to be as before the attachments, apart from the
// content of files that were there already (cursors, locks and databases may
// move) and from links the lab made itself. The kernel takes links of dead
// namespaces away in its own time, so it gets a moment for those.
func (t *T) NothingLeft(before lab.State, want string, attached ...*Attachment) bool {
	var left []lab.Change
	t.Host.Eventually(2*time.Second, func() error {
		left = residue(before.Diff(t.HostState()), attached)
		if len(left) > 0 && !slices.ContainsFunc(left, forGood) {
			return fmt.Errorf("%d left", len(left))
		}
		return nil
	})
	return t.expectNone(left, want)
}

// forGood reports whether what a change left behind stays until somebody
// removes it, unlike what ends with a link.
func forGood(c lab.Change) bool {
	return slices.Contains([]string{"firewall", "file", "rule"}, c.Kind())
}

// residue keeps the differences that are an attachment's remains.
func residue(changes []lab.Change, attached []*Attachment) []lab.Change {
	var left []lab.Change
	for _, c := range changes {
		content := c.Kind() == "file" && c.Before != "" && c.After != ""
		if !content && !emptyPlace(c) && !onBench(c, attached) {
			left = append(left, c)
		}
	}
	return left
}

// onBench reports whether a change is about a link the lab made for one of
// the attachments, or about the bench itself.
func onBench(c lab.Change, attached []*Attachment) bool {
	kind := c.Kind()
	if kind == "firewall" || kind == "file" || kind == "rule" {
		return false
	}
	for _, a := range attached {
		if a.Prev == nil {
			continue
		}
		for _, link := range a.Prev.Interfaces {
			if link.Sandbox == "" && strings.Contains(c.Key+" ", " "+link.Name+" ") {
				return true
			}
		}
	}
	return false
}

func list(changes []lab.Change) string {
	const most = 12
	var lines []string
	for i, c := range changes {
		if i == most {
			lines = append(lines, fmt.Sprintf("... and %d more", len(changes)-most))
			break
		}
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

// PoolOf shrinks the attachment's network to n addresses per range, where the
// IPAM configuration is written like host-local's: that makes a leaked address
// visible from outside, whatever the plugin keeps it in. It reports whether
// the configuration could be changed so.
func (a *Attachment) PoolOf(n int) bool {
	ipam, ok := shrunk(a.Conf, n)
	if ok {
		a.Conf = a.Conf.With("ipam", ipam)
	}
	return ok
}

// NeedPool is PoolOf that makes the row not applicable when it cannot be done.
func (a *Attachment) NeedPool(n int) {
	a.t.Need(a.PoolOf(n), "the size of the pool cannot be set: ipam has neither subnet nor ranges")
}

// Pooled reports whether PoolOf would work for the subject.
func (t *T) Pooled() bool {
	_, ok := shrunk(t.Subject.Conf, 1)
	return ok
}

func shrunk(conf protocol.Conf, n int) (map[string]any, bool) {
	ipam, _ := conf.Clone().Get("ipam").(map[string]any)
	subnets := subnets(ipam)
	if len(subnets) == 0 {
		return nil, false
	}
	var sets []any
	for _, p := range subnets {
		first := p.Masked().Addr()
		for range 10 {
			first = first.Next()
		}
		last := first
		for range n - 1 {
			last = last.Next()
		}
		sets = append(sets, []any{map[string]any{"subnet": p.Masked().String(), "rangeStart": first.String(), "rangeEnd": last.String()}})
	}
	for _, key := range []string{"subnet", "rangeStart", "rangeEnd", "gateway"} {
		delete(ipam, key)
	}
	ipam["ranges"] = sets
	return ipam, true
}

// Subnets are the networks of a host-local-like configuration, one per range
// set.
func Subnets(conf protocol.Conf) []netip.Prefix {
	ipam, _ := conf.Get("ipam").(map[string]any)
	return subnets(ipam)
}

func subnets(ipam map[string]any) []netip.Prefix {
	var out []netip.Prefix
	add := func(v any) {
		text, _ := v.(string)
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	add(ipam["subnet"])
	sets, _ := ipam["ranges"].([]any)
	for _, set := range sets {
		ranges, _ := set.([]any)
		if len(ranges) == 0 {
			continue
		}
		first, _ := ranges[0].(map[string]any)
		add(first["subnet"])
	}
	return out
}

// Free wants every address of a pool of n to be available: n other containers
// can have them. The attachment must have been added with PoolOf(n).
func (t *T) Free(a *Attachment, n int, want string) {
	if !t.Pooled() {
		return
	}
	var others []*Attachment
	for range n {
		b := t.Place()
		b.Conf = b.Conf.With("ipam", a.Conf.Get("ipam")).With("name", a.Conf.Get("name"))
		reply := b.Add()
		if !t.Expect(reply.OK(), want, "another container cannot have the address: %s", reply.Summary()) {
			break
		}
		others = append(others, b)
	}
	for _, b := range others {
		b.MustDel()
		t.Must(b.Container.Kill())
	}
}
