package kernel_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// world is a host and a container in it, entered for one test.
func world(t *testing.T, fn func(h *kernel.Host, c *kernel.Container, host, container *netns.Namespace)) {
	t.Helper()
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
		h, err := kernel.OpenHost()
		if err != nil {
			return err
		}
		defer h.Close()
		c, err := kernel.OpenContainer(container.Path(), true)
		if err != nil {
			return err
		}
		defer c.Close()
		fn(h, c, host, container)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func bridge() wire.Bridge {
	return wire.Bridge{Name: "br0", MAC: wire.HardwareAddr{2, 0, 0, 0, 0, 1}, Gateways: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}}
}

func veth() wire.Veth {
	return wire.Veth{Host: "vethtest", Container: "eth0", Bridge: "br0", MTU: 1400, MAC: wire.HardwareAddr{2, 0, 0, 0, 0, 2}, Hairpin: true}
}

// TestDeletedLinksAreGoneAtOnce: when DeleteLink returns nobody sees the pair,
// although the kernel is not done with it.
func TestDeletedLinksAreGoneAtOnce(t *testing.T) {
	world(t, func(h *kernel.Host, c *kernel.Container, host, container *netns.Namespace) {
		if err := h.EnsureBridge(bridge()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := h.CreateLink(c, veth()); err != nil {
				t.Fatal(err)
			}
			if err := h.DeleteLink("vethtest"); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Describe("vethtest"); err == nil {
				t.Fatal("the host's end is still there")
			}
			if exists, err := c.HasLink("eth0"); exists || err != nil {
				t.Fatalf("the container's end is still there (%v)", err)
			}
		}
		if err := h.DeleteLink("vethtest"); err != nil {
			t.Fatalf("a link that is not there: %v", err)
		}
	})
	// The children are reaped.
	for range 100 {
		if out, _ := os.ReadFile("/proc/self/task/" + pid() + "/children"); len(out) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("children left")
}

func pid() string { self, _ := os.Readlink("/proc/self"); return self }

// TestPortsHaveNoAddresses: not even a link-local one. A link whose MTU is too
// small for IPv6 comes up too.
func TestPortsHaveNoAddresses(t *testing.T) {
	for _, mtu := range []int{1400, 1200} {
		world(t, func(h *kernel.Host, c *kernel.Container, host, container *netns.Namespace) {
			if err := h.EnsureBridge(bridge()); err != nil {
				t.Fatal(err)
			}
			want := veth()
			want.MTU = mtu
			made, err := h.CreateLink(c, want)
			if err != nil {
				t.Fatal(err)
			}
			owned := wire.Owned{Link: want, Loopback: true}
			inner, err := c.Configure(owned, made)
			if err != nil || inner.Name != "eth0" || inner.MTU != mtu || inner.MAC.String() != want.MAC.String() {
				t.Errorf("MTU %d: the container's end is %+v, %v", mtu, inner, err)
			}
			out, err := host.Output("ip", "addr", "show", "vethtest")
			if err != nil || !strings.Contains(out, "state UP") || strings.Contains(out, "inet") {
				t.Errorf("MTU %d: %s, %v", mtu, out, err)
			}
			if out, err := container.Output("ip", "addr", "show", "lo"); err != nil || !strings.Contains(out, "UP") {
				t.Errorf("MTU %d: %s, %v", mtu, out, err)
			}
		})
	}
}

func TestOneVethRequestSetsEverything(t *testing.T) {
	world(t, func(h *kernel.Host, c *kernel.Container, host, container *netns.Namespace) {
		if err := h.EnsureBridge(bridge()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.CreateLink(c, veth()); err != nil {
			t.Fatal(err)
		}
		out, err := host.Output("ip", "-d", "link", "show", "vethtest")
		for _, want := range []string{"mtu 1400", "master br0", "hairpin on", "UP"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("no %q in %s, %v", want, out, err)
			}
		}
		out, err = container.Output("ip", "link", "show", "eth0")
		for _, want := range []string{"mtu 1400", "02:00:00:00:00:02"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("no %q in %s, %v", want, out, err)
			}
		}
		if _, err := h.CreateLink(c, veth()); err == nil || !strings.Contains(err.Error(), "exists already") {
			t.Errorf("made twice: %v", err)
		}
	})
}

