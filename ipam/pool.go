package ipam

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Pool is a prefix that is cut into networks of one size.
type Pool struct {
	Prefix netip.Prefix
	// Bits is the length of the prefixes taken from it.
	Bits int
}

// DefaultPools are where IPv4 networks without --subnet come from, first to
// last, a /24 each. 10.88.0.0/16 is left out: it is podman's default and the
// subnet people type. The later pools serve hosts whose routes cover all of
// 10.0.0.0/8, as company VPNs do.
func DefaultPools() []Pool {
	var pools []Pool
	for _, prefix := range []string{
		"10.89.0.0/16", "10.90.0.0/15", "10.92.0.0/14", "10.96.0.0/12",
		"172.24.0.0/14", "192.168.192.0/18",
	} {
		pools = append(pools, Pool{Prefix: netip.MustParsePrefix(prefix), Bits: 24})
	}
	return pools
}

// Free finds the lowest prefix of the pool that overlaps none of those taken.
func (p Pool) Free(taken []netip.Prefix) (netip.Prefix, bool) {
	if p.Bits < p.Prefix.Bits() {
		return netip.Prefix{}, false
	}
	candidate := netip.PrefixFrom(p.Prefix.Masked().Addr(), p.Bits)
	for candidate.IsValid() && p.Prefix.Contains(candidate.Addr()) {
		obstacle, ok := FirstOverlap(candidate, taken)
		if !ok {
			return candidate, true
		}
		candidate = p.after(candidate, obstacle)
	}
	return netip.Prefix{}, false
}

// after is the first prefix of the pool's size behind both arguments, one of
// which contains the other.
func (p Pool) after(candidate, obstacle netip.Prefix) netip.Prefix {
	if obstacle.Bits() > candidate.Bits() {
		return Next(candidate)
	}
	following := Next(obstacle)
	if !following.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(following.Addr(), p.Bits)
}

// Size is the number of prefixes the pool holds, at most 1<<62.
func (p Pool) Size() int {
	return 1 << min(max(p.Bits-p.Prefix.Bits(), 0), 62)
}

// FirstOverlap gives the first of the prefixes that has an address in common
// with p.
func FirstOverlap(p netip.Prefix, prefixes []netip.Prefix) (netip.Prefix, bool) {
	for _, other := range prefixes {
		if p.Overlaps(other) {
			return other, true
		}
	}
	return netip.Prefix{}, false
}

// A PoolsExhaustedError says that no pool has a free prefix.
type PoolsExhaustedError struct{ Pools []Pool }

func (e *PoolsExhaustedError) Error() string {
	if len(e.Pools) == 0 {
		return "no default pool to take a subnet from"
	}
	var used []string
	for _, p := range e.Pools {
		used = append(used, fmt.Sprintf("%s: %d used", p.Prefix, p.Size()))
	}
	return fmt.Sprintf("no free /%d left in the default pools (%s)", e.Pools[0].Bits, strings.Join(used, ", "))
}

// FreeIn takes the first free prefix of the first pool that has one. The error
// is a *PoolsExhaustedError if none has.
func FreeIn(pools []Pool, taken []netip.Prefix) (netip.Prefix, error) {
	for _, p := range pools {
		if free, ok := p.Free(taken); ok {
			return free, nil
		}
	}
	return netip.Prefix{}, &PoolsExhaustedError{Pools: pools}
}

// At gives the pool's prefix of that number; the first is 0. It is the zero
// Prefix outside of the pool.
func (p Pool) At(n int) netip.Prefix {
	if n < 0 || n >= p.Size() {
		return netip.Prefix{}
	}
	raw := p.Prefix.Masked().Addr().AsSlice()
	// n is counted in units of the prefix's last bit. The bits between the two
	// lengths are zero, so nothing is carried.
	for rest, bit := uint64(n), p.Bits; rest != 0; {
		i := (bit - 1) / 8
		shift := 7 - (bit-1)%8
		raw[i] |= byte(rest << shift)
		rest >>= 8 - shift
		bit = i * 8
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(addr, p.Bits)
}
