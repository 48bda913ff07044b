package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Metrics of our routes: the kernel's own choice per family, and the largest
// one for a route that refuses, so that it yields to any other of its prefix.
const (
	metric6     = 1024
	refuse      = 1<<32 - 1
	dumpRetries = 5
)

// A meshObject is one thing in the kernel: a key, and what it says.
type meshObject interface {
	replace(*meshDevice) request
	remove(*meshDevice) request
	// order is what objects of one kind are sorted by.
	order() []byte
	fmt.Stringer
}

// meshDevice is the tunnel as messages need it.
type meshDevice struct{ index int }

// fdbEntry tells behind which tunnel address a hardware address is.
type fdbEntry struct {
	mac wire.HardwareAddr
	dst netip.Addr
}

// meshNeighbour tells the hardware address of a peer's link-local one.
type meshNeighbour struct {
	addr netip.Addr
	mac  wire.HardwareAddr
}

// meshRoute is a route as the kernel has it.
type meshRoute struct {
	to     netip.Prefix
	gw     netip.Addr
	tunnel bool // through the tunnel; otherwise the kernel finds the link
	refuse bool
	metric int
	mtu    int
	source netip.Addr
}

type routeKey struct {
	to     netip.Prefix
	metric int
}

// meshState is a mesh, wanted or found.
type meshState struct {
	fdb        map[wire.HardwareAddr]fdbEntry
	neighbours map[netip.Addr]meshNeighbour
	routes     map[routeKey]meshRoute
	// strays are found beside another of the same key.
	strays []meshObject
}

// A MeshFailure is one object that could not be set or removed.
type MeshFailure struct {
	Object string
	Err    error
}

func (f MeshFailure) Error() string { return f.Object + ": " + f.Err.Error() }
func (f MeshFailure) Unwrap() error { return f.Err }

// A MeshReport says what ApplyMesh did.
type MeshReport struct {
	// Set and Removed are the objects that were different.
	Set, Removed []string
	// Skipped were due, and left for later at the caller's wish.
	Skipped int
	Failed  []MeshFailure
}

// Writes counts the requests.
func (r MeshReport) Writes() int { return len(r.Set) + len(r.Removed) + len(r.Failed) }

// MeshOptions say how far ApplyMesh may go.
type MeshOptions struct {
	// Keep deletes nothing: what is not wanted may be wanted, and only not
	// known of.
	Keep bool
	// Skip leaves an object for later, one that failed lately; nil skips none.
	Skip func(object string) bool
}

// ApplyMesh makes the tunnel's neighbours, FDB entries and our routes exactly
// these: it reads what is there, and writes the difference, of which there is
// none when nothing has changed. An object that can't be written does not stop
// the others.
//
// The order keeps packets from being sent where nobody is: what is added comes
// up from FDB entry over neighbour to route, what is removed goes the other
// way, and what changes is replaced in place.
func (h *Host) ApplyMesh(want wire.Mesh, o MeshOptions) (MeshReport, error) {
	link, err := h.findVxlan(want.Device)
	if err != nil {
		return MeshReport{}, err
	}
	device := &meshDevice{index: link.Index}
	have, err := h.readMesh(device)
	if err != nil {
		return MeshReport{}, err
	}
	set, remove := differences(stateOf(want), have)
	if o.Keep {
		remove = nil
	}
	return device.write(set, remove, o)
}

// CheckMesh says which objects of a mesh are missing or different, without
// changing anything.
func (h *Host) CheckMesh(want wire.Mesh) ([]string, error) {
	link, err := h.findVxlan(want.Device)
	if err != nil {
		return nil, err
	}
	have, err := h.readMesh(&meshDevice{index: link.Index})
	if err != nil {
		return nil, err
	}
	set, _ := differences(stateOf(want), have)
	var names []string
	for _, object := range set {
		names = append(names, object.String())
	}
	return names, nil
}

