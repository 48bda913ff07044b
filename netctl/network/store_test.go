package network

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam"
)

// testStore has a host with two routes, a fixed clock, and a random source
// that repeats itself from run to run.
func testStore(t *testing.T) *Store {
	t.Helper()
	s := Open(filepath.Join(t.TempDir(), "net.d"), slog.New(slog.NewTextHandler(t.Output(), nil)))
	s.host = func() ([]Claim, error) {
		return []Claim{
			{netip.MustParsePrefix("10.89.0.0/24"), "route via eth1"},
			{netip.MustParsePrefix("192.0.2.0/24"), "address of eth0"},
		}, nil
	}
	s.random = &repeatable{source: rand.NewChaCha8([32]byte{1})}
	s.now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	return s
}

type repeatable struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

func (r *repeatable) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Read(p)
}

func TestCreateRefused(t *testing.T) {
	s := testStore(t)
	if _, err := s.Create(Request{Name: "my-bridge", Subnets: pfx("10.88.0.0/16"), Device: "br0"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "odd.conflist"), []byte(`{"name":"other","plugins":[{"type":"ptp"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		r    Request
		want string
	}{
		{Request{Name: "my-bridge"}, "network my-bridge already exists"},
		{Request{Name: "x", Subnets: pfx("10.88.4.0/24")}, "10.88.4.0/24 overlaps 10.88.0.0/16 (network my-bridge)"},
		{Request{Name: "x", Subnets: pfx("10.0.0.0/8")}, "10.0.0.0/8 overlaps 10.88.0.0/16 (network my-bridge)"},
		{Request{Name: "x", Subnets: pfx("10.89.0.128/25")}, "10.89.0.128/25 overlaps 10.89.0.0/24 (route via eth1)"},
		{Request{Name: "x", Subnets: pfx("192.0.2.0/25")}, "192.0.2.0/25 overlaps 192.0.2.0/24 (address of eth0)"},
		{Request{Name: "x", Device: "br0"}, "bridge br0 already belongs to network my-bridge"},
		{Request{Name: "bridge"}, "network name bridge is reserved"},
		{Request{Name: "x", Subnets: pfx("10.77.0.1/16")}, "invalid subnet 10.77.0.1/16: did you mean 10.77.0.0/16?"},
		{Request{Name: "x", Subnets: pfx("10.77.0.0/30"), Reserved: map[string]netip.Addr{
			"a": netip.MustParseAddr("10.77.0.1"), "b": netip.MustParseAddr("10.77.0.2")}}, "no address left to give out in 10.77.0.0/30"},
		{Request{Name: "odd"}, "odd.conflist is in the way"},
	} {
		_, err := s.Create(tt.r)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %s", tt.r, err, tt.want)
		}
	}
	if networks, _ := s.onDisk(); len(networks) != 2 {
		t.Errorf("a refused request left something behind: %v", names(networks))
	}
	s.Supports = func(string) bool { return false }
	if _, err := s.Create(Request{Name: "x"}); err == nil || !strings.Contains(err.Error(), "this build has no bridge plugin") {
		t.Errorf("a driver without a plugin: %v", err)
	}
}

func TestSubnetsAreChosen(t *testing.T) {
	s := testStore(t)
	s.pools = []ipam.Pool{{Prefix: netip.MustParsePrefix("10.89.0.0/22"), Bits: 24}}
	for _, want := range []string{"10.89.1.0/24", "10.89.2.0/24", "10.89.3.0/24"} {
		n, err := s.Create(Request{Name: "n" + strings.ReplaceAll(want, "/", "-")})
		if err != nil || n.Subnets()[0].Prefix.String() != want {
			t.Errorf("got %v, %v; want %s (10.89.0.0/24 is a host route)", n.Subnets(), err, want)
		}
	}
	_, err := s.Create(Request{Name: "one-too-many"})
	var exhausted *ipam.PoolsExhaustedError
	if !errors.As(err, &exhausted) {
		t.Errorf("got %v, want the pools to be exhausted", err)
	}
	if want := "no free /24 left in the default pools (10.89.0.0/22: 4 used)"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFind(t *testing.T) {
	s := testStore(t)
	put := func(name, id string) {
		t.Helper()
		list := fmt.Sprintf(`{"name":%q,"netctl":{"id":%q},"plugins":[{"type":"bridge"}]}`, name, id)
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, name+".conflist"), []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	id := func(head string) string { return head + strings.Repeat("0", 64-len(head)) }
	put("one", id("abc1"))
	put("two", id("abc2"))
	put("abc2", id("ff")) // a name goes before an ID
	for _, tt := range []struct{ ref, want string }{
		{"one", "one"},
		{"abc1", "one"},
		{id("abc1"), "one"},
		{id("abc2"), "two"},
		{"abc2", "abc2"},
		{"abc20", "two"},
		{"default", "bridge"},
		{"host", "host"},
		{"abc", "network ID abc is ambiguous: abc100000000 (one), abc200000000 (two)"},
		{"gone", "no such network: gone"},
		{"", "no such network: "},
		{id("abc1") + "0", "no such network: " + id("abc1") + "0"},
	} {
		n, err := s.Find(tt.ref)
		if err != nil && err.Error() != tt.want || err == nil && n.Name != tt.want {
			t.Errorf("Find(%q) = %q, %v; want %s", tt.ref, n.Name, err, tt.want)
		}
	}
}

func TestDefaultNetwork(t *testing.T) {
	s := testStore(t)
	before, err := s.Find("bridge")
	if err != nil || before.List != nil || before.File != "" {
		t.Fatalf("before its first use: %+v, %v", before, err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			n, err := s.Load("default")
			if err != nil || n.Device != "netctl0" || n.ID != before.ID || n.Subnets()[0].Prefix.String() != "10.89.1.0/24" {
				t.Errorf("%+v, %v", n, err)
			}
		})
	}
	group.Wait()
	after, err := s.Find("bridge")
	if err != nil || after.File == "" || !after.Predefined() {
		t.Errorf("after its first use: %+v, %v", after, err)
	}
	err = s.Remove(after, func() error { t.Error("the default network was dismantled"); return nil })
	if !errors.Is(err, ErrPredefined) || err.Error() != "bridge is a predefined network and cannot be removed" {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	s := testStore(t)
	n, err := s.Create(Request{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	refusal := errors.New("in use")
	err = s.Remove(n, func() error {
		if _, err := s.Find("n"); err == nil {
			t.Error("the network can still be found while it is dismantled")
		}
		return refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("got %v, want the refusal", err)
	}
	if back, err := s.Find("n"); err != nil || back.ID != n.ID {
		t.Fatalf("a refused removal lost the network: %v", err)
	}
	if err := s.Remove(n, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(s.dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	var missing *NotFoundError
	if err := s.Remove(n, func() error { return nil }); !errors.As(err, &missing) {
		t.Errorf("removed twice: %v", err)
	}
	anew, err := s.Create(Request{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(n, func() error { return nil }); !errors.As(err, &missing) {
		t.Errorf("the old value removed the new network %s: %v", anew.ID, err)
	}
}

// TestTidy starts from what kills leave behind.
func TestTidy(t *testing.T) {
	s := testStore(t)
	n, err := s.Create(Request{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(n.File, filepath.Join(s.dir, ".n.conflist"+removing)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, ".netctl-1.tmp"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(Request{Name: "n"}); err == nil {
		t.Error("a half removed network was forgotten")
	}
	if back, err := s.Find("n"); err != nil || back.ID != n.ID {
		t.Errorf("it did not come back: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, ".netctl-1.tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a half written list is still there: %v", err)
	}
}

// TestParallelProcesses has processes create networks at once: each gets its
// own subnet, and only one of those that want the same name gets it.
func TestParallelProcesses(t *testing.T) {
	if dir := os.Getenv("NETWORK_TEST_DIR"); dir != "" {
		s := Open(dir, slog.New(slog.DiscardHandler))
		s.host = func() ([]Claim, error) { return nil, nil }
		_, same := s.Create(Request{Name: "same"})
		var exists *ExistsError
		if same != nil && !errors.As(same, &exists) {
			t.Fatal(same)
		}
		var id [4]byte
		_, _ = s.random.Read(id[:])
		if _, err := s.Create(Request{Name: "n" + hex.EncodeToString(id[:])}); err != nil {
			t.Fatal(err)
		}
		return
	}
	const processes = 8
	dir := t.TempDir()
	var group sync.WaitGroup
	for range processes {
		group.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestParallelProcesses$")
			cmd.Env = append(os.Environ(), "NETWORK_TEST_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	group.Wait()
	networks, err := Open(dir, slog.New(slog.DiscardHandler)).onDisk()
	if err != nil || len(networks) != processes+1 {
		t.Fatalf("%d networks, want %d: %v, %v", len(networks), processes+1, names(networks), err)
	}
	for i, a := range networks {
		for _, b := range networks[:i] {
			if a.Subnets()[0].Prefix.Overlaps(b.Subnets()[0].Prefix) {
				t.Errorf("%s and %s both have %s", a.Name, b.Name, a.Subnets()[0].Prefix)
			}
		}
	}
}
