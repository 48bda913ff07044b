package static

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// A File lists the hosts of an overlay. It is the same on each of them.
type File struct {
	// Cluster names it; "" is "static". Moving to another store keeps it.
	Cluster  string    `json:"cluster,omitempty"`
	VNI      uint32    `json:"vni,omitempty"`
	Port     uint16    `json:"port,omitempty"`
	Networks []Network `json:"networks"`
	Peers    []Peer    `json:"peers"`
}

// A Network of the file. Its group is its place in the list, from 1, unless it
// says otherwise.
type Network struct {
	Name       string          `json:"name"`
	Ranges     []netip.Prefix  `json:"ranges"`
	Group      uint16          `json:"group,omitempty"`
	Open       bool            `json:"open,omitempty"`
	FastPath   store.FastPath  `json:"fastPath,omitzero"`
	Definition json.RawMessage `json:"definition,omitempty"`
}

// A Peer is one host: how it is called, its tunnel address, and its pools of
// each network.
type Peer struct {
	Name  string                    `json:"name"`
	VTEP  netip.Addr                `json:"vtep"`
	Pools map[string][]netip.Prefix `json:"pools"`
}

// Parse reads a file and refuses one that contradicts itself: the message names
// the two that do.
func Parse(data []byte) (File, error) {
	var f File
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return f, fmt.Errorf("invalid JSON: %w", err)
	}
	if f.Cluster == "" {
		f.Cluster = "static"
	}
	if f.VNI >= 1<<24 {
		return f, fmt.Errorf("key vni: invalid value %d: want 1 to 16777215", f.VNI)
	}
	if f.Port == 1<<16-1 {
		return f, fmt.Errorf("key port: invalid value %d: probes need the next one", f.Port)
	}
	if err := f.checkNetworks(); err != nil {
		return f, err
	}
	return f, f.checkPeers()
}

func (f *File) checkNetworks() error {
	var ranges []owned
	groups := map[uint16]string{}
	names := map[string]bool{}
	for i := range f.Networks {
		n := &f.Networks[i]
		if err := store.CheckName(n.Name); err != nil {
			return fmt.Errorf("networks[%d]: %w", i, err)
		}
		if names[n.Name] {
			return fmt.Errorf("networks[%d]: name %q is used twice", i, n.Name)
		}
		names[n.Name] = true
		if n.Group == 0 {
			n.Group = uint16(i + 1)
		}
		if other, taken := groups[n.Group]; taken {
			return fmt.Errorf("networks %s and %s have the same group %d", other, n.Name, n.Group)
		}
		groups[n.Group] = n.Name
		if len(n.Ranges) == 0 {
			return fmt.Errorf("network %s: key ranges is missing: want a prefix such as 10.100.0.0/16", n.Name)
		}
		for _, r := range n.Ranges {
			if err := claim(&ranges, owned{r, "network " + n.Name}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *File) checkPeers() error {
	names, vteps := map[string]bool{}, map[netip.Addr]string{}
	var pools []owned
	for i, p := range f.Peers {
		if p.Name == "" || names[p.Name] {
			return fmt.Errorf("peers[%d]: name %q is missing or used twice", i, p.Name)
		}
		names[p.Name] = true
		if !p.VTEP.IsValid() || p.VTEP.IsUnspecified() || p.VTEP.IsLoopback() || p.VTEP.IsMulticast() {
			return fmt.Errorf("peer %s: key vtep: invalid tunnel address %s: want the address by which the others reach this host", p.Name, p.VTEP)
		}
		if other, taken := vteps[p.VTEP]; taken {
			return fmt.Errorf("peers %s and %s have the same tunnel address %s", other, p.Name, p.VTEP)
		}
		vteps[p.VTEP] = p.Name
		for _, network := range sortedNetworks(p.Pools) {
			if err := f.checkPools(p, network, &pools); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *File) checkPools(p Peer, network string, taken *[]owned) error {
	n := slices.IndexFunc(f.Networks, func(n Network) bool { return n.Name == network })
	if n < 0 {
		return fmt.Errorf("peer %s has pools of network %s, which is not under networks", p.Name, network)
	}
	for _, pool := range p.Pools[network] {
		inside := slices.ContainsFunc(f.Networks[n].Ranges, func(r netip.Prefix) bool {
			return r.Contains(pool.Addr()) && r.Bits() <= pool.Bits()
		})
		if !inside {
			return fmt.Errorf("peer %s: pool %s is not inside the ranges %v of network %s", p.Name, pool, f.Networks[n].Ranges, network)
		}
		if pool.Addr().BitLen()-pool.Bits() < 2 {
			return fmt.Errorf("peer %s: pool %s is too small: it has no address to give out", p.Name, pool)
		}
		if err := claim(taken, owned{pool, "peer " + p.Name}); err != nil {
			return err
		}
	}
	return nil
}

type owned struct {
	prefix netip.Prefix
	owner  string
}

func (o owned) String() string { return fmt.Sprintf("%s (%s)", o.prefix, o.owner) }

// claim enters a prefix, which must be canonical and overlap no other.
func claim(taken *[]owned, o owned) error {
	if err := ipam.SuggestMasked(o.prefix); err != nil {
		return fmt.Errorf("%s: %w", o.owner, err)
	}
	for _, other := range *taken {
		if other.prefix.Overlaps(o.prefix) {
			return fmt.Errorf("%s and %s overlap", other, o)
		}
	}
	*taken = append(*taken, o)
	return nil
}

func sortedNetworks(pools map[string][]netip.Prefix) []string {
	var names []string
	for name := range pools {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// View is the file in the terms of a store.
func (f File) View() store.View {
	v := store.View{Schema: store.Schema, Cluster: store.Cluster{Schema: store.Schema, ID: store.ClusterID(f.Cluster), VNI: f.VNI, Port: f.Port}}
	for _, n := range f.Networks {
		v.Networks = append(v.Networks, store.Network{Schema: store.Schema, Name: n.Name, Ranges: n.Ranges, Group: n.Group, Open: n.Open, FastPath: n.FastPath, Definition: n.Definition})
	}
	for _, p := range f.Peers {
		v.Nodes = append(v.Nodes, p.node())
	}
	slices.SortFunc(v.Networks, func(a, b store.Network) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Nodes, func(a, b store.Node) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return v
}

// node is the peer in the terms of a store; its pools may be changed by who
// gets it.
func (p Peer) node() store.Node {
	pools := maps.Clone(p.Pools)
	for network, of := range pools {
		pools[network] = slices.Clone(of)
	}
	return store.Node{Schema: store.Schema, ID: store.NodeID(p.Name), Name: p.Name, Epoch: 1, VTEP: []netip.Addr{p.VTEP}, Pools: pools}
}

func (p Peer) claims(network string) []store.Claim {
	var claims []store.Claim
	for _, name := range sortedNetworks(p.Pools) {
		for _, pool := range p.Pools[name] {
			if network == "" || network == name {
				claims = append(claims, store.Claim{Network: name, Pool: pool, Owner: store.NodeID(p.Name), Epoch: 1})
			}
		}
	}
	return claims
}
