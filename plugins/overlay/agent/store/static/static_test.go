package static

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, network store.Network, nodes []store.Node) []store.Store {
		f := File{Networks: []Network{{Name: network.Name, Ranges: network.Ranges, Group: network.Group}}}
		for i, n := range nodes {
			f.Peers = append(f.Peers, Peer{Name: n.Name, VTEP: n.VTEP[0],
				Pools: map[string][]netip.Prefix{network.Name: {netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100, byte(i), 0}), 24)}}})
		}
		path := write(t, f)
		var stores []store.Store
		for range nodes {
			stores = append(stores, open(t, path))
		}
		return stores
	})
}

func write(t *testing.T, f File) string {
	t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "peers.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Path: path}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAFileThatContradictsItselfIsRefused(t *testing.T) {
	const blue = `"networks":[{"name":"blue","ranges":["10.100.0.0/16"]}]`
	for name, c := range map[string]struct{ text, want string }{
		"garbage":           {`{`, "invalid JSON"},
		"unknown key":       {`{"peer":[]}`, `unknown field "peer"`},
		"overlap of pools":  {`{` + blue + `,"peers":[{"name":"a","vtep":"192.0.2.1","pools":{"blue":["10.100.0.0/23"]}},{"name":"b","vtep":"192.0.2.2","pools":{"blue":["10.100.1.0/24"]}}]}`, "10.100.0.0/23 (peer a) and 10.100.1.0/24 (peer b) overlap"},
		"one vtep twice":    {`{"peers":[{"name":"a","vtep":"192.0.2.1"},{"name":"b","vtep":"192.0.2.1"}]}`, "peers a and b have the same tunnel address 192.0.2.1"},
		"one name twice":    {`{"peers":[{"name":"a","vtep":"192.0.2.1"},{"name":"a","vtep":"192.0.2.2"}]}`, `name "a"`},
		"a path as network": {`{"networks":[{"name":"../blue","ranges":["10.100.0.0/16"]}],"peers":[]}`, `networks[0]: invalid network name "../blue"`},
		"no network name":   {`{"networks":[{"ranges":["10.100.0.0/16"]}],"peers":[]}`, "networks[0]: network without a name"},
		"a network twice":   {`{"networks":[{"name":"blue","ranges":["10.100.0.0/16"]},{"name":"blue","ranges":["10.101.0.0/16"]}],"peers":[]}`, `networks[1]: name "blue" is used twice`},
		"no vtep":           {`{"peers":[{"name":"a"}]}`, "peer a: key vtep"},
		"host bits":         {`{` + blue + `,"peers":[{"name":"a","vtep":"192.0.2.1","pools":{"blue":["10.100.0.7/24"]}}]}`, "did you mean 10.100.0.0/24"},
		"outside":           {`{` + blue + `,"peers":[{"name":"a","vtep":"192.0.2.1","pools":{"blue":["10.101.0.0/24"]}}]}`, "not inside the ranges"},
		"unknown network":   {`{"peers":[{"name":"a","vtep":"192.0.2.1","pools":{"red":["10.101.0.0/24"]}}]}`, "network red, which is not under networks"},
		"ranges overlap":    {`{"networks":[{"name":"blue","ranges":["10.100.0.0/16"]},{"name":"red","ranges":["10.100.4.0/24"]}],"peers":[]}`, "(network blue) and 10.100.4.0/24 (network red) overlap"},
		"group twice":       {`{"networks":[{"name":"blue","ranges":["10.100.0.0/16"],"group":2},{"name":"red","ranges":["10.101.0.0/16"]}],"peers":[]}`, "same group 2"},
	} {
		if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ...%s...", name, err, c.want)
		}
	}
}

func example() File {
	return File{
		Networks: []Network{{Name: "blue", Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}}},
		Peers: []Peer{{Name: "a", VTEP: netip.MustParseAddr("192.0.2.1"),
			Pools: map[string][]netip.Prefix{"blue": {netip.MustParsePrefix("10.100.1.0/24")}}}},
	}
}

func TestAHostThatIsNotInTheFileIsTold(t *testing.T) {
	s := open(t, write(t, example()))
	_, err := s.Session(t.Context(), store.Registration{Local: []netip.Addr{netip.MustParseAddr("192.0.2.9")}})
	if err == nil || !strings.Contains(err.Error(), "no peer has a tunnel address of this host") {
		t.Error(err)
	}
	session, err := s.Session(t.Context(), store.Registration{Local: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}})
	if err != nil || session.Self().ID != "a" {
		t.Errorf("%+v, %v", session, err)
	}
}

