package rows

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

var faultRows = []trial.Row{
	{
		ID: "C185", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4; fault injection",
		Statement: "The plugin killed at any system call of ADD, then DEL: nothing is left.",
		Judged:    "ADD runs under ptrace and dies at 12 boundaries spread over all its system calls (its children's included); DEL after each.",
		Check:     killedAnywhere,
	},
	{
		ID: "C186", Level: trial.Should, Profile: trial.Netctl, Scope: trial.IPAM | trial.Delegating, Section: "plugins#252, cni#26",
		Statement: "After a reboot (links, namespaces, rules gone; files kept) no address stays reserved forever.",
		Judged:    "A pool of one is taken; the host comes up again with the same disk and another boot ID: the address can be had.",
		Check:     rebooted,
	},
	{
		ID: "C187", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "plugins#498",
		Statement: "A zero-length or truncated state file is treated as free, repaired, reported.",
		Judged:    "Every state file is emptied, then cut in half, after an ADD: DEL succeeds, and another container can be added.",
		Check:     truncated,
	},
	{
		ID: "C188", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4",
		Statement: "On a host with IPv6 disabled, or without ip6tables, IPv4-only configurations work.",
		Judged:    "ADD and DEL of an IPv4-only configuration on such a host.",
		Check:     withoutIPv6,
	},
	{
		ID: "C189", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Interface | trial.Chained, Section: "plugins#519",
		Statement: "On an nft-only host (no iptables binaries) everything works.",
		Judged:    "ADD with a PATH that has only nft; published ports and masquerading by traffic.",
		Check:     onlyNft,
	},
	{
		ID: "C190", Level: trial.Should, Profile: trial.Netctl, Scope: trial.All, Section: "stricter than SPEC 4",
		Statement: "Full disk: a clear error, no half-written reservation.",
		Judged:    "ADD without room on any private file system; once there is room, DEL works and with a tight pool nobody holds an address.",
		Check:     diskFull,
	},
	{
		ID: "C191", Level: trial.Should, Profile: trial.Netctl, Scope: trial.IPAM, Alone: true, Section: "stricter than SPEC 4",
		Statement: "With many reservations ADD and DEL take about as long as with none.",
		Judged:    "The quickest of seven ADDs and DELs with an empty pool and with thousands of reservations: less than twice as long plus 5 ms, in proportion to the start of a program measured beside them.",
		Check:     flatCost,
	},
	{
		ID: "C192", Level: trial.Should, Profile: trial.Netctl, Scope: trial.Interface, Section: "moby#44973",
		Statement: "A bridge at 1023 ports: the error says so, and STATUS reports 50 before it happens.",
		Judged:    "The bridge is filled with unused links; STATUS, then ADD.",
		Check:     bridgeFull,
	},
}

func killedAnywhere(t *trial.T) {
	killer, err := t.Host.Killer()
	t.Must(err)
	under := func(r protocol.Request, at int) protocol.Request {
		r.Args = []string{fmt.Sprint(at), r.Plugin}
		r.Plugin = killer
		r.Limit = time.Minute // every system call takes two switches more
		return r
	}
	settled := t.SettledWith(tight)
	whole := t.Place()
	tight(whole)
	if reply := whole.Took(t.Call(under(whole.Request(protocol.Add), 0))); whole.Result == nil {
		t.Block("ADD under ptrace failed: %s", reply.Summary())
	}
	whole.MustDel()
	t.Must(whole.Container.Kill())
	calls, err := t.Host.SystemCalls()
	t.Must(err)
	const points = 12
	for i := range points {
		at := 1 + calls*i/points
		a := t.Place()
		tight(a)
		t.Call(under(a.Request(protocol.Add), at))
		removed(t, settled, a, fmt.Sprintf("DEL after ADD was killed at system call %d of %d", at, calls), a.Request(protocol.Del))
		if t.Failed() {
			return // what is left would spoil the next comparison
		}
	}
}

func rebooted(t *trial.T) {
	a := t.Place()
	a.NeedPool(1)
	a.MustAdd()
	again, err := t.Host.Reboot()
	t.Must(err)
	t.Host = again
	b := t.Place()
	b.Conf = b.Conf.With("ipam", a.Conf.Get("ipam"))
	reply := b.Add()
	t.Expect(reply.OK(), "the address of a container of an earlier boot can be had", "%s", reply.Summary())
}

