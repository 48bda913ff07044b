package names

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// network is one network in a snapshot.
type network struct {
	name string
	// label is the name as a domain name, "" if it can't be one: then its
	// containers have only their own names.
	label Name
	// zone is <label>.<base>, and server the name of its gateway.
	zone, server Name
	nodes        nameMap[*node]
	clients      addrMap[*Client]
	gateway      *Set
}

// node is what is known at one name of a network.
type node struct {
	own, hosts []*endpoint // the two tiers, oldest first
	below      int         // names that end in this one
	set        *Set        // addresses of the tier that is served
}

// owners are the endpoints the name stands for: a hostname counts only where
// nobody has the name for his own.
func (v *node) owners() []*endpoint {
	if v == nil {
		return nil
	}
	if len(v.own) > 0 {
		return v.own
	}
	return v.hosts
}

// finish orders the owners and collects their addresses, each once.
func (v *node) finish() {
	slices.SortFunc(v.own, byAge)
	slices.SortFunc(v.hosts, byAge)
	var addrs []netip.Addr
	seen := make(map[netip.Addr]bool)
	for _, e := range v.owners() {
		for _, a := range e.addrs {
			if !seen[a] {
				seen[a] = true
				addrs = append(addrs, a)
			}
		}
	}
	v.set = newSet(addrs)
}

// find is the node of a name that somebody has, or nil.
func (n *network) find(name []byte) *node {
	if v := n.nodes.get(name); len(v.owners()) > 0 {
		return v
	}
	return nil
}

// everyone goes through the clients, once for each address.
func (n *network) everyone() iter.Seq[*Client] {
	return func(yield func(*Client) bool) {
		if n == nil {
			return
		}
		for _, shard := range n.clients.shard {
			for _, c := range shard {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// building is a network in the table: the next version, and the last one.
type building struct {
	network
	frozen   *network // nil: touched since
	members  int
	gateways refs[netip.Addr]
}

func (b *building) edit() *building {
	b.frozen = nil
	return b
}

func (b *building) setNode(name Name, v *node) {
	if len(v.owners()) == 0 && v.below == 0 {
		b.nodes.remove(name)
		return
	}
	// An edit in place would reach readers of the last snapshot.
	v.own, v.hosts = slices.Clone(v.own), slices.Clone(v.hosts)
	v.finish()
	b.nodes.put(name, v)
}

func (b *building) addGateway(a netip.Addr) {
	if b.gateways.add(a) {
		b.collectGateways()
	}
}

func (b *building) dropGateway(a netip.Addr) {
	if b.gateways.drop(a) {
		b.collectGateways()
	}
}

func (b *building) collectGateways() {
	b.edit().gateway = newSet(slices.SortedFunc(maps.Keys(b.gateways), netip.Addr.Compare))
}

// network is the number of a network, which is made if it is new.
func (t *Table) network(name string) int {
	if i, ok := t.index[name]; ok {
		return i
	}
	b := &building{network: network{name: name, gateway: new(Set)}, gateways: make(refs[netip.Addr])}
	if label, err := Parse(name); err == nil && len(label)+len(t.base) <= maxName {
		b.label, b.zone = label, label+t.base
		b.server = gatewayLabel + b.zone
	}
	i := slices.Index(t.nets, nil)
	if i < 0 {
		i = len(t.nets)
		t.nets = append(t.nets, nil)
	}
	t.nets[i], t.index[name] = b, i
	return i
}

// freeEmpty gives the numbers of networks without attachments back.
func (t *Table) freeEmpty() {
	for i, b := range t.nets {
		if b != nil && b.members == 0 {
			delete(t.index, b.name)
			t.nets[i] = nil
		}
	}
}

// freeze is the list of networks for the next snapshot.
func (t *Table) freeze() []*network {
	list := make([]*network, len(t.nets))
	for i, b := range t.nets {
		if b == nil {
			continue
		}
		if b.frozen == nil {
			b.nodes.freeze()
			b.clients.freeze()
			version := b.network
			b.frozen = &version
		}
		list[i] = b.frozen
	}
	return list
}
