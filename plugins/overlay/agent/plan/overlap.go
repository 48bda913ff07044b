package plan

import "net/netip"

// A prefixSet finds overlaps without comparing with every member: pools are
// mostly of one length, and then one look-up does.
type prefixSet struct {
	members map[netip.Prefix]struct{}
	lengths map[int]struct{}
	longest int
}

func newPrefixSet() *prefixSet {
	return &prefixSet{members: map[netip.Prefix]struct{}{}, lengths: map[int]struct{}{}}
}

func (s *prefixSet) add(p netip.Prefix) {
	s.members[p] = struct{}{}
	s.lengths[p.Bits()] = struct{}{}
	s.longest = max(s.longest, p.Bits())
}

// overlaps tells whether p has an address in common with a member.
func (s *prefixSet) overlaps(p netip.Prefix) bool {
	for bits := range s.lengths {
		if bits > p.Bits() {
			continue
		}
		around, err := p.Addr().Prefix(bits)
		if _, found := s.members[around]; err == nil && found {
			return true
		}
	}
	if s.longest <= p.Bits() {
		return false
	}
	for m := range s.members {
		if p.Overlaps(m) {
			return true
		}
	}
	return false
}
