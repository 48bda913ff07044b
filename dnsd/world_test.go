package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/test/netns"
	"github.com/netctl/netctl/test/tidy"
)

// TestMain plays the resolver itself when it is called by its name, as the
// client does.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "dnsd":
		os.Exit(Main(os.Args[1:], os.Stderr))
	case "dnsd-crash":
		panic("as asked for")
	case "floor":
		floor(os.Args)
	case "asker":
		os.Exit(exitStatus(asker(os.Args)))
	case "author":
		os.Exit(exitStatus(author(os.Args)))
	case "lookup-go":
		os.Exit(lookupGo(os.Args[1]))
	case "upstream":
		quickUpstream()
	default:
		// By default the race detector has each process sleep for a second
		// before it ends.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
		os.Exit(tidy.Run(m.Run))
	}
}

// world is a host in a namespace of its own, with networks and containers.
type world struct {
	t          testing.TB
	host       *netns.Namespace
	dir        string // the state directory
	aside      string // the test's own files
	resolvConf string
	flags      []string
	shipped    string // a program to run instead of this test

	mu       sync.Mutex // while the script is written
	book     *ledger.Ledger
	networks map[string]testNetwork
	age      time.Time
}

type testNetwork struct {
	device   string
	gateways []netip.Prefix
	internal bool
	next     int
}

// container is a namespace with an attachment.
type container struct {
	*netns.Namespace
	w   *world
	key ledger.Key
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, host: namespace(t), dir: t.TempDir(), networks: map[string]testNetwork{}, age: time.Unix(1000, 0)}
	w.aside = t.TempDir()
	w.resolvConf = filepath.Join(w.aside, "resolv.conf")
	t.Cleanup(func() {
		if races, _ := filepath.Glob(filepath.Join(w.aside, "race*")); len(races) > 0 {
			text, _ := os.ReadFile(races[0])
			t.Errorf("the resolver has a data race:\n%s", text)
		}
	})
	w.setUpstream()
	var err error
	if w.book, err = ledger.Open(w.dir); err != nil {
		t.Fatal(err)
	}
	return w
}

