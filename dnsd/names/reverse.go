package names

import (
	"net/netip"
	"strconv"
)

// A reverseTree is one of the two trees of names for addresses: RFC 1035
// section 3.5 with a label for each octet, RFC 3596 section 2.5 with one for
// each four bits.
type reverseTree struct {
	suffix Name
	bits   int // of a label
	labels int // of a whole address
	base   int // in which a label is written
}

func reverseTrees() [2]reverseTree {
	return [2]reverseTree{
		V4: {suffix: "\x07in-addr\x04arpa", bits: 8, labels: 4, base: 10},
		V6: {suffix: "\x03ip6\x04arpa", bits: 4, labels: 32, base: 16},
	}
}

// reverse looks up the name of an address, if the address belongs to one of
// our networks: those names never leave (RFC 6303).
func (s *Snapshot) reverse(c *Client, name []byte) (Answer, bool) {
	for _, tree := range reverseTrees() {
		before, ok := cutSuffix(name, tree.suffix)
		if !ok {
			continue
		}
		p, whole := tree.prefix(before)
		subnet, ours := s.subnets.covering(p)
		if !ours {
			return Answer{}, false
		}
		a := Answer{Kind: Missing, Zone: tree.zone(before, subnet), Server: s.server(c)}
		switch {
		case !whole: // something below an address, or no address
		case p.Bits() < p.Addr().BitLen():
			// Between the subnet and its addresses: taken to exist, because
			// only "it does not" would say anything about names below.
			a.Kind = Exists
		default:
			s.point(c, p.Addr(), &a)
		}
		return a, true
	}
	return Answer{}, false
}

// point fills in what an address is called on the client's networks.
func (s *Snapshot) point(c *Client, addr netip.Addr, a *Answer) {
	for _, i := range c.networks {
		n := s.networks[i]
		if owner := n.clients.get(addr); owner != nil {
			if e := owner.endpointAt(addr); len(e.own) > 0 {
				a.Kind, a.Pointer, a.Network, a.Tier = Exists, n.full(e.own[0], s.base), n.name, 1
			}
			return
		}
		for f := range n.gateway.addrs {
			for _, g := range n.gateway.addrs[f] {
				if g == addr && n.server != "" {
					a.Kind, a.Pointer, a.Network = Exists, n.server, n.name
					return
				}
			}
		}
	}
}

// full is the one name of a container that is the same for everybody, or a
// shorter one where that would be too long.
func (n *network) full(name, base Name) Name {
	for _, domain := range []Name{n.zone, base} {
		if domain != "" && len(name)+len(domain) <= maxName {
			return name + domain
		}
	}
	return name
}

// prefix reads labels into a prefix, beginning with the last, which is the
// highest part of the address. It stops at one that is no part of an address;
// whole tells that there was none.
func (t reverseTree) prefix(before []byte) (p netip.Prefix, whole bool) {
	var starts [maxName]uint8
	n := 0
	for off := 0; off < len(before); off += 1 + int(before[off]) {
		starts[n] = uint8(off)
		n++
	}
	var addr [16]byte
	read := 0
	for ; read < n && read < t.labels; read++ {
		at := int(starts[n-1-read])
		v, ok := t.label(before[at+1 : at+1+int(before[at])])
		if !ok {
			break
		}
		bit := read * t.bits
		addr[bit/8] |= v << (8 - t.bits - bit%8)
	}
	ip := netip.AddrFrom16(addr)
	if t.labels == 4 {
		ip = netip.AddrFrom4([4]byte(addr[:4]))
	}
	return netip.PrefixFrom(ip, read*t.bits), read == n
}

// label reads a number as it has to be written: "007" is another name.
func (t reverseTree) label(text []byte) (byte, bool) {
	v, err := strconv.ParseUint(string(text), t.base, t.bits)
	if err != nil || (len(text) > 1 && (t.base == 16 || text[0] == '0')) {
		return 0, false
	}
	return byte(v), true
}

// zone is where in the name the subnet's zone begins. Prefixes that end inside
// a label's bits are taken up to the label's end, which is still ours alone,
// but never as far as a single address.
func (t reverseTree) zone(before []byte, subnet netip.Prefix) int {
	keep := min((subnet.Bits()+t.bits-1)/t.bits, t.labels-1)
	n := 0
	for off := 0; off < len(before); off += 1 + int(before[off]) {
		n++
	}
	off := 0
	for ; n > keep; n-- {
		off += 1 + int(before[off])
	}
	return off
}
