package plugins_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A store is a data directory with the two programs that work on it.
type store struct {
	t            testing.TB
	data, state  string
	ours, theirs string
	ranges       string
}

func newStore(t testing.TB, ranges string) *store {
	t.Helper()
	theirs := filepath.Join(reference(t), "host-local")
	return &store{t: t, data: t.TempDir(), state: t.TempDir(), ranges: ranges,
		ours: filepath.Join(binaries, "host-local"), theirs: theirs}
}

const dualRanges = `[[{"subnet":"10.1.0.0/26"},{"subnet":"10.2.0.0/28","rangeStart":"10.2.0.4","rangeEnd":"10.2.0.9","gateway":"10.2.0.6"}],[{"subnet":"fd00::/64"}]]`

func (s *store) conf(keys string) string {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"testnet","type":"ptp","ipam":{"type":"host-local","dataDir":%q,"ranges":%s}%s}`, s.data, s.ranges, keys)
}

// run executes one of the programs and gives what it writes.
func (s *store) run(binary, verb, container, keys string) (string, error) {
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "NETCTL_STATE_DIR="+s.state, "CNI_COMMAND="+verb, "CNI_CONTAINERID="+container,
		"CNI_NETNS=/no/such", "CNI_IFNAME=eth0", "CNI_PATH=/no/such")
	cmd.Stdin = strings.NewReader(s.conf(keys))
	out, err := cmd.Output()
	return string(out), err
}

// add gives the addresses, or "" if there are none left.
func (s *store) add(binary, container string) string {
	out, err := s.run(binary, "ADD", container, "")
	if err != nil {
		if !strings.Contains(out, "no free address") && !strings.Contains(out, "no IP addresses available") {
			s.t.Errorf("%s ADD %s: %v\n%s", binary, container, err, out)
		}
		return ""
	}
	var r result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Errorf("%s ADD %s: %v\n%s", binary, container, err, out)
	}
	var words []string
	for _, ip := range r.IPs {
		words = append(words, ip.Address+" via "+ip.Gateway)
	}
	return strings.Join(words, ", ")
}

func (s *store) del(binary, container string) {
	if out, err := s.run(binary, "DEL", container, ""); err != nil {
		s.t.Errorf("%s DEL %s: %v\n%s", binary, container, err, out)
	}
}

// files gives the whole directory, cursors included.
func (s *store) files() string {
	s.t.Helper()
	var lines []string
	entries, err := os.ReadDir(filepath.Join(s.data, "testnet"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(s.data, "testnet", e.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %q", e.Name(), content))
	}
	return strings.Join(lines, "\n")
}

// reserved gives the directory without lock and cursors.
func (s *store) reserved() string {
	s.t.Helper()
	var lines []string
	for line := range strings.Lines(s.files()) {
		if !strings.HasPrefix(line, "lock ") && !strings.HasPrefix(line, "last_reserved_ip.") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

// TestHostLocalTakesTurns has a node change between the reference binary and
// ours at every call, through full and empty ranges. The same calls go to a
// second directory on which the reference works alone: answers and files must
// be the same to the byte.
func TestHostLocalTakesTurns(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 0))
			mixed, alone := newStore(t, dualRanges), newStore(t, dualRanges)
			alive := map[string]bool{}
			for step := range 200 {
				binary := mixed.ours
				if random.IntN(2) == 0 {
					binary = mixed.theirs
				}
				container := fmt.Sprintf("c%d", random.IntN(90))
				if filling := step%150 < 90; alive[container] || !filling && random.IntN(3) > 0 {
					mixed.del(binary, container)
					alone.del(alone.theirs, container)
					delete(alive, container)
				} else {
					got, want := mixed.add(binary, container), alone.add(alone.theirs, container)
					if got != want {
						t.Fatalf("step %d: %s ADD %s gave %q, the reference alone %q", step, binary, container, got, want)
					}
					alive[container] = got != ""
				}
			}
			if got, want := mixed.files(), alone.files(); got != want {
				t.Errorf("files\n%s\nwith the reference alone\n%s", got, want)
			}
		})
	}
}

// TestHostLocalParallelWithReference lets 16 processes of both kinds at one
// directory; each container is deleted by the other kind than the one that
// added it.
func TestHostLocalParallelWithReference(t *testing.T) {
	const workers, each = 16, 4
	s := newStore(t, `[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]`)
	kinds := []string{s.ours, s.theirs}
	all := func(fn func(worker, n int)) {
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				for n := range each {
					fn(worker, n)
				}
			})
		}
		wg.Wait()
	}
	for round := range 2 {
		var mutex sync.Mutex
		seen := map[string]string{}
		all(func(worker, n int) {
			container := fmt.Sprintf("r%dw%dn%d", round, worker, n)
			addresses := s.add(kinds[(worker+n)%2], container)
			mutex.Lock()
			defer mutex.Unlock()
			for address := range strings.SplitSeq(addresses, ", ") {
				if other, twice := seen[address]; twice {
					t.Errorf("%s given to %s and %s", address, other, container)
				}
				seen[address] = container
			}
		})
		if len(seen) != 2*workers*each {
			t.Errorf("%d addresses for %d containers", len(seen), workers*each)
		}
		all(func(worker, n int) { s.del(kinds[(worker+n+1)%2], fmt.Sprintf("r%dw%dn%d", round, worker, n)) })
		if left := s.reserved(); left != "" {
			t.Fatalf("lost addresses:\n%s", left)
		}
	}
}

// TestHostLocalStandAlone is the rest of the protocol on one directory.
func TestHostLocalStandAlone(t *testing.T) {
	s := newStore(t, `[[{"subnet":"10.1.0.0/30"}]]`)
	added, err := s.run(s.ours, "ADD", "c1", "")
	if err != nil {
		t.Fatal(added)
	}
	again, err := s.run(s.ours, "ADD", "c1", "")
	if err != nil || again != added {
		t.Errorf("a second ADD: %v\n%s\nafter\n%s", err, again, added)
	}
	for name, c := range map[string]struct {
		verb, container, keys string
		code                  int
	}{
		"CHECK":               {"CHECK", "c1", `,"prevResult":` + added, 0},
		"CHECK, not reserved": {"CHECK", "c2", `,"prevResult":` + added, 109},
		"STATUS, full":        {"STATUS", "", "", 50},
		"ADD, full":           {"ADD", "c2", "", 101},
		"ADD, out of range":   {"ADD", "c2", `,"runtimeConfig":{"ips":["10.9.0.1"]}`, 103},
		"ADD, taken":          {"ADD", "c2", `,"runtimeConfig":{"ips":["10.1.0.2"]}`, 102},
		"GC without list":     {"GC", "", "", 7},
	} {
		out, err := s.run(s.ours, c.verb, c.container, c.keys)
		var f failure
		_ = json.Unmarshal([]byte(out), &f)
		if (err == nil) != (c.code == 0) || f.Code != c.code {
			t.Errorf("%s: %v, code %d, want %d: %s", name, err, f.Code, c.code, f.Msg)
		}
	}
	if out, err := s.run(s.ours, "GC", "", `,"cni.dev/valid-attachments":null`); err != nil || out != "" || s.reserved() != "" {
		t.Errorf("GC: %v %s, left %s", err, out, s.reserved())
	}
	if out, err := s.run(s.ours, "STATUS", "", ""); err != nil || out != "" {
		t.Errorf("STATUS: %v %s", err, out)
	}
}

// TestHostLocalAfterReboot loses what a reboot loses.
func TestHostLocalAfterReboot(t *testing.T) {
	s := newStore(t, `[[{"subnet":"10.1.0.0/29"}]]`)
	for i := range 5 {
		s.add([]string{s.ours, s.theirs}[i%2], fmt.Sprintf("c%d", i))
	}
	manual := filepath.Join(s.data, "testnet", "10.1.0.4")
	if err := os.WriteFile(manual, []byte("printer on floor 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.add(s.ours, "new"); got != "" {
		t.Fatalf("got %s from a full range", got)
	}
	long := time.Date(2021, 5, 1, 12, 0, 0, 0, time.UTC)
	for i := 2; i <= 6; i++ {
		if err := os.Chtimes(filepath.Join(s.data, "testnet", fmt.Sprintf("10.1.0.%d", i)), long, long); err != nil {
			t.Fatal(err)
		}
	}
	s.state = t.TempDir()
	if got := s.add(s.ours, "new"); got != "10.1.0.2/29 via 10.1.0.1" {
		t.Errorf("got %q", got)
	}
	if got, want := s.reserved(), "10.1.0.2 \"new\\r\\neth0\"\n10.1.0.4 \"printer on floor 2\""; got != want {
		t.Errorf("reserved\n%s\nwant\n%s", got, want)
	}
}

// bridgeIPAM is a configuration of our bridge with one of the kinds of IPAM.
func bridgeIPAM(verb, container string, ns interface{ Path() string }, ipam, keys string) call {
	c := call{verb: verb, plugin: "bridge", container: container,
		conf: fmt.Sprintf(`{"cniVersion":"1.1.0","name":"testnet","type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"ipam":%s%s}`, ipam, keys)}
	if ns != nil {
		c.netns = ns.Path()
	}
	return c
}

