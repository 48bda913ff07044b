package kernel

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

const dumpRetries = 5

// A meshObject is one thing in the kernel: a key, and what it says.
type meshObject interface {
	replace(*meshDevice) request
	remove(*meshDevice) request
	fmt.Stringer
}

// meshDevice is the tunnel as messages need it.
type meshDevice struct{ index int }

// fdbEntry tells behind which tunnel address a hardware address is.
type fdbEntry struct {
	mac wire.HardwareAddr
	dst netip.Addr
}

// meshNeighbour tells the hardware address of a peer's.
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
	// beside leaves a route of somebody else to the same prefix in place, behind
	// this one. It is not read from the kernel.
	beside bool
}

type routeKey struct {
	to     netip.Prefix
	metric int
}

func (k routeKey) compare(o routeKey) int {
	return cmp.Or(k.to.Addr().Compare(o.to.Addr()), cmp.Compare(k.to.Bits(), o.to.Bits()), cmp.Compare(k.metric, o.metric))
}

// meshState is a mesh, wanted or found.
type meshState struct {
	fdb        map[wire.HardwareAddr]fdbEntry
	neighbours map[netip.Addr]meshNeighbour
	routes     map[routeKey]meshRoute
	// others are IPv4 routes that are not ours: to where, with which metrics.
	others map[netip.Prefix][]int
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
	// Set and Removed are the objects that were different. They are not put into
	// words before somebody wants to read them: there may be thousands.
	Set, Removed []fmt.Stringer
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
	// Guarded waits until packets may be led to peers: it is called once, when all
	// that routes depend on is there and before the first route is written. With
	// an error no route is, and nothing is removed. nil does not wait.
	Guarded func() error
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
	device, c, err := h.compareMesh(want)
	if err != nil {
		return MeshReport{}, err
	}
	remove := c.moved
	if !o.Keep {
		remove = append(remove, c.gone...)
	}
	return device.write(c.set, remove, o)
}

// CheckMesh says which objects of a mesh are missing or different, without
// changing anything.
func (h *Host) CheckMesh(want wire.Mesh) ([]string, error) {
	_, c, err := h.compareMesh(want)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, object := range c.set {
		names = append(names, object.String())
	}
	return names, nil
}

func (h *Host) compareMesh(want wire.Mesh) (*meshDevice, changes, error) {
	link, err := h.findVxlan(want.Device)
	if err != nil {
		return nil, changes{}, err
	}
	device := &meshDevice{index: link.Index}
	have, err := readMesh(device, len(want.Peers))
	if err != nil {
		return nil, changes{}, err
	}
	return device, differences(stateOf(want, have.others), have), nil
}

// RemoveMeshRoutes takes the routes away that don't go with the tunnel.
func (h *Host) RemoveMeshRoutes() error {
	device := &meshDevice{}
	state := newMeshState(0)
	if err := readRoutes(device, state); err != nil {
		return err
	}
	report, err := device.write(nil, differences(newMeshState(0), state).gone, MeshOptions{})
	for _, f := range report.Failed {
		err = errors.Join(err, f)
	}
	return err
}

// newMeshState has room for so many peers with a pool each.
func newMeshState(peers int) *meshState {
	return &meshState{fdb: make(map[wire.HardwareAddr]fdbEntry, peers), neighbours: make(map[netip.Addr]meshNeighbour, peers),
		routes: make(map[routeKey]meshRoute, peers), others: map[netip.Prefix][]int{}}
}