// RemoveMeshRoutes takes the routes away that don't go with the tunnel.
func (h *Host) RemoveMeshRoutes() error {
	device := &meshDevice{}
	state := newMeshState()
	if err := h.readRoutes(device, state); err != nil {
		return err
	}
	_, remove := differences(newMeshState(), state)
	report, err := device.write(nil, remove, MeshOptions{})
	for _, f := range report.Failed {
		err = errors.Join(err, f)
	}
	return err
}

func newMeshState() *meshState {
	return &meshState{fdb: map[wire.HardwareAddr]fdbEntry{}, neighbours: map[netip.Addr]meshNeighbour{}, routes: map[routeKey]meshRoute{}}
}

// stateOf translates what is wanted into the kernel's terms.
func stateOf(want wire.Mesh) *meshState {
	s := newMeshState()
	for _, p := range want.Peers {
		mac := p.MAC()
		s.fdb[mac] = fdbEntry{mac, p.VTEP}
		s.neighbours[mac.LinkLocal()] = meshNeighbour{mac.LinkLocal(), mac}
	}
	for _, r := range want.Routes {
		route := meshRoute{to: r.To.Masked(), mtu: r.MTU, source: r.Source}
		if r.To.Addr().Is6() {
			route.metric = metric6
		}
		switch {
		case !r.Via.IsValid():
			route.refuse, route.metric, route.mtu, route.source = true, refuse, 0, netip.Addr{}
		case r.Direct:
			route.gw = r.Via
		default:
			route.gw, route.tunnel = wire.TunnelMAC(r.Via).LinkLocal(), true
		}
		s.routes[routeKey{route.to, route.metric}] = route
	}
	return s
}

// differences gives what to set and what to remove, each in the order of
// writing.
func differences(want, have *meshState) (set, remove []meshObject) {
	set = slices.Concat(fresh(want.fdb, have.fdb), fresh(want.neighbours, have.neighbours), fresh(want.routes, have.routes))
	remove = slices.Concat(gone(want.routes, have.routes), gone(want.neighbours, have.neighbours), have.strays, gone(want.fdb, have.fdb))
	return set, remove
}

// fresh are the objects that are wanted and not there, or not like that, in
// order: a routing table that is filled at random is rebuilt more often, each
// time with a wait for all CPUs.
func fresh[K comparable, O interface {
	comparable
	meshObject
}](want, have map[K]O) []meshObject {
	var result []meshObject
	for key, object := range want {
		if there, ok := have[key]; !ok || there != object {
			result = append(result, object)
		}
	}
	slices.SortFunc(result, func(a, b meshObject) int { return bytes.Compare(a.order(), b.order()) })
	return result
}

// gone are the objects whose key is not wanted.
func gone[K comparable, O meshObject](want, have map[K]O) []meshObject {
	var result []meshObject
	for key, object := range have {
		if _, ok := want[key]; !ok {
			result = append(result, object)
		}
	}
	return result
}

// readMesh dumps what there is. A dump that the kernel calls inconsistent,
// because something changed meanwhile, is made again.
func (h *Host) readMesh(d *meshDevice) (*meshState, error) {
	s := newMeshState()
	if err := h.readEntries(d, s); err != nil {
		return nil, err
	}
	return s, h.readRoutes(d, s)
}

func (h *Host) readEntries(d *meshDevice, s *meshState) error {
	entries, err := dump(func() ([]netlink.Neigh, error) { return h.link.NeighList(d.index, unix.AF_BRIDGE) })
	if err != nil {
		return fmt.Errorf("list FDB entries: %w", err)
	}
	for _, e := range entries {
		mac, dst := hardwareAddr(e.HardwareAddr), addrOf(e.IP)
		entry := fdbEntry{mac, dst}
		if _, twice := s.fdb[mac]; twice {
			s.strays = append(s.strays, entry)
			continue
		}
		s.fdb[mac] = entry
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		neighbours, err := dump(func() ([]netlink.Neigh, error) { return h.link.NeighList(d.index, family) })
		if err != nil {
			return fmt.Errorf("list neighbours: %w", err)
		}
		for _, n := range neighbours {
			if n.State&unix.NUD_PERMANENT != 0 && !addrOf(n.IP).IsMulticast() {
				s.neighbours[addrOf(n.IP)] = meshNeighbour{addrOf(n.IP), hardwareAddr(n.HardwareAddr)}
			}
		}
	}
	return nil
}