// TestSwitchOver takes a node from the reference host-local to our bridge, which
// has it inside, and back, while containers live.
func TestSwitchOver(t *testing.T) {
	h, s := newHost(t), newStore(t, `[[{"subnet":"10.88.0.0/29"}],[{"subnet":"fd00:88::/64"}]]`)
	s.state = h.state
	ipam := fmt.Sprintf(`{"type":"host-local","dataDir":%q,"ranges":%s,"routes":[{"dst":"192.0.2.0/24"}]}`, s.data, s.ranges)
	bridge := func(verb, container string, ns interface{ Path() string }, keys string) call {
		return bridgeIPAM(verb, container, ns, ipam, keys)
	}
	first := s.add(s.theirs, "theirs1")
	ns := h.container()
	added := h.run(bridge("ADD", "ours1", ns, ""))
	var r result
	if err := json.Unmarshal(added.out, &r); err != nil || len(r.IPs) != 2 || r.IPs[0].Address != "10.88.0.3/29" || !strings.HasPrefix(first, "10.88.0.2/29") {
		t.Fatalf("%s, then %s%s", first, added.out, added.stderr)
	}
	h.must(bridge("CHECK", "ours1", ns, `,"prevResult":`+string(added.out)))
	s.add(s.theirs, "theirs2")
	h.must(bridge("DEL", "theirs1", nil, "")) // made by the reference
	if got, want := s.reserved(), strings.Join([]string{`10.88.0.3 "ours1\r\neth0"`, `10.88.0.4 "theirs2\r\neth0"`, `fd00:88::3 "ours1\r\neth0"`, `fd00:88::4 "theirs2\r\neth0"`}, "\n"); got != want {
		t.Fatalf("reserved\n%s\nwant\n%s", got, want)
	}
	s.del(s.theirs, "ours1") // back to the reference
	if f := h.refuse(bridge("CHECK", "ours1", ns, `,"prevResult":`+string(added.out))); f.Code != 109 || !strings.Contains(f.Msg, "10.88.0.3 of testnet/ours1/eth0 is not reserved") {
		t.Errorf("CHECK without reservation: %+v", f)
	}
	for i := range 3 { // the cursor comes round to what was released
		s.add(s.theirs, fmt.Sprintf("more%d", i))
	}
	vanishing := h.container()
	h.must(bridge("ADD", "ours2", vanishing, ""))
	h.must(bridge("DEL", "ours1", ns, "")) // nothing of ours2's goes with it
	if got := s.reserved(); strings.Count(got, "ours2") != 2 || strings.Contains(got, "ours1") {
		t.Errorf("reserved\n%s", got)
	}
	vanishing.Close()
	h.must(bridge("GC", "", nil, `,"cni.dev/valid-attachments":[]`))
	if got := s.reserved(); got != "" {
		t.Errorf("GC left\n%s", got)
	}
	h.wantClean()
}

