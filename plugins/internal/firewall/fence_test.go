package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

func fence() wire.Fence {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	return wire.Fence{
		Device: "netctl-overlay", Port: 4789, Local: addr("192.0.2.1"),
		Members: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2"), addr("2001:db8::2")},
		Ranges:  []netip.Prefix{prefix("10.100.0.0/16"), prefix("fd00:1::/64")},
		Own:     []wire.Grouped{{Pool: prefix("10.100.1.0/24"), Group: 7}},
		Peers: []wire.Grouped{{Pool: prefix("10.100.3.0/24"), Group: 7}, {Pool: prefix("10.100.2.0/24"), Group: 7},
			{Pool: prefix("10.100.4.0/24"), Group: 8}, {Pool: prefix("fd00:1:0:0:2::/80"), Group: 7}},
		Networks: []wire.FencedNetwork{{Bridge: "nb-blue", Group: 7, Admits: []uint16{7}, Host: []netip.Addr{addr("10.100.1.0")}}},
	}
}

func inNamespace(t *testing.T, fn func(*netns.Namespace)) {
	t.Helper()
	host, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := host.Do(func() error { fn(host); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestAFenceIsWrittenOnce(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		for _, direct := range []string{"", "eth0"} {
			f := fence()
			f.Direct = direct
			if written, err := ApplyFence(f); err != nil || !written {
				t.Fatalf("first: written %v, %v", written, err)
			}
			if written, err := ApplyFence(f); err != nil || written {
				t.Errorf("second: written %v, %v; want nothing", written, err)
			}
			text, err := host.Output("nft", "list", "table", "inet", FenceTable)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				"10.100.2.0-10.100.4.255", // joined
				`iifname "netctl-overlay" goto from-tunnel`, "ip saddr @peers4 accept", "ip6 saddr @peers6 accept",
				"udp dport 4789 ip daddr 192.0.2.1 notrack accept", "udp dport 4789 ip saddr 192.0.2.1 notrack meta mark set 0x00000000 accept",
				"udp dport 4789 ip saddr @members4 accept", "udp dport 4789 drop", "udp dport 4790 ip6 saddr @members6 accept", "udp dport 4790 drop",
				"meta mark . oifname != @admit drop", "ip saddr @own4 meta mark set iifname map @leaving accept",
				`oifname "netctl-overlay" goto from-host`, "ip saddr != @own4 drop",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			if strings.Contains(text, "map @groups4") != (direct != "") {
				t.Errorf("direct %q:\n%s", direct, text)
			}
		}
		if err := RemoveFence(); err != nil {
			t.Fatal(err)
		}
		if text, _ := host.Output("nft", "list", "ruleset"); strings.TrimSpace(text) != "" {
			t.Errorf("left: %s", text)
		}
	})
}
