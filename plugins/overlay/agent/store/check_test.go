package store

import (
	"net/netip"
	"strings"
	"testing"
)

// A network's name leads to files of every host: that of its definition, that
// which the plugin reads.
func TestANameIsNoPath(t *testing.T) {
	for _, name := range []string{"blue", "a", "Blue_1.x-y", "0"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../blue", "a/b", "/a", "-a", ".a", "a b", "a\n", "a\x00", "ü", "a:b"} {
		n := Network{Name: name, Group: 1, Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}}
		if err := n.Check(); err == nil || !strings.Contains(err.Error(), "name") {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestNamesAreTheirNodesOwn(t *testing.T) {
	good := Names{Network: "blue", Node: "b", Container: "c", Addresses: []netip.Addr{netip.MustParseAddr("10.100.0.2"), netip.MustParseAddr("fd00::2")}}
	if err := good.Check("blue", "b"); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Names){
		"another network": func(n *Names) { n.Network = "red" },
		"another node":    func(n *Names) { n.Node = "a" },
		"no address":      func(n *Names) { n.Addresses = []netip.Addr{{}} },
		"loopback":        func(n *Names) { n.Addresses = append(n.Addresses, netip.MustParseAddr("127.0.0.1")) },
		"unspecified":     func(n *Names) { n.Addresses = append(n.Addresses, netip.MustParseAddr("::")) },
		"multicast":       func(n *Names) { n.Addresses = append(n.Addresses, netip.MustParseAddr("224.0.0.1")) },
		"a zone":          func(n *Names) { n.Addresses = append(n.Addresses, netip.MustParseAddr("fe80::1%eth0")) },
	} {
		n := good
		n.Addresses = append([]netip.Addr(nil), good.Addresses...)
		change(&n)
		if err := n.Check("blue", "b"); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// What all hosts make their tunnels from is checked before one of them does.
func TestClusterCheck(t *testing.T) {
	for name, test := range map[string]struct {
		cluster Cluster
		ok      bool
	}{
		"nothing said": {Cluster{}, true}, "largest VNI": {Cluster{VNI: 1<<24 - 1}, true}, "too large a VNI": {Cluster{VNI: 1 << 24}, false},
		"last port but one": {Cluster{Port: 65534}, true}, "last port": {Cluster{Port: 65535}, false},
		"all pools": {Cluster{ReclaimAbove: 100}, true}, "more than all": {Cluster{ReclaimAbove: 101}, false}, "less than none": {Cluster{ReclaimAbove: -1}, false},
	} {
		if err := test.cluster.Check(); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A range is around its addresses, the first and the last too, and no others.
func TestAround(t *testing.T) {
	n := Network{Ranges: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16"), netip.MustParsePrefix("fd00::/64")}}
	for text, want := range map[string]string{"10.100.0.0": "10.100.0.0/16", "10.100.255.255": "10.100.0.0/16", "fd00::1": "fd00::/64", "10.101.0.0": "", "fd01::1": ""} {
		if r, ok := n.Around(netip.MustParseAddr(text)); ok != (want != "") || ok && r.String() != want {
			t.Errorf("%s: %s, %v", text, r, ok)
		}
	}
	if _, ok := n.Around(netip.Addr{}); ok {
		t.Error("a range is around no address at all")
	}
}
