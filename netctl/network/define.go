package network

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/ipam"
)

// A host is what defining a network needs to know of its surroundings.
type host struct {
	networks []Network
	claims   []Claim // of the host itself
	pools    []ipam.Pool
	random   io.Reader
}

// define chooses what the request leaves open. The request was checked.
func (h host) define(r Request, d driver, s settings, id string) (definition, error) {
	def := definition{Request: r, settings: s, id: id}
	if def.device == "" && d.bridged {
		def.device = bridgeName(r.Name, id)
	}
	for _, other := range h.networks {
		if d.bridged && (other.Driver == driverBridge || other.Driver == driverOverlay) && other.Device == def.device {
			return definition{}, fmt.Errorf("bridge %s already belongs to network %s", def.device, other.Name)
		}
	}
	subnets, err := h.subnets(r, d)
	if err != nil {
		return definition{}, err
	}
	for _, subnet := range subnets {
		set, err := r.pool(subnet)
		if err != nil {
			return definition{}, err
		}
		def.pools = append(def.pools, set)
	}
	return def, nil
}

// subnets checks those that were asked for, and finds one for each family that
// is wanted and has none.
func (h host) subnets(r Request, d driver) ([]netip.Prefix, error) {
	claims := h.claimsFor(d)
	for _, subnet := range r.Subnets {
		if err := checkFree(subnet, claims); err != nil {
			return nil, err
		}
	}
	if r.NoIPAM {
		return nil, nil
	}
	subnets := slices.Clone(r.Subnets)
	var taken []netip.Prefix
	for _, c := range slices.Concat(h.claims, claims) {
		taken = append(taken, c.Prefix)
	}
	has := func(is4 bool) bool {
		return slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Addr().Is4() == is4 })
	}
	// As docker does: a v6 subnet alone doesn't stop the v4 one from being chosen.
	if !r.NoIPv4 && !has(true) {
		pools := h.pools
		if d.pools != nil {
			pools = d.pools
		}
		subnet, err := ipam.FreeIn(pools, taken)
		if err != nil {
			return nil, err
		}
		subnets = append(subnets, subnet)
	}
	if r.IPv6 && !has(false) {
		subnet, err := h.uniqueLocal(taken)
		if err != nil {
			return nil, err
		}
		subnets = append(subnets, subnet)
	}
	slices.SortStableFunc(subnets, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	return subnets, nil
}

// claimsFor are the prefixes that a subnet of the driver must keep away from.
func (h host) claimsFor(d driver) []Claim {
	var claims []Claim
	for _, n := range h.networks {
		claims = append(claims, n.claims()...)
	}
	if d.ownsSubnet {
		claims = append(claims, h.claims...)
	}
	return claims
}

// uniqueLocal makes prefixes until one is free; with 40 random bits that is
// the first one, short of a broken source of randomness.
func (h host) uniqueLocal(taken []netip.Prefix) (netip.Prefix, error) {
	for range 16 {
		subnet, err := ipam.RandomULA(h.random)
		if err != nil {
			return netip.Prefix{}, err
		}
		if _, overlaps := ipam.FirstOverlap(subnet, taken); !overlaps {
			return subnet, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no free IPv6 prefix found: give one with --subnet")
}

// pool gives the ranges of one subnet: those asked for, or all of it, without
// the reserved addresses.
func (r Request) pool(subnet netip.Prefix) (ipam.Set, error) {
	whole := ipam.Range{Subnet: subnet}
	for _, gateway := range r.Gateways {
		if subnet.Contains(gateway) {
			whole.Gateway = gateway
		}
	}
	whole, err := whole.Canonical()
	if err != nil {
		return nil, err
	}
	var set ipam.Set
	for _, given := range r.Ranges {
		if !subnet.Contains(given.From) {
			continue
		}
		part := whole
		part.Start, part.End = clamp(given.From, whole), clamp(given.To, whole)
		set = append(set, part)
	}
	if set == nil {
		set = ipam.Set{whole}
	}
	for _, purpose := range sortedKeys(r.Reserved) {
		set = without(set, r.Reserved[purpose])
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("no address left to give out in %s", subnet)
	}
	return set, nil
}

// clamp moves an address inside the range's bounds.
func clamp(a netip.Addr, r ipam.Range) netip.Addr {
	if a.Less(r.Start) {
		return r.Start
	}
	if r.End.Less(a) {
		return r.End
	}
	return a
}

// without splits the range that holds a in two.
func without(set ipam.Set, a netip.Addr) ipam.Set {
	var result ipam.Set
	for _, r := range set {
		if !r.Within(a) {
			result = append(result, r)
			continue
		}
		below, above := r, r
		below.End, above.Start = a.Prev(), a.Next()
		if !below.End.Less(below.Start) {
			result = append(result, below)
		}
		if !above.End.Less(above.Start) {
			result = append(result, above)
		}
	}
	return result
}

// encode writes the definition as a configuration list.
func (d definition) encode(entry any, created time.Time) ([]byte, error) {
	plugin, err := json.Marshal(entry)
	if err != nil {
		return nil, fmt.Errorf("encode network %s: %w", d.Name, err)
	}
	list := conflist{
		CNIVersion:  cniVersion,
		CNIVersions: []string{cniVersion, cniNewest},
		Name:        d.Name,
		Netctl: &meta{
			ID: d.id, Created: created, Internal: d.Internal,
			Labels: notNil(d.Labels), Options: notNil(d.Options), Reserved: d.Reserved,
		},
		Plugins: []json.RawMessage{plugin},
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode network %s: %w", d.Name, err)
	}
	return append(data, '\n'), nil
}

func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
