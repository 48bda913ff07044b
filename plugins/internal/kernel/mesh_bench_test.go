package kernel_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/test/netns"
)

// BenchmarkMesh programs 1,000 peers beside the floor, three plain netlink
// requests for each peer one after the other, in one interleaved run, and then
// again with nothing to do.
func BenchmarkMesh(b *testing.B) {
	const peers, rounds = 1000, 7
	took := map[string][]time.Duration{}
	host := func(fn func(h *kernel.Host, ns *netns.Namespace) error) {
		ns, err := netns.New()
		if err != nil {
			b.Fatal(err)
		}
		defer ns.Close()
		err = ns.Do(func() error {
			h, err := kernel.OpenHost()
			if err != nil {
				return err
			}
			defer h.Close()
			for _, args := range [][]string{{"link", "add", "eth0", "type", "bridge"}, {"addr", "add", "192.0.2.1/24", "dev", "eth0"}, {"link", "set", "eth0", "up"}} {
				if err := ns.Run("ip", args...); err != nil {
					return err
				}
			}
			if _, err := h.EnsureVxlan(tunnel()); err != nil {
				return err
			}
			return fn(h, ns)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	measure := func(name string, fn func() error) error {
		start := time.Now()
		err := fn()
		took[name] = append(took[name], time.Since(start))
		return err
	}
	for range rounds {
		host(func(*kernel.Host, *netns.Namespace) error {
			return measure("raw", func() error { return programRaw(meshOf(peers)) })
		})
		host(func(h *kernel.Host, _ *netns.Namespace) error {
			err := measure("ours", func() error { _, err := h.ApplyMesh(meshOf(peers), kernel.MeshOptions{}); return err })
			if err != nil {
				return err
			}
			return measure("again", func() error {
				report, err := h.ApplyMesh(meshOf(peers), kernel.MeshOptions{})
				if err == nil && report.Writes() != 0 {
					err = fmt.Errorf("%d writes with nothing changed", report.Writes())
				}
				return err
			})
		})
	}
	for _, name := range []string{"raw", "ours", "again"} {
		slices.Sort(took[name])
		b.ReportMetric(float64(took[name][rounds/2].Microseconds())/1000, name+"-ms")
	}
	b.ReportMetric(float64(took["ours"][rounds/2])/float64(took["raw"][rounds/2]), "ours/raw")
	b.ReportMetric(0, "ns/op")
}

// programRaw is what a program does that only adds.
func programRaw(m wire.Mesh) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(m.Device)
	if err != nil {
		return err
	}
	index := link.Attrs().Index
	for i, p := range m.Peers {
		mac, r := p.MAC(), m.Routes[i+1]
		err := h.NeighSet(&netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, State: unix.NUD_PERMANENT, Flags: unix.NTF_SELF,
			IP: p.VTEP.AsSlice(), HardwareAddr: mac.Net()})
		if err == nil {
			err = h.NeighSet(&netlink.Neigh{LinkIndex: index, Family: unix.AF_INET6, State: unix.NUD_PERMANENT,
				IP: mac.LinkLocal().AsSlice(), HardwareAddr: mac.Net()})
		}
		if err == nil {
			_, to, _ := net.ParseCIDR(r.To.String())
			err = h.RouteReplace(&netlink.Route{LinkIndex: index, Dst: to, Flags: int(netlink.FLAG_ONLINK), Protocol: wire.OverlayProtocol,
				Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: mac.LinkLocal().AsSlice()}})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
