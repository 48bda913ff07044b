// Package ipam is the arithmetic of addresses: what is inside a prefix, which
// prefix is still free in a pool, which run of addresses may be given out. It
// works on values only; what has been given out is kept by package ledger.
package ipam

import (
	"fmt"
	"io"
	"math/big"
	"net/netip"
)

// First is the first address of p that a host may have: the one after the
// network's own, which IPv6 reserves too (the subnet-router anycast address,
// RFC 4291 section 2.6.1). Prefixes with one or two addresses have no own
// address to leave out (RFC 3021, RFC 6164).
func First(p netip.Prefix) netip.Addr {
	if hostBits(p) < 2 {
		return p.Masked().Addr()
	}
	return p.Masked().Addr().Next()
}

// Last is the last address of p that a host may have: IPv4 leaves out the
// broadcast address.
func Last(p netip.Prefix) netip.Addr {
	if last := End(p); hostBits(p) < 2 || !last.Is4() {
		return last
	}
	return End(p).Prev()
}

// End is the very last address of p.
func End(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(b)
	return end
}

// Next is the prefix of the same length that follows p. It is the zero Prefix
// after the last one of the family.
func Next(p netip.Prefix) netip.Prefix {
	following := End(p).Next()
	if !following.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(following, p.Bits())
}

// Count is the number of addresses from one to another of the same family, both
// included: more than 64 bits hold for a short IPv6 prefix.
func Count(from, to netip.Addr) *big.Int {
	low := new(big.Int).SetBytes(from.AsSlice())
	high := new(big.Int).SetBytes(to.AsSlice())
	return high.Sub(high, low).Add(high, big.NewInt(1))
}

// SuggestMasked refuses a prefix with host bits set and says which prefix was
// probably meant.
func SuggestMasked(p netip.Prefix) error {
	if masked := p.Masked(); masked != p {
		return fmt.Errorf("invalid subnet %s: did you mean %s?", p, masked)
	}
	return nil
}

// RandomULA makes a /64 out of a fresh unique local /48: 40 random bits after
// fd00::/8, subnet 0 (RFC 4193 section 3.2). The source should be crypto/rand's
// reader.
func RandomULA(random io.Reader) (netip.Prefix, error) {
	b := [16]byte{0: 0xfd}
	if _, err := io.ReadFull(random, b[1:6]); err != nil {
		return netip.Prefix{}, fmt.Errorf("make a unique local prefix: %w", err)
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 64), nil
}

func hostBits(p netip.Prefix) int { return p.Addr().BitLen() - p.Bits() }