func TestBridgesAreEnsured(t *testing.T) {
	world(t, func(h *kernel.Host, _ *kernel.Container, host, _ *netns.Namespace) {
		for range 2 {
			if err := h.EnsureBridge(bridge()); err != nil {
				t.Fatal(err)
			}
		}
		other := bridge()
		other.Gateways = []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")}
		if err := h.EnsureBridge(other); err == nil || !strings.Contains(err.Error(), "bridge br0 has the address 10.1.0.1/24 already") {
			t.Errorf("another gateway: %v", err)
		}
		other.ReplaceGateways = true
		if err := h.EnsureBridge(other); err != nil {
			t.Error(err)
		}
		if out, err := host.Output("ip", "-brief", "addr", "show", "br0"); err != nil || !strings.Contains(out, "10.2.0.1/24") || strings.Contains(out, "10.1.0.1") {
			t.Errorf("%s, %v", out, err)
		}
		other.Promiscuous = true
		if err := h.EnsureBridge(other); err != nil {
			t.Error(err)
		}
		if out, err := host.Output("ip", "link", "show", "br0"); err != nil || !strings.Contains(out, "PROMISC") {
			t.Errorf("promiscuous: %s, %v", out, err)
		}
		if err := host.Run("ip", "link", "add", "notabridge", "type", "veth"); err != nil {
			t.Fatal(err)
		}
		if err := h.EnsureBridge(wire.Bridge{Name: "notabridge"}); err == nil || !strings.Contains(err.Error(), "is a veth, not a bridge") {
			t.Errorf("a name that is taken: %v", err)
		}
		// A port that somebody else put there keeps the bridge.
		if err := host.Run("ip", "link", "set", "notabridge", "master", "br0"); err != nil {
			t.Fatal(err)
		}
		there := func() bool { return host.Run("ip", "link", "show", "br0") == nil }
		if err := h.RemoveBridge("br0"); err != nil || !there() {
			t.Errorf("with a port of somebody's: %v, there %v", err, there())
		}
		if err := host.Run("ip", "link", "set", "notabridge", "nomaster"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.RemoveBridge("br0"); err != nil || there() {
				t.Errorf("%v, there %v", err, there())
			}
		}
	})
}

func TestMacvlanIsMadeInTheContainer(t *testing.T) {
	world(t, func(h *kernel.Host, c *kernel.Container, host, container *netns.Namespace) {
		if err := host.Run("sh", "-c", "ip link add parent mtu 1450 type veth peer name far; ip link set parent up; ip link set far up; ip link add eth0 type veth"); err != nil {
			t.Fatal(err) // the host has an eth0 too: names must not collide
		}
		want := wire.Macvlan{Container: "eth0", Parent: "parent", Mode: wire.MacvlanBridge, MAC: wire.HardwareAddr{2, 0, 0, 0, 0, 9}}
		if _, err := h.CreateLink(c, want); err != nil {
			t.Fatal(err)
		}
		out, err := container.Output("ip", "-d", "link", "show", "eth0")
		for _, text := range []string{"mtu 1450", "02:00:00:00:00:09", "macvlan mode bridge"} {
			if err != nil || !strings.Contains(out, text) {
				t.Errorf("no %q in %s, %v", text, out, err)
			}
		}
		big := want
		big.Container, big.MTU = "eth1", 1500
		if _, err := h.CreateLink(c, big); err == nil || !strings.Contains(err.Error(), "at most 1450") {
			t.Errorf("MTU above the parent's: %v", err)
		}
		gone := want
		gone.Parent = "nope"
		if _, err := h.Ready(gone); err == nil || !strings.Contains(err.Error(), `"nope"`) {
			t.Errorf("no parent: %v", err)
		}
		byRoute := want
		byRoute.Parent = ""
		if _, err := h.Ready(byRoute); err == nil || !strings.Contains(err.Error(), "default route") {
			t.Errorf("no default route: %v", err)
		}
		if err := c.DeleteLink("eth0"); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkDeleteLink(b *testing.B) {
	host, err := netns.New()
	if err != nil {
		b.Fatal(err)
	}
	defer host.Close()
	container, err := netns.NewDown()
	if err != nil {
		b.Fatal(err)
	}
	defer container.Close()
	err = host.Do(func() error {
		h, err := kernel.OpenHost()
		if err != nil {
			return err
		}
		defer h.Close()
		c, err := kernel.OpenContainer(container.Path(), true)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := h.EnsureBridge(bridge()); err != nil {
			return err
		}
		for b.Loop() {
			b.StopTimer()
			if _, err := h.CreateLink(c, veth()); err != nil {
				return err
			}
			b.StartTimer()
			if err := h.DeleteLink("vethtest"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