func namespace(t testing.TB) *netns.Namespace {
	t.Helper()
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func (w *world) setUpstream(servers ...string) {
	w.t.Helper()
	text := ""
	for _, s := range servers {
		text += "nameserver " + s + "\n"
	}
	tmp := w.resolvConf + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(tmp, w.resolvConf); err != nil {
		w.t.Fatal(err)
	}
}

// record is what the ledger has of a key.
func (w *world) record(k ledger.Key) (r ledger.Record) {
	w.t.Helper()
	err := w.book.View(func(tx *ledger.Tx) (err error) {
		r, _, err = tx.Attachment(k)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// own is the container's first name.
func (c *container) own() string { return strings.TrimPrefix(c.key.Container, "id-") }

// run runs a command line in a namespace.
func run(t testing.TB, n *netns.Namespace, line string) {
	t.Helper()
	words := strings.Fields(line)
	if err := n.Run(words[0], words[1:]...); err != nil {
		t.Fatal(err)
	}
}

// network makes a bridge with gateway addresses.
func (w *world) network(name string, gateways ...string) {
	w.t.Helper()
	n := testNetwork{device: "br-" + name, next: 2}
	run(w.t, w.host, "ip link add "+n.device+" type bridge")
	for _, g := range gateways {
		p := netip.MustParsePrefix(g)
		n.gateways = append(n.gateways, p)
		nodad := ""
		if p.Addr().Is6() {
			nodad = " nodad"
		}
		run(w.t, w.host, fmt.Sprintf("ip addr add %s dev %s%s", p, n.device, nodad))
	}
	run(w.t, w.host, "ip link set "+n.device+" up")
	w.networks[name] = n
}

// container makes a container with a first attachment; names are its own ones.
func (w *world) container(network string, names ...string) *container {
	w.t.Helper()
	c := &container{Namespace: namespace(w.t), w: w, key: ledger.Key{Container: "id-" + names[0]}}
	c.attach(network, "eth0", names...)
	return c
}

// attach links the container to a network and writes the record.
func (c *container) attach(network, ifName string, names ...string) {
	w := c.w
	w.t.Helper()
	n := w.networks[network]
	id := fmt.Sprintf("v%x%s", n.next, network)
	c.veth(id, n.device, ifName)
	r := ledger.Record{
		Key:   ledger.Key{Network: network, Container: c.key.Container, IfName: ifName},
		Names: ledger.Names{Own: names, Device: n.device, Internal: n.internal},
	}
	for _, g := range n.gateways {
		a := ledger.Address{Prefix: netip.PrefixFrom(nth(g, n.next), g.Bits()), Gateway: g.Addr()}
		r.Addresses = append(r.Addresses, a)
		nodad := ""
		if a.Gateway.Is6() {
			nodad = " nodad"
		}
		run(w.t, c.Namespace, fmt.Sprintf("ip addr add %s dev %s%s", a.Prefix, ifName, nodad))
	}
	n.next++
	w.networks[network] = n
	c.key = r.Key
	w.put(r)
}

// veth links the container to a bridge. The far end is made in the
// container's namespace through a file descriptor, so that nothing needs a name.
func (c *container) veth(id, bridge, ifName string) {
	w := c.w
	w.t.Helper()
	holder, err := os.Open(c.Path())
	if err != nil {
		w.t.Fatal(err)
	}
	defer holder.Close()
	link := fmt.Sprintf("ip link add %s type veth peer name %s netns %s", id, ifName, c.Path())
	run(w.t, w.host, link)
	run(w.t, w.host, fmt.Sprintf("ip link set %s master %s up", id, bridge))
	run(w.t, c.Namespace, "ip link set "+ifName+" up")
	w.awaitCarrier(w.host, bridge)
	w.awaitCarrier(c.Namespace, ifName)
}

// awaitCarrier waits until a link is in use: the kernel drops what is sent by it
// before, and on a busy machine takes its time to notice the other end.
func (w *world) awaitCarrier(n *netns.Namespace, link string) {
	w.t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		out, err := n.Output("ip", "-o", "link", "show", "dev", link)
		if err == nil && strings.Contains(out, " state UP ") {
			return
		}
		if time.Since(start) > patience {
			w.t.Fatalf("link %s has no carrier: %s, %v", link, out, err)
		}
	}
}

// nth is an address of a subnet.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// put writes a record, younger than all before.
func (w *world) put(r ledger.Record) uint64 {
	w.t.Helper()
	if r.Created.IsZero() {
		w.age = w.age.Add(time.Second)
		r.Created = w.age
	}
	return w.update(func(tx *ledger.Tx) error { return tx.Put(r) })
}

func (w *world) remove(k ledger.Key) uint64 {
	w.t.Helper()
	return w.update(func(tx *ledger.Tx) error { _, _, err := tx.Delete(k); return err })
}

// damageLedger cuts the file in the middle.
func (w *world) damageLedger() {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "ledger-*.db"))
	if err != nil || len(files) != 1 {
		w.t.Fatalf("ledgers %v, %v", files, err)
	}
	if err := os.Truncate(files[0], 5000); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(fn func(*ledger.Tx) error) (generation uint64) {
	w.t.Helper()
	err := w.book.Update(func(tx *ledger.Tx) error {
		err := fn(tx)
		generation = tx.Generation()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return generation
}

func announce(dir, program string, generation uint64, network string) error {
	_, err := client.Announce(context.Background(), dir, program, client.Change{Generation: generation, Network: network})
	return err
}

// sync is what a plugin does after a change, but for the impatience: a busy
// machine may need longer to start a program.
func (w *world) sync(generation uint64, network string) (err error) {
	for start := time.Now(); ; {
		err = w.host.Do(func() error {
			return announce(w.dir, w.program(), generation, network)
		})
		if err == nil || time.Since(start) > patience || !outOfTime(err) {
			return err
		}
	}
}

// outOfTime tells that the client's own patience has ended, wherever it was.
func outOfTime(err error) bool {
	return strings.Contains(err.Error(), "not ready in time") || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// patience is longer than anything takes on the slowest machine.
const patience = 30 * time.Second

// fastest holds a promise about a time: it measures until it is kept once. A
// busy machine can only add to what the resolver needs; what is promised for an
// idle one is stretched by what a control takes longer in the same moment.
func fastest(t testing.TB, what string, promised time.Duration, measure func() time.Duration) {
	t.Helper()
	best := time.Hour
	for start := time.Now(); ; {
		took := time.Duration(float64(measure()) / stretch())
		best = min(best, took)
		switch {
		case best <= promised:
			return
		case time.Since(start) > patience:
			t.Errorf("%s: %s at best, promised are %s", what, best, promised)
			return
		}
	}
}

// stretch is how many times longer than on an idle machine it takes to get
// some processor time.
func stretch() float64 {
	const spin = 20 * time.Millisecond
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, from := time.Now(), threadTime()
	for threadTime()-from < spin {
	}
	return max(1, float64(time.Since(start))/float64(spin))
}

// threadTime is what the calling thread has used of a processor.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// serve runs the resolver as a process, with some flags, until the test ends.
func (w *world) serve(flags ...string) Status {
	w.t.Helper()
	w.flags = append(w.flags, flags...)
	return w.startProcess(0)
}

// program is a script that runs this test under the resolver's name, with the
// flags of the test. What the race detector finds goes to files.
func (w *world) program() string {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	bin := filepath.Join(w.aside, "dnsd")
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(self, bin); err != nil && !os.IsExist(err) {
		w.t.Fatal(err)
	}
	if w.shipped != "" {
		bin = w.shipped
	}
	script := filepath.Join(w.aside, "start")
	text := fmt.Sprintf("#!/bin/sh\nGORACE='log_path=%s/race atexit_sleep_ms=0' exec %s \"$@\" --resolv-conf %s %s\n",
		w.aside, bin, w.resolvConf, strings.Join(w.flags, " "))
	if old, err := os.ReadFile(script); err == nil && string(old) == text {
		return script
	}
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return script
}

// ask asks a server from a namespace and returns the reply, or an error.
func ask(n *netns.Namespace, transport, server string, m *dns.Msg) (*dns.Msg, error) {
	return askAt(n, transport, net.JoinHostPort(server, "53"), m)
}

// askAt is ask at any port.
func askAt(n *netns.Namespace, transport, server string, m *dns.Msg) (*dns.Msg, error) {
	return askFor(n, transport, server, m, patience)
}

// askBriefly is ask where there need not be a reply.
func askBriefly(n *netns.Namespace, transport, server string, m *dns.Msg) (*dns.Msg, error) {
	return askFor(n, transport, net.JoinHostPort(server, "53"), m, 2*time.Second)
}

func askFor(n *netns.Namespace, transport, server string, m *dns.Msg, limit time.Duration) (*dns.Msg, error) {
	var reply *dns.Msg
	err := n.Do(func() error {
		conn, err := net.DialTimeout(transport, server, limit)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(limit))
		c := &dns.Conn{Conn: conn, UDPSize: 4096}
		if err := c.WriteMsg(m); err != nil {
			return err
		}
		reply, err = c.ReadMsg()
		return err
	})
	return reply, err
}

// query is a question as a stub asks it.
func query(name string, kind uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), kind)
	return m
}

// answers is a reply in a line: the rcode if it is no success, and the answers.
func answers(m *dns.Msg, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var parts []string
	if m.Rcode != dns.RcodeSuccess {
		parts = append(parts, dns.RcodeToString[m.Rcode])
	}
	for _, rr := range m.Answer {
		fields := strings.Fields(rr.String())
		parts = append(parts, strings.Join(fields[4:], " "))
	}
	if len(parts) == 0 {
		return "NODATA"
	}
	return strings.Join(parts, " ")
}