// TestBridgeLeavesNoReservation has ADD fail after the addresses were reserved.
func TestBridgeLeavesNoReservation(t *testing.T) {
	h, s := newHost(t), newStore(t, `[[{"subnet":"10.88.0.0/24"}],[{"subnet":"fd00:88::/64"}]]`)
	ipam := fmt.Sprintf(`{"type":"host-local","dataDir":%q,"ranges":%s}`, s.data, s.ranges)
	h.must(bridgeIPAM("ADD", "a", h.container(), ipam, `,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}`))
	before := s.reserved()
	for name, keys := range map[string]string{
		"port taken":  `,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}`,
		"no bridge":   `,"bridge":"lo"`,
		"no such mtu": `,"mtu":70000`,
	} {
		f := h.refuse(bridgeIPAM("ADD", "b", h.container(), ipam, keys))
		if after := s.reserved(); after != before {
			t.Errorf("%s (%s): left\n%s", name, f.Msg, after)
		}
	}
	h.must(bridgeIPAM("DEL", "a", nil, ipam, ""))
	if left := s.reserved(); left != "" {
		t.Errorf("left\n%s", left)
	}
	h.wantClean()
}

func TestBridgeWithStatic(t *testing.T) {
	h := newHost(t)
	ns := h.container()
	const ipam = `{"type":"static","addresses":[{"address":"10.88.0.7/24","gateway":"10.88.0.1"},{"address":"fd00:88::7/64"}]}`
	added := h.run(bridgeIPAM("ADD", "a", ns, ipam, ""))
	var r result
	if err := json.Unmarshal(added.out, &r); err != nil || len(r.IPs) != 2 || r.IPs[0].Address != "10.88.0.7/24" || r.IPs[0].Gateway != "10.88.0.1" {
		t.Fatalf("%s%s", added.out, added.stderr)
	}
	h.must(bridgeIPAM("CHECK", "a", ns, ipam, `,"prevResult":`+string(added.out)))
	h.must(bridgeIPAM("STATUS", "", nil, ipam, ""))
	if f := h.refuse(bridgeIPAM("ADD", "b", h.container(), `{"type":"static"}`, "")); f.Code != 7 || !strings.Contains(f.Msg, "static gave no address") {
		t.Errorf("no address: %+v", f)
	}
	serve(t, ns, "10.88.0.7:80", "a")
	if got, err := ask(h.ns, "10.88.0.7:80"); err != nil || got != "a" {
		t.Errorf("%q, %v", got, err)
	}
	h.must(bridgeIPAM("DEL", "a", ns, ipam, ""))
	h.wantClean()
}