func truncated(t *trial.T) {
	tried := false
	for i, dir := range lab.Private() {
		for j, share := range []float64{0, 0.5} {
			own := func(a *trial.Attachment) {
				a.PoolOf(1)
				a.Conf = a.Conf.With("name", fmt.Sprintf("conformance-%d-%d", i, j))
			}
			a := t.AttachWith(own)
			cut, err := t.Host.Truncate(dir, share)
			t.Must(err)
			tried = tried || len(cut) > 0
			recovers(t, a, own, fmt.Sprintf("after the files in %s were cut to %d %%", dir, int(share*100)))
		}
	}
	t.Need(tried, "the plugin keeps no files")
}

// recovers wants DEL to work, and the next container to find what it needs.
func recovers(t *trial.T, a *trial.Attachment, own func(*trial.Attachment), when string) {
	reply := a.Del()
	t.Expect(reply.OK(), "DEL succeeds "+when, "%s", reply.Summary())
	t.Must(a.Container.Kill())
	b := t.Place()
	own(b)
	reply = b.Add()
	if t.Expect(reply.OK(), "another container can be added "+when, "%s", reply.Summary()) {
		b.Del()
	}
}

// onlyV4 leaves the IPv4 half of a configuration.
func onlyV4(conf protocol.Conf) protocol.Conf {
	six := func(v any) bool { return strings.Contains(mustText(v), ":/") || strings.Contains(mustText(v), "::") }
	for _, path := range []string{"ipam.ranges", "ipam.routes", "ipam.addresses"} {
		if list, ok := conf.Get(path).([]any); ok {
			conf = conf.With(path, slices.DeleteFunc(slices.Clone(list), six))
		}
	}
	return conf
}

func withoutIPv6(t *trial.T) {
	a := t.Place()
	a.Conf = onlyV4(a.Conf)
	if a.Prev != nil {
		a.Prev.IPs, a.Prev.Routes = a.Prev.IPs[:1], a.Prev.Routes[:1]
	}
	for _, n := range []*lab.Netns{t.Host.Netns, a.Container.Netns} {
		for _, key := range []string{"all", "default"} {
			t.Must(n.Sysctl("ipv6/conf/"+key+"/disable_ipv6", "1"))
		}
	}
	tools, err := t.Host.OnlyTools("iptables", "iptables-save", "iptables-restore", "nft", "ip", "tc", "bridge", "conntrack")
	t.Must(err)
	for _, verb := range []string{protocol.Add, protocol.Del} {
		reply := a.Took(t.Call(a.Request(verb).With("PATH", tools)))
		t.Expect(reply.OK(), verb+" of an IPv4-only configuration succeeds", "%s", reply.Summary())
	}
}

func onlyNft(t *trial.T) {
	tools, err := t.Host.OnlyTools("nft")
	t.Must(err)
	const port = 7000
	serve(t, t.Host.Outside, port)
	plain := t.Attach()
	want := masked(outbound(t, plain, port), plain)
	plain.MustDel()
	t.Must(t.Host.FlushFirewall())

	a := t.Place()
	reply := a.Took(t.Call(a.Request(protocol.Add).With("PATH", tools)))
	t.Require(a.Result != nil, "ADD succeeds where there is no iptables", "%s", reply.Summary())
	if t.Subject.Declares("portMappings") {
		serve(t, a.Container.Netns, trial.ContainerPort)
		published(t, a, "without iptables")
	}
	got := masked(outbound(t, a, port), a)
	t.Expect(got == want, "traffic goes out as it does with iptables: "+want, "%s", got)
	del := t.Call(a.Request(protocol.Del).With("PATH", tools))
	t.Expect(del.OK(), "DEL succeeds where there is no iptables", "%s", del.Summary())
}

// masked is outbound's answer with the attachment's own addresses made equal.
func masked(text string, a *trial.Attachment) string {
	families(a, func(_ bool, own netip.Addr) {
		text = strings.ReplaceAll(text, " as "+own.String(), " as its own address")
	})
	return text
}

