package names

import (
	"net/netip"
	"slices"

	"github.com/netctl/netctl/ipam/ledger"
)

// A Table follows the ledger and makes snapshots. It has one owner; only the
// snapshots are shared.
type Table struct {
	base      Name
	endpoints map[ledger.Key]*endpoint
	// containers are the endpoints of a container, unsorted.
	containers map[string][]*endpoint
	nets       []*building
	index      map[string]int // number of a network in nets
	listeners  refs[listening]
	places     refs[placed]
	subnets    refs[netip.Prefix]
	// inside are the containers that are served in their own namespaces.
	inside map[string]*Client
	// hidden are containers that have another one's address, as other hosts may
	// tell of theirs.
	hidden map[addressOf][]string

	last *Snapshot
	// What the current edit has touched.
	dirtyNames      map[nameOf]*node
	dirtyContainers map[string]struct{}
	dirtyListeners  bool
	dirtySubnets    bool
}

// listening is a listener as needed by one network.
type listening struct {
	Listener
	network int
}

// placed is a listener that is elsewhere than at port 53.
type placed struct {
	Listener
	Place
}

// nameOf is a name on a network.
type nameOf struct {
	network int
	name    Name
}

// addressOf is an address on a network.
type addressOf struct {
	network int
	addr    netip.Addr
}

// NewTable makes an empty table for a base domain.
func NewTable(base Name) *Table {
	t := &Table{base: base}
	t.reset()
	t.last = &Snapshot{base: base}
	return t
}

func (t *Table) reset() {
	t.endpoints = make(map[ledger.Key]*endpoint)
	t.containers = make(map[string][]*endpoint)
	t.nets, t.index = nil, make(map[string]int)
	t.inside, t.hidden = make(map[string]*Client), make(map[addressOf][]string)
	t.listeners, t.places, t.subnets = make(refs[listening]), make(refs[placed]), make(refs[netip.Prefix])
	t.dirtyNames = make(map[nameOf]*node)
	t.dirtyContainers = make(map[string]struct{})
	t.dirtyListeners, t.dirtySubnets = true, true
}

// Apply takes in a change and returns the snapshot that contains it.
func (t *Table) Apply(d ledger.Delta) *Snapshot {
	if d.Full {
		t.reset()
	}
	for _, k := range d.Gone {
		t.remove(k)
	}
	// All of the old goes before any of the new comes: an address or a name
	// may pass from one record to another within one change.
	for _, r := range d.Changed {
		t.remove(r.Key)
	}
	for _, r := range d.Changed {
		if !r.Names.IsZero() {
			t.add(newEndpoint(r))
		}
	}
	return t.commit(d.Generation)
}

func (t *Table) add(e *endpoint) {
	t.endpoints[e.key] = e
	c := e.container()
	t.containers[c] = append(t.containers[c], e)
	t.dirtyContainers[c] = struct{}{}
	i := t.network(e.key.Network)
	n := t.nets[i]
	n.members++
	for _, name := range e.own {
		t.insert(i, name, func(v *node) { v.own = append(v.own, e) })
	}
	if e.hostname != "" {
		t.insert(i, e.hostname, func(v *node) { v.hosts = append(v.hosts, e) })
	}
	for _, g := range e.gateways {
		n.addGateway(g)
	}
	for _, l := range e.listeners() {
		t.dirtyListeners = t.listeners.add(listening{l, i}) || t.dirtyListeners
	}
	for _, p := range e.places() {
		t.dirtyListeners = t.places.add(p) || t.dirtyListeners
	}
	for _, p := range e.subnets {
		t.dirtySubnets = t.subnets.add(p) || t.dirtySubnets
	}
}

func (t *Table) remove(k ledger.Key) {
	e := t.endpoints[k]
	if e == nil {
		return
	}
	delete(t.endpoints, k)
	t.dropFromContainer(e)
	i := t.index[k.Network]
	n := t.nets[i]
	for _, name := range e.own {
		t.withdraw(i, name, func(v *node) { v.own = without(v.own, e) })
	}
	if e.hostname != "" {
		t.withdraw(i, e.hostname, func(v *node) { v.hosts = without(v.hosts, e) })
	}
	for _, a := range e.addrs {
		if c := n.clients.get(a); c != nil && c.of == e.container() {
			n.edit().clients.remove(a)
			t.show(addressOf{i, a})
		}
	}
	for _, g := range e.gateways {
		n.dropGateway(g)
	}
	for _, l := range e.listeners() {
		t.dirtyListeners = t.listeners.drop(listening{l, i}) || t.dirtyListeners
	}
	for _, p := range e.places() {
		t.dirtyListeners = t.places.drop(p) || t.dirtyListeners
	}
	for _, p := range e.subnets {
		t.dirtySubnets = t.subnets.drop(p) || t.dirtySubnets
	}
	n.members--
}

