package ipam

import (
	"fmt"
	"net/netip"
)

// A Range is a run of addresses inside one subnet from which addresses are
// given out. Its keys and rules are those of the reference host-local plugin.
type Range struct {
	Subnet  netip.Prefix `json:"subnet"`
	Start   netip.Addr   `json:"rangeStart,omitzero"`
	End     netip.Addr   `json:"rangeEnd,omitzero"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// Canonical checks the range and fills in what was left out: the gateway is
// the subnet's first address, the range reaches from there to the last address
// (IPv4: the last before the broadcast address).
func (r Range) Canonical() (Range, error) {
	if !r.Subnet.IsValid() {
		return Range{}, fmt.Errorf("range: subnet is missing")
	}
	if r.Subnet != r.Subnet.Masked() {
		return Range{}, fmt.Errorf("invalid subnet %s: did you mean %s?", r.Subnet, r.Subnet.Masked())
	}
	if r.Subnet.Addr().BitLen()-r.Subnet.Bits() < 2 {
		return Range{}, fmt.Errorf("invalid subnet %s: too small, it has no address to give out", r.Subnet)
	}
	first, last := First(r.Subnet), Last(r.Subnet)
	if !r.Gateway.IsValid() {
		r.Gateway = first
	}
	if r.Gateway.Is4() != r.Subnet.Addr().Is4() {
		return Range{}, fmt.Errorf("gateway %s is not of the family of %s", r.Gateway, r.Subnet)
	}
	if !r.Start.IsValid() {
		r.Start = first
	}
	if !r.End.IsValid() {
		r.End = last
	}
	for _, bound := range []struct {
		key  string
		addr netip.Addr
	}{{"rangeStart", r.Start}, {"rangeEnd", r.End}} {
		if !r.Subnet.Contains(bound.addr) {
			return Range{}, fmt.Errorf("%s %s is not inside %s", bound.key, bound.addr, r.Subnet)
		}
	}
	if r.End.Less(r.Start) {
		return Range{}, fmt.Errorf("rangeEnd %s is below rangeStart %s", r.End, r.Start)
	}
	return r, nil
}

// Contains tells whether the range can give the address out. The network's own
// address, the IPv4 broadcast address and the gateway never are.
func (r Range) Contains(a netip.Addr) bool {
	return r.Within(a) && a != r.Gateway
}

// Within tells whether a lies between the bounds of the range.
func (r Range) Within(a netip.Addr) bool {
	return r.Subnet.Contains(a) && !a.Less(r.Start) && !r.End.Less(a)
}

func (r Range) String() string {
	if r.Start == First(r.Subnet) && r.End == Last(r.Subnet) {
		return r.Subnet.String()
	}
	return fmt.Sprintf("%s-%s in %s", r.Start, r.End, r.Subnet)
}

// A Set holds alternatives of one family: one address is taken from whichever
// range of the set has one.
type Set []Range

// Find gives the range of the set that can give the address out.
func (s Set) Find(a netip.Addr) (Range, bool) {
	for _, r := range s {
		if r.Contains(a) {
			return r, true
		}
	}
	return Range{}, false
}

// CanonicalSets checks the sets against each other as well: one family per
// set, no address in two ranges.
func CanonicalSets(sets []Set) ([]Set, error) {
	var all []Range
	result := make([]Set, 0, len(sets))
	for i, set := range sets {
		if len(set) == 0 {
			return nil, fmt.Errorf("ranges[%d] is empty", i)
		}
		canonical := make(Set, 0, len(set))
		for _, r := range set {
			r, err := r.Canonical()
			if err != nil {
				return nil, fmt.Errorf("ranges[%d]: %w", i, err)
			}
			if len(canonical) > 0 && canonical[0].Subnet.Addr().Is4() != r.Subnet.Addr().Is4() {
				return nil, fmt.Errorf("ranges[%d] mixes address families: %s and %s", i, canonical[0], r)
			}
			for _, other := range all {
				if r.overlaps(other) {
					return nil, fmt.Errorf("ranges overlap: %s and %s", other, r)
				}
			}
			all = append(all, r)
			canonical = append(canonical, r)
		}
		result = append(result, canonical)
	}
	return result, nil
}

func (r Range) overlaps(o Range) bool {
	return r.Start.Is4() == o.Start.Is4() && !r.End.Less(o.Start) && !o.End.Less(r.Start)
}
