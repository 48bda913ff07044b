package dnsd

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/test/netns"
	"github.com/netctl/netctl/test/programs"
)

var (
	peerTime     = flag.Duration("peers.time", 5*time.Second, "how long one measurement of BenchmarkPeers takes")
	peerRounds   = flag.Int("peers.rounds", 3, "rounds of BenchmarkPeers; the medians count")
	peerModes    = flag.String("peers.modes", "udp,tcp,forward", "what BenchmarkPeers measures")
	peerLoopback = flag.Bool("peers.loopback", false, "ask from the host itself, not through a bridge")
	peerOnly     = flag.String("peers.only", "", "measure this server alone")
	peerNames    = flag.Int("peers.names", 1000, "names that are served")
	peerMany     = flag.Int("peers.many", 10_000, "names that are served in a further measurement over UDP, 0 for none")
	peerPage     = flag.String("peers.page", "", "write the tables into this page")
)

// peer is a server under measurement. command runs it in the foreground, on
// port 53 of 10.0.0.1.
type peer struct {
	name    string
	command func(w *world, names int) []string
}

// peers are ours, dnsmasq, and the floor: the library's server with a handler
// that looks the name up in a map.
func peers() []peer {
	return []peer{
		{"dnsd", func(w *world, _ int) []string {
			return []string{filepath.Join(w.aside, "dnsd"), "--state-dir", w.dir, "--resolv-conf", w.resolvConf, "--stay"}
		}},
		{"dnsmasq", func(w *world, _ int) []string {
			return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--listen-address=10.0.0.1", "--bind-interfaces",
				"--no-resolv", "--no-hosts", "--server=127.0.0.53", "--cache-size=0", "--dns-forward-max=10000", "--user=root", "--pid-file=",
				"--addn-hosts=" + filepath.Join(w.aside, "hosts")}
		}},
		{"floor", func(w *world, names int) []string {
			return []string{filepath.Join(w.aside, "floor"), strconv.Itoa(names)}
		}},
	}
}

// result is one measurement.
type result struct {
	perSecond float64 // queries
	cpu       float64 // microseconds of the server for each
	lost      float64 // of all, in percent
}

// BenchmarkPeers measures all servers in turn, several rounds, with dnsperf:
// the server on one processor, everything else on another. The machine may be
// busy; processor time per query moves less with that than queries per second.
//
//	go test -run '^$' -bench 'Peers$' -benchtime 1x ./dnsd
func BenchmarkPeers(b *testing.B) {
	var rows []string
	all := map[string]map[string][]result{}
	measure := func(names int, modes ...string) {
		w := peerWorld(b, names)
		client := w.host
		if !*peerLoopback {
			client = namespace(b)
			w.link(client)
		}
		for _, mode := range modes {
			row := fmt.Sprintf("%s, %d names", mode, names)
			rows = append(rows, row)
			all[row] = w.compare(client, mode, names)
			report(row, all[row])
		}
	}
	measure(*peerNames, strings.Split(*peerModes, ",")...)
	if *peerMany > 0 {
		measure(*peerMany, "udp")
	}
	writePage(b, "cost", costTable(rows, all))
}

// compare measures every server in each round.
func (w *world) compare(client *netns.Namespace, mode string, names int) map[string][]result {
	results := map[string][]result{}
	for range *peerRounds {
		for _, p := range peers() {
			if mode == "forward" && p.name == "floor" || *peerOnly != "" && p.name != *peerOnly {
				continue
			}
			results[p.name] = append(results[p.name], w.measure(client, p, mode, names))
		}
	}
	return results
}

// report prints medians, and each server's processor time against the others'.
func report(row string, results map[string][]result) {
	cost := func(name string) float64 { return spreadOf(results[name], result.cost).median }
	for _, p := range peers() {
		if len(results[p.name]) == 0 {
			continue
		}
		c := spreadOf(results[p.name], result.cost)
		fmt.Printf("%-20s %-8s %9.0f q/s  %6.2f (%.2f to %.2f) µs/query", row, p.name, spreadOf(results[p.name], result.rate).median, c.median, c.least, c.most)
		for _, other := range []string{"floor", "dnsmasq"} {
			if m := cost(other); m > 0 {
				fmt.Printf("  %5.2f x %s", c.median/m, other)
			}
		}
		fmt.Printf("  %5.2f %% lost\n", spreadOf(results[p.name], func(r result) float64 { return r.lost }).median)
	}
}