func (t *Table) dropFromContainer(e *endpoint) {
	c := e.container()
	t.dirtyContainers[c] = struct{}{}
	if rest := without(t.containers[c], e); len(rest) > 0 {
		t.containers[c] = rest
	} else {
		delete(t.containers, c)
	}
}

func without(list []*endpoint, e *endpoint) []*endpoint {
	return slices.DeleteFunc(slices.Clone(list), func(have *endpoint) bool { return have == e })
}

// insert adds an owner to a name, and the name to the names above it: "a.b"
// makes "b" exist, with nothing at it (RFC 4592 section 2.2.2).
func (t *Table) insert(network int, name Name, change func(*node)) {
	change(t.editNode(network, name))
	for up := name.parent(); up != ""; up = up.parent() {
		t.editNode(network, up).below++
	}
}

func (t *Table) withdraw(network int, name Name, change func(*node)) {
	change(t.editNode(network, name))
	for up := name.parent(); up != ""; up = up.parent() {
		t.editNode(network, up).below--
	}
}

// editNode is the node of a name, in a copy that belongs to this edit.
func (t *Table) editNode(network int, name Name) *node {
	at := nameOf{network, name}
	if v := t.dirtyNames[at]; v != nil {
		return v
	}
	v := new(node)
	if old := t.nets[network].nodes.lookup(name); old != nil {
		*v = node{own: slices.Clip(old.own), hosts: slices.Clip(old.hosts), below: old.below}
	}
	t.dirtyNames[at] = v
	return v
}

// commit ends the edit: what was touched is made final, and everything else
// is shared with the snapshot before.
func (t *Table) commit(generation uint64) *Snapshot {
	for at, v := range t.dirtyNames {
		t.nets[at.network].edit().setNode(at.name, v)
	}
	for container := range t.dirtyContainers {
		t.placeClient(container)
	}
	s := *t.last
	s.Generation, s.Endpoints = generation, len(t.endpoints)
	t.freeEmpty()
	s.networks = t.freeze()
	if t.dirtySubnets {
		s.subnets = newPrefixSet(t.subnets)
	}
	if t.dirtyListeners {
		s.listeners, s.ListenersSince = t.listenerTable(), generation
		s.places = t.placeTable()
		s.gateways = make(map[netip.Addr]struct{})
		for l := range s.listeners {
			if l.Container == "" { // the host may have a server at that address
				s.gateways[l.Gateway] = struct{}{}
			}
		}
	}
	clear(t.dirtyNames)
	clear(t.dirtyContainers)
	t.dirtyListeners, t.dirtySubnets = false, false
	t.last = &s
	return t.last
}

// placeClient makes a container known at all its addresses.
func (t *Table) placeClient(container string) {
	endpoints := t.containers[container]
	if len(endpoints) == 0 {
		delete(t.inside, container)
		return
	}
	c := newClient(endpoints, t.index)
	if slices.ContainsFunc(endpoints, func(e *endpoint) bool { return e.inside != 0 }) {
		t.inside[container] = c
		t.dirtyListeners = true
	} else {
		delete(t.inside, container)
	}
	for _, e := range endpoints {
		for _, a := range e.addrs {
			t.settle(addressOf{t.index[e.key.Network], a}, c)
		}
	}
}

// settle makes a client the one who is at an address. Of two it is this host's
// container: who asks from its address is known better here.
func (t *Table) settle(at addressOf, c *Client) {
	clients := &t.nets[at.network].edit().clients
	if have := clients.get(at.addr); have != nil && have.of != c.of {
		loser := have
		if have.before(c) {
			loser = c
		}
		if !slices.Contains(t.hidden[at], loser.of) {
			t.hidden[at] = append(t.hidden[at], loser.of)
		}
		if loser == c {
			return
		}
	}
	clients.put(at.addr, c)
}

// show has those placed whom the owner of an address until now has hidden.
func (t *Table) show(at addressOf) {
	for _, container := range t.hidden[at] {
		t.dirtyContainers[container] = struct{}{}
	}
	delete(t.hidden, at)
}

// listenerTable finds for every listener of the host's the client that the host
// is there, and for one in a container the container.
// One address belongs to one network as a rule, but two may share a bridge.
func (t *Table) listenerTable() map[Listener]*Client {
	m := make(map[Listener]*Client)
	for l := range t.listeners {
		if l.Container != "" {
			m[l.Listener] = t.inside[l.Container]
			continue
		}
		c := m[l.Listener]
		if c == nil {
			c = &Client{gateway: newSet([]netip.Addr{l.Gateway})}
			m[l.Listener] = c
		}
		c.networks = append(c.networks, l.network)
		slices.Sort(c.networks)
	}
	return m
}

// placeTable says where listeners are that are not at port 53. While the
// records of a network are being changed to another port both are known; then
// any is as good as the other.
func (t *Table) placeTable() map[Listener]Place {
	m := make(map[Listener]Place)
	for p := range t.places {
		m[p.Listener] = p.Place
	}
	return m
}
