package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

func fence() wire.Fence {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	return wire.Fence{
		Device: "netctl-overlay", Tunnel: 7, Underlay: 6, Port: 4789, Local: addr("192.0.2.1"),
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
		// What an earlier version made is not left beside it.
		if err := host.Run("nft", "add table inet "+FenceTable); err != nil {
			t.Fatal(err)
		}
		for _, direct := range []string{"", "eth0"} {
			f := fence()
			f.Direct = direct
			if written, err := ApplyFence(f, false); err != nil || !written {
				t.Fatalf("first: written %v, %v", written, err)
			}
			if written, err := ApplyFence(f, false); err != nil || written {
				t.Errorf("second: written %v, %v; want nothing", written, err)
			}
			text := fenceText(t, host)
			contains(t, text, "10.100.2.0/24, 10.100.3.0/24,", // one by one
				"udp dport 4789 ip daddr 192.0.2.1 iif 6 notrack accept", "meta l4proto udp ip saddr @members fib saddr . iif oif missing drop",
				"iif 7 ip saddr @peers accept", "iif 7 ip6 saddr @peers accept", `iifname "nb-blue" accept`, `iifname "netctl-overlay" drop`,
				"iifname \"lo\" accept", "ip saddr @ranges drop",
				"udp dport 4789 ip saddr 192.0.2.1 notrack meta mark set 0x00000000 accept",
				"udp dport 4789 ip saddr @members accept", "udp dport 4789 drop", "udp dport 4790 ip6 saddr @members accept", "udp dport 4790 drop",
				`oif 7 ip saddr 10.100.1.0/24 iifname "nb-blue" meta mark set 0x00000007 accept`, `oifname "netctl-overlay" drop`,
				`iif 7 meta mark 0x00000007 oifname "nb-blue" meta mark set 0x00000000 accept`,
				`oifname "netctl-overlay" goto from-host`, "ip saddr != @own drop")
			if strings.Contains(text, "map @groups") != (direct != "") {
				t.Errorf("direct %q:\n%s", direct, text)
			}
			if direct != "" { // for each family, as a container's packets by the tunnel are
				for _, ip := range []string{"ip", "ip6"} {
					contains(t, text, `iifname "eth0" meta mark set `+ip+` saddr map @groups accept`,
						ip+" daddr @peers iifname @bridges goto to-direct",
						"meta mark set "+ip+" saddr map @senders meta mark . iifname @admit meta mark set 0x00000000 accept\n\t\tdrop", `iifname "eth0" `+ip+" saddr @peers goto direct")
				}
			}
			if strings.Contains(text, "table inet") {
				t.Errorf("the earlier version's table is left:\n%s", text)
			}
		}
		f := fence()
		f.Tunnel++ // made anew
		if written, err := ApplyFence(f, false); err != nil || !written {
			t.Errorf("another device: written %v, %v", written, err)
		}
		// One of the two tables is gone.
		if err := host.Run("nft", "delete table ip6 "+FenceTable); err != nil {
			t.Fatal(err)
		}
		if written, err := ApplyFence(f, false); err != nil || !written {
			t.Errorf("repair: written %v, %v", written, err)
		}
		for range 2 {
			if err := RemoveFence(); err != nil {
				t.Fatal(err)
			}
		}
		if text, _ := host.Output("nft", "list", "ruleset"); strings.TrimSpace(text) != "" {
			t.Errorf("left: %s", text)
		}
	})
}

// Many networks are looked up, in as many rules as one.
func TestAFenceOfManyNetworksLooksUp(t *testing.T) {
	inNamespace(t, func(host *netns.Namespace) {
		f := fence()
		f.Networks, f.Own = nil, nil
		for i := range few + 1 {
			group := uint16(i + 1)
			f.Networks = append(f.Networks, wire.FencedNetwork{Bridge: fmt.Sprintf("nb-%d", i), Group: group, Admits: []uint16{group}})
			f.Own = append(f.Own, wire.Grouped{Pool: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(101 + i), 0, 0}), 24), Group: group})
		}
		if _, err := ApplyFence(f, false); err != nil {
			t.Fatal(err)
		}
		text := fenceText(t, host)
		contains(t, text, "iifname @bridges accept", "oif 7 ip saddr @own meta mark set iifname map @leaving accept",
			"iif 7 meta mark . oifname @admit meta mark set 0x00000000 accept")
	})
}

func fenceText(t *testing.T, host *netns.Namespace) string {
	t.Helper()
	text, err := host.Output("nft", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func contains(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