func diskFull(t *trial.T) {
	t.SettledWith(tight)
	a := t.Place()
	tight(a)
	empty, err := t.Host.FillDisk()
	t.Must(err)
	reply := a.Took(t.Call(a.Request(protocol.Add)))
	if !reply.OK() {
		_, err := reply.Failure()
		t.Expect(err == nil && !reply.Crashed(), "one JSON error document when the disk is full", "%v; %s", err, reply.Summary())
	}
	t.Must(empty())
	del := a.Del()
	t.Expect(del.OK(), "DEL succeeds once there is room", "%s", del.Summary())
	t.Must(a.Container.Kill())
	t.Free(a, tightPool, "no reservation is left")
}

// addressFile is the store's file for an attachment's first address, if the
// store is host-local's: a file per address, named by it.
func addressFile(t *trial.T, a *trial.Attachment) string {
	files, err := t.Host.Files(func(path string) bool {
		return slices.ContainsFunc(resultAddresses(a), func(p netip.Prefix) bool { return filepath.Base(path) == p.Addr().String() })
	})
	t.Must(err)
	if len(files) == 0 {
		return ""
	}
	return files[0]
}

// reservations is how many a store of files is filled with; one that can only
// be filled through the plugin gets fewer.
const (
	reservations    = 8192
	reservationsAdd = 400
)

func flatCost(t *trial.T) {
	list := trial.Subnets(t.Subject.Conf)
	t.Need(len(list) > 0 && list[0].Bits() <= list[0].Addr().BitLen()-14, "the pool is not large enough")
	first := t.Attach()
	before, controlBefore := quickest(t)
	n := reservations
	if file := addressFile(t, first); file != "" {
		entries := map[string]string{}
		for i := range n {
			entries[nth(list[0], 1000+i).String()] = fmt.Sprintf("other%d\r\neth0", i)
		}
		t.Must(t.Host.WriteFiles(filepath.Dir(file), entries))
	} else {
		n = reservationsAdd
		fillThrough(t, n)
	}
	after, controlAfter := quickest(t)
	slower := max(1, float64(controlAfter)/float64(controlBefore))
	limit := time.Duration(slower * float64(2*before+5*time.Millisecond))
	t.Expect(after < limit, fmt.Sprintf("ADD and DEL with %d reservations take less than %s", n, rounded(limit)), "%s (with none: %s)", rounded(after), rounded(before))
}

// quickest is the least time an ADD and its DEL take, and the least time the
// start of a program that does nothing takes at the same time.
func quickest(t *trial.T) (least, control time.Duration) {
	least, control = time.Hour, time.Hour
	a := t.Place()
	for range 7 {
		control = min(control, t.Host.Startup())
		add := a.Add()
		del := a.Del()
		if !add.OK() || !del.OK() {
			t.Block("ADD or DEL failed: %s; %s", add.Summary(), del.Summary())
		}
		least = min(least, add.Took+del.Took)
	}
	return least, max(control, time.Microsecond)
}

// rounded is a time as findings show it.
func rounded(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }

// fillThrough makes reservations by ADDs of containers that do not exist.
func fillThrough(t *trial.T, n int) {
	a := t.Place()
	for i := range n {
		a.ID = fmt.Sprintf("other%d", i)
		if reply := a.Add(); !reply.OK() {
			t.Block("ADD number %d failed: %s", i, reply.Summary())
		}
	}
}

func bridgeFull(t *trial.T) {
	a := t.At(t.Subject.Latest())
	a.MustAdd()
	_, bridge := bridged(t, a)
	t.Must(t.Host.FillBridge(bridge))
	if !protocol.Before(a.Version(), "1.1.0") {
		t.Code(a.Request(protocol.Status), "no port is left on the bridge", protocol.CodeUnavailable)
	}
	b := t.Place()
	f := t.Refused(b.Request(protocol.Add), "no port is left on the bridge")
	if f != nil {
		said := contains(f.Text(), "1023") || contains(f.Text(), "1024") || contains(f.Text(), "port")
		t.Expect(said && contains(f.Text(), bridge.Attrs().Name), "the error names the bridge and its ports", "%s", f.Text())
	}
}