// peerWorld has so many names on one network, in the ledger and in a hosts
// file, and what dnsperf asks for.
func peerWorld(t testing.TB, n int) *world {
	w := newWorld(t)
	w.network("big", "10.0.0.1/8")
	var hosts, local, foreign strings.Builder
	for i := range n {
		name, addr := fmt.Sprint("web", i), fmt.Sprintf("10.1.%d.%d", i>>8, i&255)
		w.put(w.bare("big", addr+"/8", name))
		fmt.Fprintf(&hosts, "%s %s\n", addr, name)
		fmt.Fprintf(&local, "%s A\n", name)
		fmt.Fprintf(&foreign, "%s.example A\n", name)
	}
	w.put(w.bare("big", "10.0.0.2/8", "client"))
	for name, text := range map[string]string{"hosts": hosts.String(), "local": local.String(), "foreign": foreign.String()} {
		if err := os.WriteFile(filepath.Join(w.aside, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := programs.Install(w.aside, "dnsd"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"floor", "upstream", "asker", "author"} {
		if err := os.Symlink(self, filepath.Join(w.aside, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.setUpstream("127.0.0.53")
	w.background("1", filepath.Join(w.aside, "upstream"))
	return w
}

// link puts a client on the network.
func (w *world) link(client *netns.Namespace) {
	run(w.t, w.host, "ip link add client type veth peer name eth0 netns "+client.Path())
	run(w.t, w.host, "ip link set client master br-big up")
	run(w.t, client, "ip addr add 10.0.0.2/8 dev eth0")
	run(w.t, client, "ip link set eth0 up")
}

// pinned is a command on one processor.
func (w *world) pinned(processor string, command ...string) *exec.Cmd {
	return exec.Command("taskset", append([]string{"-c", processor}, command...)...)
}

// background runs a command in the host's namespace on one processor.
func (w *world) background(processor string, command ...string) *exec.Cmd {
	w.t.Helper()
	cmd := w.pinned(processor, command...)
	if err := w.host.Do(cmd.Start); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

var (
	dnsperfRate = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	dnsperfDone = regexp.MustCompile(`Queries completed:\s+([0-9]+)`)
	dnsperfLost = regexp.MustCompile(`Queries lost:\s+[0-9]+ \(([0-9.]+)%\)`)
)

// startPeer starts a server and returns when it answers.
func (w *world) startPeer(client *netns.Namespace, p peer, names int) *exec.Cmd {
	w.t.Helper()
	cmd := w.background("0", p.command(w, names)...)
	awaitAnswer(w.t, path{from: client, transport: "udp", server: "10.0.0.1"}, "web1")
	return cmd
}

// awaitAnswer waits until a server answers a question.
func awaitAnswer(t testing.TB, way path, name string) {
	t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		conn, err := way.dial()
		if err != nil {
			continue
		}
		err = send(conn, ask1(name, dns.TypeA))
		var reply []byte
		if err == nil {
			reply, err = receive(conn, 100*time.Millisecond)
		}
		conn.Close()
		if err == nil && reply != nil {
			return
		}
	}
	t.Fatalf("nobody answers at %s", way.server)
}

// measure starts a server, asks it for a while, and ends it.
func (w *world) measure(client *netns.Namespace, p peer, mode string, names int) result {
	w.t.Helper()
	cmd := w.startPeer(client, p, names)
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	file, transport := "local", "udp"
	switch mode {
	case "tcp":
		transport = "tcp"
	case "forward":
		file = "foreign"
	}
	before := processorTime(w.t, cmd.Process.Pid)
	out, err := client.Output("taskset", "-c", "1", "dnsperf", "-s", "10.0.0.1", "-m", transport, "-c", "10", "-q", "100",
		"-l", fmt.Sprint(int(peerTime.Seconds())), "-d", filepath.Join(w.aside, file))
	if err != nil {
		w.t.Fatal(err)
	}
	spent := processorTime(w.t, cmd.Process.Pid) - before
	number := func(re *regexp.Regexp) float64 {
		m := re.FindStringSubmatch(out)
		if m == nil {
			w.t.Fatalf("dnsperf says\n%s", out)
		}
		v, _ := strconv.ParseFloat(m[1], 64)
		return v
	}
	return result{perSecond: number(dnsperfRate), cpu: float64(spent.Microseconds()) / number(dnsperfDone), lost: number(dnsperfLost)}
}

// processorTime is what a process and its ended children have used so far.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, f := range fields[11:15] { // utime stime cutime cstime, in hundredths of a second
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
