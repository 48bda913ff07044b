package firewall

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// everything asks for each thing that a rule can say.
func everything() Rules {
	r := publishing("web", 2, 8080, 80)
	r.Network.Isolate = true
	r.Network.MasqueradeAs = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	r.Network.NoMasquerade = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	r.Network.PublishFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	r.Network.PublishOn = []string{"eth1"}
	for _, p := range publishing("web", 2, 9000, 9000).Publish {
		p.Count = 100
		r.Publish = append(r.Publish, p)
		p.HostPort, p.ContainerPort, p.Count, p.Protocol = p.HostPort+2000, 10, 3, wire.SCTP
		r.Publish = append(r.Publish, p)
	}
	r.Publish = append(r.Publish, onAddress("web", 8443, "192.0.2.10", "2001:db8::10").Publish...)
	r.Publish[0].Subnet = netip.MustParsePrefix("10.90.0.0/16")
	return r
}

// What Lines prints does, typed by hand, what Apply does.
func TestLinesAreWhatApplyDoes(t *testing.T) {
	list := map[BackendName]string{
		IPTables: "iptables-save | grep -v '^#'; ip6tables-save | grep -v '^#'",
		NFTables: "for t in ip ip6; do nft -s list table $t netctl; done",
	}
	overMechanisms(t, func(t *testing.T, b Backend) {
		r := everything()
		applied, typed := newHost(t, b), newHost(t, b)
		applied.do(t, func() { check(t, b.Apply(context.Background(), r)) })
		lines, err := Lines(b.Name(), r)
		if err != nil {
			t.Fatal(err)
		}
		typed.sh(t, strings.Join(lines, "\n"))
		if got, want := typed.sh(t, list[b.Name()]), applied.sh(t, list[b.Name()]); sorted(got) != sorted(want) {
			t.Errorf("typed:\n%s\napplied:\n%s", got, want)
		}
	})
}

// sorted makes listings comparable whose maps come in the kernel's own order:
// an element a line, in order.
func sorted(listing string) string {
	lines := strings.FieldsFunc(listing, func(r rune) bool { return strings.ContainsRune("\n,{}", r) })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