// stateOf translates what is wanted into the kernel's terms. A route is as good
// as the best of others to its prefix, and comes before it (see beside): while a
// bridge still has an address of a pool that is another host's now, packets to
// that pool go to the other host.
func stateOf(want wire.Mesh, others map[netip.Prefix][]int) *meshState {
	s := newMeshState(len(want.Peers))
	for _, p := range want.Peers {
		mac := p.MAC()
		s.fdb[mac] = fdbEntry{mac, p.VTEP}
		for _, a := range p.Neighbours() {
			s.neighbours[a] = meshNeighbour{a, mac}
		}
	}
	for _, r := range want.Routes {
		route := meshRoute{to: r.To.Masked(), mtu: r.MTU, source: r.Source, metric: r.Metric()}
		for _, metric := range others[route.to] {
			route.metric = min(metric, route.metric)
		}
		switch {
		case !r.Via.IsValid():
			route.refuse, route.mtu, route.source, route.metric = true, 0, netip.Addr{}, r.Metric()
		case r.Direct:
			route.gw = r.Via
		default:
			route.gw, route.tunnel = wire.TunnelMAC(r.Via).LinkLocal(), true
		}
		s.routes[routeKey{route.to, route.metric}] = route
	}
	return s
}

// changes are what makes one mesh of another, each list in the order of writing.
type changes struct {
	set []meshObject
	// moved are routes to what is wanted by another metric, beside which the one
	// that is set would say nothing, or not for long.
	moved []meshObject
	// gone are what is not wanted.
	gone []meshObject
}

func differences(want, have *meshState) (c changes) {
	c.set = slices.Concat(
		fresh(want.fdb, have.fdb, func(a, b wire.HardwareAddr) int { return bytes.Compare(a[:], b[:]) }),
		fresh(want.neighbours, have.neighbours, netip.Addr.Compare),
		beside(fresh(want.routes, have.routes, routeKey.compare), have.routes))
	c.moved, c.gone = apart(gone(want.routes, have.routes), want.routes)
	c.gone = slices.Concat(c.gone, gone(want.neighbours, have.neighbours), have.strays, gone(want.fdb, have.fdb))
	return c
}

// apart tells routes that have another metric now from those that lead where
// nothing is wanted.
func apart(routes []meshObject, want map[routeKey]meshRoute) (moved, gone []meshObject) {
	if len(routes) == 0 {
		return nil, nil
	}
	leads := map[netip.Prefix]bool{}
	for _, r := range want {
		leads[r.to] = leads[r.to] || !r.refuse
	}
	for _, object := range routes {
		if r := object.(meshRoute); leads[r.to] && !r.refuse {
			moved = append(moved, r)
		} else {
			gone = append(gone, r)
		}
	}
	return moved, gone
}

// beside marks the routes of which there is none yet: one that only replaced
// could replace somebody else's. An IPv4 route that the kernel made for a
// bridge's address does not come back by itself when ours goes, and the bridge's
// containers could not be reached any more.
func beside(routes []meshObject, have map[routeKey]meshRoute) []meshObject {
	for i, object := range routes {
		r := object.(meshRoute)
		if _, ours := have[routeKey{r.to, r.metric}]; !ours {
			r.beside = true
			routes[i] = r
		}
	}
	return routes
}

