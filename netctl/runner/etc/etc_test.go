package etc

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/netctl/runner"
)

const hostResolv = `# generated
nameserver 127.0.0.53
nameserver 192.0.2.1
search corp.example
options edns0 trust-ad rotate ndots:2
`

func served() runner.Attached {
	return runner.Attached{
		Network: "net", IfName: "eth0", Resolver: []netip.Addr{netip.MustParseAddr("10.88.0.1")}, Search: []string{"netctl.internal"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.88.0.2/16"), netip.MustParsePrefix("fd00::2/64")},
		Gateways:  []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.88.0.1")},
	}
}

func TestResolv(t *testing.T) {
	second := served()
	second.Resolver = []netip.Addr{netip.MustParseAddr("10.89.0.1")}
	for _, c := range []struct {
		name     string
		kind     runner.NetworkKind
		names    runner.NameConfig
		attached []runner.Attached
		want     string
	}{
		{"served", runner.NetworkAttached, runner.NameConfig{}, []runner.Attached{served()},
			"nameserver 10.88.0.1\nsearch netctl.internal corp.example\noptions edns0\n"},
		{"two networks, one server", runner.NetworkAttached, runner.NameConfig{}, []runner.Attached{served(), second},
			"nameserver 10.88.0.1\nsearch netctl.internal corp.example\noptions edns0\n"},
		{"only the second serves", runner.NetworkAttached, runner.NameConfig{}, []runner.Attached{{Network: "mac"}, second},
			"nameserver 10.89.0.1\nsearch netctl.internal corp.example\noptions edns0\n"},
		{"--dns is the resolver's business", runner.NetworkAttached, runner.NameConfig{Servers: []netip.Addr{netip.MustParseAddr("9.9.9.9")}}, []runner.Attached{served()},
			"nameserver 10.88.0.1\nsearch netctl.internal corp.example\noptions edns0\n"},
		{"--dns-search", runner.NetworkAttached, runner.NameConfig{Search: []string{"a.example", "b.example"}}, []runner.Attached{served()},
			"nameserver 10.88.0.1\nsearch netctl.internal a.example b.example\noptions edns0\n"},
		{"--dns-search .", runner.NetworkAttached, runner.NameConfig{Search: []string{"."}}, []runner.Attached{served()},
			"nameserver 10.88.0.1\nsearch netctl.internal\noptions edns0\n"},
		{"--dns-option", runner.NetworkAttached, runner.NameConfig{Options: []string{"ndots:3"}}, []runner.Attached{served()},
			"nameserver 10.88.0.1\nsearch netctl.internal corp.example\noptions ndots:3\n"},
		{"not served: host's without loopback", runner.NetworkAttached, runner.NameConfig{}, []runner.Attached{{Network: "mac"}},
			"nameserver 192.0.2.1\nsearch corp.example\noptions edns0 trust-ad rotate ndots:2\n"},
		{"not served, --dns", runner.NetworkAttached, runner.NameConfig{Servers: []netip.Addr{netip.MustParseAddr("9.9.9.9")}}, nil,
			"nameserver 9.9.9.9\nsearch corp.example\noptions edns0 trust-ad rotate ndots:2\n"},
		{"none", runner.NetworkNone, runner.NameConfig{}, nil,
			"search corp.example\noptions edns0 trust-ad rotate ndots:2\n"},
		{"host", runner.NetworkHost, runner.NameConfig{}, nil,
			"nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch corp.example\noptions edns0 trust-ad rotate ndots:2\n"},
	} {
		cfg := &runner.Config{Network: runner.NetworkMode{Kind: c.kind}, Names: c.names}
		if got := Resolv(cfg, Facts{Attached: c.attached, HostResolv: hostResolv}); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// resolv.conf(5): the last of domain and search counts.
func TestParseResolv(t *testing.T) {
	r := parseResolv("search a b\ndomain c\nnameserver\nnameserver ::1\n; nameserver 1.1.1.1\n")
	if got := r.String(); got != "nameserver ::1\nsearch c\n" {
		t.Errorf("got %q", got)
	}
}

func TestHosts(t *testing.T) {
	cfg := &runner.Config{
		Network: runner.NetworkMode{Kind: runner.NetworkAttached}, Hostname: "web", Domainname: "example.org",
		Names: runner.NameConfig{Hosts: []runner.HostName{{Name: "db", Addr: netip.MustParseAddr("192.0.2.7")}, {Name: "gw"}}},
	}
	got := Hosts(cfg, Facts{Attached: []runner.Attached{served()}})
	want := localhost + `10.88.0.2	web.example.org web
fd00::2	web.example.org web
192.0.2.7	db
10.88.0.1	gw
10.88.0.1	host.docker.internal host.containers.internal
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestHostsWithoutNetwork(t *testing.T) {
	cfg := &runner.Config{Network: runner.NetworkMode{Kind: runner.NetworkNone}, Hostname: "web.example.org"}
	if got, want := Hosts(cfg, Facts{}), localhost+"127.0.1.1\tweb.example.org web\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestHostsOnTheHostsNetwork(t *testing.T) {
	cfg := &runner.Config{
		Network: runner.NetworkMode{Kind: runner.NetworkHost}, Hostname: "machine",
		Names: runner.NameConfig{Hosts: []runner.HostName{{Name: "gw"}}},
	}
	if got, want := Hosts(cfg, Facts{HostHosts: "127.0.0.1 localhost machine"}), "127.0.0.1 localhost machine\n127.0.0.1\tgw\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func FuzzParseResolv(f *testing.F) {
	f.Add(hostResolv)
	f.Fuzz(func(t *testing.T, text string) {
		once := parseResolv(text).String()
		if again := parseResolv(once).String(); again != once {
			t.Errorf("%q became %q", once, again)
		}
		if strings.Contains(once, "\n\n") {
			t.Errorf("empty line in %q", once)
		}
	})
}
