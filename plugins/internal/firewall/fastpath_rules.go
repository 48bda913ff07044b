package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A fastRule matches packets and sends them on: to the neighbour whose address is
// in one register, on the link whose number is in another.
type fastRule struct {
	family       family
	match        []expr.Any
	address, dev uint32
}

// Where the rules keep what they have looked up. An address of IPv6 takes four
// registers.
const (
	fastAsked = 0 // the key of a look-up
	fastKept  = 8 // next hop
	fastPlace = 12
)

// fastInwardRule is the way from the tunnel to a container. The source must be
// of a peer's pool, and the group that of the container's network: what a fence
// lets in, and no packet of a network that is only admitted.
//
//	meta protocol ip meta pkttype host ip ttl > 1 ip saddr map @next
//	meta mark . ip daddr map @inward meta mark set 0 fwd ip to ip daddr device THAT
func fastInwardRule(v family) fastRule {
	match := append(v.forwardable(),
		v.load(v.sourceOffset(), fastAsked),
		fastLookup(v, fastNext, fastKept), // for whether there is one
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register(fastAsked)},
		v.load(v.sourceOffset()+v.size(), fastAsked+1),
		fastLookup(v, fastInward, fastPlace),
	)
	return fastRule{v, append(match, noMark()...), register(fastAsked + 1), register(fastPlace)}
}

// fastOutwardRule is the way from a bridge into the tunnel. The source must be
// that of a container of this bridge, and gives the packet its group.
//
//	meta protocol ip meta pkttype host ip ttl > 1 ip daddr map @next
//	meta mark set iif . ip saddr map @outward fwd ip to THAT device TUNNEL
func fastOutwardRule(v family, tunnel uint32) fastRule {
	match := append(v.forwardable(),
		v.load(v.sourceOffset()+v.size(), fastAsked),
		fastLookup(v, fastNext, fastKept),
		&expr.Meta{Key: expr.MetaKeyIIF, Register: register(fastAsked)},
		v.load(v.sourceOffset(), fastAsked+1),
		fastLookup(v, fastOutward, fastPlace),
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: register(fastPlace)},
		&expr.Immediate{Register: register(fastPlace), Data: binary.NativeEndian.AppendUint32(nil, tunnel)},
	)
	return fastRule{v, match, register(fastKept), register(fastPlace)}
}

// forwardable matches what the kernel would forward without an answer of its own:
// sent to this host's hardware address, and with hops left (the kernel takes one
// off, and does not look whether it was the last).
func (f family) forwardable() []expr.Any {
	ethertype, hops := uint16(unix.ETH_P_IP), uint32(8)
	if f == ipv6 {
		ethertype, hops = unix.ETH_P_IPV6, 7
	}
	const packetHost = 0 // PACKET_HOST of linux/if_packet.h
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: register(0)}, equal(false, binary.BigEndian.AppendUint16(nil, ethertype)),
		&expr.Meta{Key: expr.MetaKeyPKTTYPE, Register: register(0)}, equal(false, []byte{packetHost}),
		&expr.Payload{DestRegister: register(0), Base: expr.PayloadBaseNetworkHeader, Offset: hops, Len: 1},
		&expr.Cmp{Op: expr.CmpOpGt, Register: register(0), Data: []byte{1}},
	}
}

// load has an address of the header in a register.
func (f family) load(offset uint32, into int) expr.Any {
	return &expr.Payload{DestRegister: register(into), Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size()}
}

// fastLookup breaks off where a map has no such key.
func fastLookup(v family, name string, into int) expr.Any {
	return &expr.Lookup{SourceRegister: register(fastAsked), DestRegister: register(into), IsDestRegSet: true, SetName: fastSet(v, name)}
}

// message puts the rule at the end of a device's chain.
func (r fastRule) message(chain, forward string) (nftMessage, error) {
	list, err := r.expressions(forward)
	m, err2 := messageTo(nft.TableFamilyNetdev, unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND,
		text(unix.NFTA_RULE_TABLE, FenceTable), text(unix.NFTA_RULE_CHAIN, chain), list)
	return m, errors.Join(err, err2)
}

// expressions are the rule as the kernel takes it. The library does not know the
// last one, nft_fwd_netdev.c's.
func (r fastRule) expressions(forward string) (netlink.Attribute, error) {
	var all []netlink.Attribute
	for _, e := range r.match {
		data, err := expr.Marshal(byte(nft.TableFamilyNetdev), e)
		if err != nil {
			return netlink.Attribute{}, fmt.Errorf("expression %T: %w", e, err)
		}
		all = append(all, netlink.Attribute{Type: unix.NFTA_LIST_ELEM | unix.NLA_F_NESTED, Data: data})
	}
	number := func(kind uint16, value uint32) netlink.Attribute {
		return netlink.Attribute{Type: kind, Data: binary.BigEndian.AppendUint32(nil, value)}
	}
	all = append(all, nested(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, forward), nested(unix.NFTA_EXPR_DATA,
		number(unix.NFTA_FWD_SREG_DEV, r.dev), number(fwdAddress, r.address), number(fwdFamily, uint32(r.family.netlink())))))
	return nested(unix.NFTA_RULE_EXPRESSIONS, all...), nil
}

// Attributes of the expression fwd (enum nft_fwd_attributes of
// linux/netfilter/nf_tables.h).
const (
	fwdAddress = 2 // NFTA_FWD_SREG_ADDR
	fwdFamily  = 3 // NFTA_FWD_NFPROTO
)
