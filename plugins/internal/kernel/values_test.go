package kernel

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// TestTokenBucket: the kernel's 32 bits hold any limit that is accepted, and a
// burst that is too small for one frame does not close the link.
func TestTokenBucket(t *testing.T) {
	link := &netlink.Ifb{LinkAttrs: netlink.LinkAttrs{MTU: 1500}}
	ticks := netlink.TickInUsec() * 1e6 // in a second
	for _, c := range []struct {
		limit      wire.Limit
		rate       uint64
		buffer     float64 // in ticks
		queueBytes uint32
	}{
		{wire.Limit{Rate: 8_000_000, Burst: 800_000}, 1_000_000, 0.1 * ticks, 125_000},
		{wire.Limit{Rate: 8_000_000, Burst: 8}, 1_000_000, 0.001514 * ticks, 25_000 + 1514},
		{wire.Limit{Rate: 8, Burst: 8*math.MaxUint32 - 1}, 1, math.MaxUint32, 1<<32 - 2},
		{wire.Limit{Rate: 80_000_000_000, Burst: 8}, 10_000_000_000, 3, 250_001_514}, // 151 ns, rounded up
		{wire.Limit{Rate: 8_000_000_000_000, Burst: 8*math.MaxUint32 - 1}, 1_000_000_000_000, 0.004294967294 * ticks, math.MaxUint32},
	} {
		got := tokenBucket(link, c.limit)
		if got.Rate != c.rate || got.Buffer != uint32(math.Ceil(c.buffer)) || got.Limit != c.queueBytes {
			t.Errorf("%+v: rate %d, buffer %d, limit %d; want %d, %.0f, %d", c.limit, got.Rate, got.Buffer, got.Limit, c.rate, c.buffer, c.queueBytes)
		}
	}
}

func TestCompareVLANs(t *testing.T) {
	const untagged = nl.BRIDGE_VLAN_INFO_UNTAGGED
	have := []*nl.BridgeVlanInfo{
		{Vid: 100, Flags: nl.BRIDGE_VLAN_INFO_PVID | untagged}, {Vid: 200}, {Vid: 201}, {Vid: 300, Flags: untagged},
	}
	for _, c := range []struct {
		vlans wire.PortVLANs
		want  string
	}{
		{wire.PortVLANs{Native: 100, Tagged: []wire.VLANRange{{First: 200, Last: 201}}}, ""},
		{wire.PortVLANs{Native: 300}, "VLAN 300 is not the native one of port v"},
		{wire.PortVLANs{Native: 7}, "VLAN 7 is not the native one of port v"},
		{wire.PortVLANs{Tagged: []wire.VLANRange{{First: 200, Last: 202}}}, "port v does not carry VLAN 202 tagged"},
		{wire.PortVLANs{Tagged: []wire.VLANRange{{First: 300, Last: 300}}}, "port v does not carry VLAN 300 tagged"},
	} {
		err := compareVLANs("v", have, c.vlans)
		if got := text(err); got != c.want {
			t.Errorf("%+v: %q, want %q", c.vlans, got, c.want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestVLANGateway makes the pair by which the host takes part in a VLAN; here
// all is one VLAN, for kernels without the filter.
func TestVLANGateway(t *testing.T) {
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	want := wire.VLANGateway{
		Name: "br0.7", Port: "vethgw", Bridge: "br0", MAC: wire.HardwareAddr{2, 0, 0, 0, 0, 7},
		Gateways: []netip.Prefix{netip.MustParsePrefix("10.7.0.1/24"), netip.MustParsePrefix("fd07::1/64")},
	}
	err = ns.Do(func() error {
		h, err := OpenHost()
		if err != nil {
			return err
		}
		defer h.Close()
		if err := h.EnsureBridge(wire.Bridge{Name: "br0", MTU: 1400}); err != nil {
			return err
		}
		for range 2 {
			if err := h.EnsureVLANGateway(want); err != nil {
				return err
			}
		}
		if err := h.checkVLANGateway(want); err != nil {
			t.Error(err)
		}
		out, err := ns.Output("ip", "-o", "-d", "link", "show", "master", "br0")
		t.Log(out, err)
		link, err := h.link.LinkByName("br0.7")
		if err != nil || link.Attrs().MTU != 1400 || link.Attrs().HardwareAddr.String() != "02:00:00:00:00:07" {
			t.Errorf("%+v, %v", link, err)
		}
		if err := ns.Run("ip", "addr", "del", "10.7.0.1/24", "dev", "br0.7"); err != nil {
			return err
		}
		if got := text(h.checkVLANGateway(want)); got != "veth br0.7 has lost its gateway address 10.7.0.1/24" {
			t.Errorf("check: %s", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMadeAside: where a host's interface has the name already, an older
// kernel makes the interface only by another name. What a killed process has
// left of that is no hindrance.
func TestMadeAside(t *testing.T) {
	host, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	container, err := netns.NewDown()
	if err != nil {
		t.Fatal(err)
	}
	defer container.Close()
	err = host.Do(func() error {
		if err := host.Run("sh", "-ec", "ip link add parent type veth peer name far; ip link add eth0 type veth"); err != nil {
			return err
		}
		h, err := OpenHost()
		if err != nil {
			return err
		}
		defer h.Close()
		c, err := OpenContainer(container.Path(), false)
		if err != nil {
			return err
		}
		defer c.Close()
		left, err := c.asideName("eth0")
		if err != nil {
			return err
		}
		if err := container.Run("ip", "link", "add", left, "type", "veth"); err != nil {
			return err
		}
		parent, err := h.link.LinkByName("parent")
		if err != nil {
			return err
		}
		for _, name := range []string{"eth0", "eth0", "eth1"} {
			got := h.addAside(c, macvlan{name: name, parent: parent.Attrs().Index, mode: netlink.MACVLAN_MODE_BRIDGE})
			out, err := container.Output("sh", "-c", "ip -br link | grep -v '^lo '")
			if err != nil {
				return err
			}
			if lines := strings.Count(out, "\n"); name == "eth1" && (got != nil || lines != 2) || name == "eth0" && lines != 1 {
				t.Errorf("%s: %v; there are\n%s", name, got, out)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
