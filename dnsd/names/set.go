package names

import (
	"net/netip"
	"sync/atomic"
)

// Family is an address family.
type Family uint8

// The families, as indices.
const (
	V4 Family = iota
	V6
)

// A Set is the addresses of a name, by family, each once.
type Set struct {
	addrs [2][]netip.Addr
	turn  [2]atomic.Uint32
}

func newSet(addrs []netip.Addr) *Set {
	s := new(Set)
	for _, a := range addrs {
		f := V4
		if !a.Is4() {
			f = V6
		}
		s.addrs[f] = append(s.addrs[f], a)
	}
	return s
}

// Addrs are the addresses of one family. The caller must not modify them.
func (s *Set) Addrs(f Family) []netip.Addr { return s.addrs[f] }

// Turn is the index at which the next answer begins: each address comes first
// equally often (RFC 1794). A and AAAA turn apart, because stubs ask for both
// at once and a common count would show one family only every second address.
func (s *Set) Turn(f Family) int {
	n := len(s.addrs[f])
	if n < 2 {
		return 0
	}
	return int(s.turn[f].Add(1)-1) % n
}

// refs counts how many need a value.
type refs[T comparable] map[T]int

// add tells whether the value is new.
func (r refs[T]) add(v T) bool {
	r[v]++
	return r[v] == 1
}

// drop tells whether the value is gone.
func (r refs[T]) drop(v T) bool {
	r[v]--
	if r[v] > 0 {
		return false
	}
	delete(r, v)
	return true
}