// TestChangesAreNoticedAndBadOnesLeaveTheGoodInForce replaces the file, as
// editors do.
func TestChangesAreNoticedAndBadOnesLeaveTheGoodInForce(t *testing.T) {
	path := write(t, example())
	s := open(t, path)
	replace := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), storetest.Patience)
	defer cancel()
	var seen []string
	err := s.Watch(ctx, func(v store.View) {
		seen = append(seen, fmt.Sprintf("%d nodes, %d skipped", len(v.Nodes), len(v.Skipped)))
		switch len(seen) {
		case 1:
			replace(`{"peers":[{"name":"a"}]}`)
		case 2:
			replace(`{"peers":[{"name":"a","vtep":"192.0.2.1"},{"name":"b","vtep":"192.0.2.2"}]}`)
		case 3:
			cancel()
		}
	})
	if got := strings.Join(seen, "; "); got != "1 nodes, 0 skipped; 1 nodes, 1 skipped; 2 nodes, 0 skipped" {
		t.Errorf("views: %s (%v)", got, err)
	}
}

// A file of the same text is parsed once, and what one asker does with the
// answer is not seen by the next.
func TestWhatIsReadIsNobodysToChange(t *testing.T) {
	s := open(t, write(t, example()))
	enter := func() store.Session {
		in, err := s.Session(t.Context(), store.Registration{Local: []netip.Addr{example().Peers[0].VTEP}})
		check(t, err)
		return in
	}
	want := example().Peers[0].node()
	for _, pools := range enter().Self().Pools {
		pools[0] = netip.Prefix{}
	}
	if got := enter().Self(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	first, err := s.read()
	check(t, err)
	if again, err := s.read(); err != nil || &again.Peers[0] != &first.Peers[0] {
		t.Errorf("the same text is parsed again (%v)", err)
	}
}

func BenchmarkRead(b *testing.B) {
	f := File{Networks: []Network{{Name: "net", Ranges: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/11")}}}}
	for i := range 1000 {
		f.Peers = append(f.Peers, Peer{Name: fmt.Sprintf("host%d", i), VTEP: netip.AddrFrom4([4]byte{192, 168, byte(i / 250), byte(1 + i%250)}),
			Pools: map[string][]netip.Prefix{"net": {netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(96 + i/250), byte(i % 250), 0}), 24)}}})
	}
	text, err := json.Marshal(f)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "peers.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), Config{Path: path}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.read(); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, _ := json.Marshal(example())
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := Parse(data); err == nil {
			_ = file.View()
		}
	})
}

// A changed file is followed by notification, however it is changed: looking
// again is put off here for longer than the test takes.
func TestAChangedFileIsFollowed(t *testing.T) {
	text := func(vni uint32) []byte {
		data, err := json.Marshal(File{VNI: vni, Networks: []Network{{Name: "blue", Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}}}})
		check(t, err)
		return data
	}
	put := func(path string, vni uint32) {
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		check(t, os.WriteFile(path, text(vni), 0o600))
	}
	link := func(target, path string) { // as Kubernetes does, by a rename
		check(t, os.Symlink(target, path+".tmp"))
		check(t, os.Rename(path+".tmp", path))
	}
	for name, c := range map[string]struct {
		prepare func(dir string) (path string)
		change  func(dir string)
	}{
		"written in place": {
			func(dir string) string { put(dir+"/peers.json", 1); return dir + "/peers.json" },
			func(dir string) { put(dir+"/peers.json", 2) }},
		"replaced": {
			func(dir string) string { put(dir+"/peers.json", 1); return dir + "/peers.json" },
			func(dir string) {
				put(dir+"/new", 2)
				check(t, os.Rename(dir+"/new", dir+"/peers.json"))
			}},
		"a ConfigMap": {
			func(dir string) string {
				put(dir+"/..one/peers.json", 1)
				link("..one", dir+"/..data")
				link("..data/peers.json", dir+"/peers.json")
				return dir + "/peers.json"
			},
			func(dir string) {
				put(dir+"/..two/peers.json", 2)
				link("..two", dir+"/..data")
				check(t, os.RemoveAll(dir+"/..one"))
			}},
		"behind a link": {
			func(dir string) string {
				put(dir+"/elsewhere/real.json", 1)
				check(t, os.Mkdir(dir+"/etc", 0o700))
				link("../elsewhere/real.json", dir+"/etc/peers.json")
				return dir + "/etc/peers.json"
			},
			func(dir string) { put(dir+"/elsewhere/real.json", 2) }},
		"a directory that is a link": {
			func(dir string) string {
				put(dir+"/one/peers.json", 1)
				link(dir+"/one", dir+"/etc")
				return dir + "/etc/peers.json"
			},
			func(dir string) {
				put(dir+"/two/peers.json", 2)
				link(dir+"/two", dir+"/etc")
			}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, c.prepare(dir))
			s.again = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			seen, ended := make(chan uint32, 16), make(chan error, 1)
			go func() { ended <- s.Watch(ctx, func(v store.View) { seen <- v.Cluster.VNI }) }()
			for _, want := range []uint32{1, 2} {
				for got := uint32(0); got != want; {
					select {
					case got = <-seen:
					case <-time.After(30 * time.Second):
						t.Fatalf("the file with VNI %d is not seen", want)
					}
				}
				if want == 1 {
					c.change(dir)
				}
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the watch ended with %v", err)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