func (h *Host) readRoutes(d *meshDevice, s *meshState) error {
	filter := &netlink.Route{Protocol: wire.OverlayProtocol, Table: unix.RT_TABLE_MAIN}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := dump(func() ([]netlink.Route, error) {
			return h.link.RouteListFiltered(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			route := meshRouteOf(r, d)
			s.routes[routeKey{route.to, route.metric}] = route
		}
	}
	return nil
}

func dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range dumpRetries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, err
}

func meshRouteOf(r netlink.Route, d *meshDevice) meshRoute {
	route := meshRoute{to: destination(r), metric: r.Priority, mtu: r.MTU, source: addrOf(r.Src)}
	if r.Type == unix.RTN_UNREACHABLE {
		route.refuse, route.mtu = true, 0
		return route
	}
	route.gw, route.tunnel = addrOf(r.Gw), r.LinkIndex == d.index
	if via, ok := r.Via.(*netlink.Via); ok {
		route.gw = addrOf(via.Addr)
	}
	return route
}

func addrOf(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}

func hardwareAddr(b []byte) (mac wire.HardwareAddr) {
	copy(mac[:], b)
	return mac
}

// write sends the requests. Those that fail are reported one by one.
func (d *meshDevice) write(set, remove []meshObject, o MeshOptions) (MeshReport, error) {
	var report MeshReport
	var all []request
	due := func(object meshObject, r request, done *[]string) {
		if o.Skip != nil && o.Skip(object.String()) {
			report.Skipped++
			return
		}
		r.object, r.done = object.String(), done
		all = append(all, r)
	}
	for _, object := range set {
		due(object, object.replace(d), &report.Set)
	}
	for _, object := range remove {
		due(object, object.remove(d), &report.Removed)
	}
	failures, err := sendAll(all)
	if err != nil {
		return report, err
	}
	for i, r := range all {
		switch failed := failures[i]; {
		case failed == nil, r.done == &report.Removed && absent(failed):
			*r.done = append(*r.done, r.object)
		default:
			report.Failed = append(report.Failed, MeshFailure{r.object, failed})
		}
	}
	return report, nil
}

// UnderlayMTU is what fits into one packet on the way to each address: the MTU
// of the most specific route if it has one, else of the link with local.
func (h *Host) UnderlayMTU(local netip.Addr) (device int, to func(netip.Addr) int, err error) {
	link, err := h.linkWith(local)
	if err != nil {
		return 0, nil, err
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return h.link.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, 0)
	})
	if err != nil {
		return 0, nil, fmt.Errorf("list routes: %w", err)
	}
	limits, limited := map[netip.Prefix]int{}, false
	for _, r := range routes {
		if r.Protocol != wire.OverlayProtocol {
			limits[destination(r)] = r.MTU
			limited = limited || r.MTU != 0
		}
	}
	device = link.Attrs().MTU
	if !limited {
		return device, func(netip.Addr) int { return device }, nil
	}
	return device, func(a netip.Addr) int { return limitFor(a, limits, device) }, nil
}

// limitFor is the MTU of the most specific route, which the device's bounds.
func limitFor(a netip.Addr, limits map[netip.Prefix]int, device int) int {
	best, mtu := -1, device
	for p, limit := range limits {
		if p.Contains(a) && p.Bits() > best {
			best, mtu = p.Bits(), device
			if limit != 0 {
				mtu = min(limit, device)
			}
		}
	}
	return mtu
}
