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