// fresh are the objects that are wanted and not there, or not like that, in the
// order of their keys: a routing table that is filled at random is rebuilt more
// often, each time with a wait for all CPUs.
func fresh[K comparable, O interface {
	comparable
	meshObject
}](want, have map[K]O, compare func(K, K) int) []meshObject {
	var keys []K
	for key, object := range want {
		if there, ok := have[key]; !ok || there != object {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compare)
	result := make([]meshObject, len(keys))
	for i, key := range keys {
		result[i] = want[key]
	}
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

// readMesh lists what there is. A list that the kernel calls inconsistent,
// because something changed meanwhile, is made again.
func readMesh(d *meshDevice, peers int) (*meshState, error) {
	s := newMeshState(peers)
	if err := readEntries(d, s); err != nil {
		return nil, err
	}
	return s, readRoutes(d, s)
}

func readEntries(d *meshDevice, s *meshState) error {
	begin := func() { clear(s.fdb); s.strays = nil }
	err := listEntries(unix.AF_BRIDGE, d.index, begin, func(dst netip.Addr, mac wire.HardwareAddr, _ uint16) {
		entry := fdbEntry{mac, dst}
		if _, twice := s.fdb[mac]; twice {
			s.strays = append(s.strays, entry)
			return
		}
		s.fdb[mac] = entry
	})
	if err != nil {
		return fmt.Errorf("list FDB entries: %w", err)
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		begin := func() {
			maps.DeleteFunc(s.neighbours, func(a netip.Addr, _ meshNeighbour) bool { return of(family, a) })
		}
		err := listEntries(family, d.index, begin, func(addr netip.Addr, mac wire.HardwareAddr, state uint16) {
			if state&unix.NUD_PERMANENT != 0 && !addr.IsMulticast() {
				s.neighbours[addr] = meshNeighbour{addr, mac}
			}
		})
		if err != nil {
			return fmt.Errorf("list neighbours: %w", err)
		}
	}
	return nil
}

// readRoutes reads ours of both families, and the others of IPv4.
func readRoutes(d *meshDevice, s *meshState) error {
	for family, protocol := range map[uint8]uint8{unix.AF_INET: 0, unix.AF_INET6: wire.OverlayProtocol} {
		begin := func() {
			maps.DeleteFunc(s.routes, func(k routeKey, _ meshRoute) bool { return of(family, k.to.Addr()) })
			if family == unix.AF_INET {
				clear(s.others)
			}
		}
		if err := listRoutes(family, protocol, begin, func(r listedRoute) { s.note(d, r) }); err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
	}
	return nil
}

func (s *meshState) note(d *meshDevice, r listedRoute) {
	if r.protocol != wire.OverlayProtocol {
		s.others[r.to] = append(s.others[r.to], r.metric)
		return
	}
	if r.tunnel = r.link == d.index; r.refuse {
		r.meshRoute = meshRoute{to: r.to, metric: r.metric, refuse: true}
	}
	s.routes[routeKey{r.to, r.metric}] = r.meshRoute
}

func of(family uint8, a netip.Addr) bool { return a.Is6() == (family == unix.AF_INET6) }

func dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range dumpRetries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, err
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
	var before, after []request // the guard
	due := func(when *[]request, object meshObject, r request, done *[]fmt.Stringer) {
		if o.Skip != nil && o.Skip(object.String()) {
			report.Skipped++
			return
		}
		r.object, r.done = object, done
		*when = append(*when, r)
	}
	for _, object := range set {
		when := &before
		if _, leads := object.(meshRoute); leads {
			when = &after
		}
		due(when, object, object.replace(d), &report.Set)
	}
	for _, object := range remove {
		due(&after, object, object.remove(d), &report.Removed)
	}
	failures, err := sendGuarded(before, after, o.Guarded)
	if err != nil {
		return report, err
	}
	for i, r := range append(before, after...) {
		switch failed := failures[i]; {
		case failed == nil, r.done == &report.Removed && absent(failed):
			*r.done = append(*r.done, r.object)
		default:
			report.Failed = append(report.Failed, MeshFailure{r.object.String(), failed})
		}
	}
	return report, nil
}

// sendGuarded sends some requests, and others when it is told that they may be.
func sendGuarded(before, after []request, guarded func() error) ([]error, error) {
	failures, err := sendAll(before)
	if err == nil && guarded != nil {
		err = guarded()
	}
	if err != nil {
		return nil, err
	}
	more, err := sendAll(after)
	return append(failures, more...), err
}

// UnderlayMTU is what fits into one packet on the way to each address of local's
// family: the MTU of the most specific route if it has one, else of the link with
// local.
func (h *Host) UnderlayMTU(local netip.Addr) (device int, to func(netip.Addr) int, err error) {
	link, err := h.linkWith(local)
	if err != nil {
		return 0, nil, err
	}
	family := uint8(unix.AF_INET)
	if local.Is6() {
		family = unix.AF_INET6
	}
	limits, limited := map[netip.Prefix]int{}, false
	err = listRoutes(family, 0, func() { clear(limits); limited = false }, func(r listedRoute) {
		if r.protocol != wire.OverlayProtocol {
			limits[r.to] = r.mtu
			limited = limited || r.mtu != 0
		}
	})
	if err != nil {
		return 0, nil, fmt.Errorf("list routes: %w", err)
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
