package wire

import (
	"crypto/sha512"
	"fmt"
	"net/netip"
)

// Inherited names what the reference plugins make for an attachment. A node may
// be switched from them to us while its containers live; the DEL of such a
// container is ours then, and what it has to remove is theirs. Their names are
// fixed: they are part of what other programs rely on.
type Inherited struct {
	// Links of the host.
	Links []string
	// Chains of iptables' table nat that are the attachment's alone; the jumps
	// to them go with them.
	Chains []string
	// Jumps to chains of the same table that stay.
	Jumps []Jump
	// Accepted are addresses that the chain CNI-FORWARD of iptables' table
	// filter lets through.
	Accepted []netip.Addr
	// Marked are rules in tables of nftables.
	Marked []Marked
	// Own are chains of nftables that are the attachment's alone.
	Own []NFTChain
}

// Jump is a rule of iptables for packets from one address.
type Jump struct {
	From  netip.Addr
	Chain string
}

// NFTChain is a chain in nft's words.
type NFTChain struct{ Family, Table, Name string }

// Marked are the rules of a chain of nftables whose comment is, or begins with,
// a text.
type Marked struct {
	NFTChain
	Comment string
	Prefix  bool
	// Except are beginnings of comments of rules that stay.
	Except []string
	// Mentions is an address without which a rule is somebody else's; the zero
	// Addr asks for none.
	Mentions netip.Addr
}

// HasRules tells whether there are rules to look for.
func (i Inherited) HasRules() bool {
	return len(i.Chains)+len(i.Jumps)+len(i.Accepted)+len(i.Marked)+len(i.Own) > 0
}

// Join gives what is in either.
func (i Inherited) Join(more Inherited) Inherited {
	return Inherited{
		Links: join(i.Links, more.Links), Chains: join(i.Chains, more.Chains), Jumps: join(i.Jumps, more.Jumps),
		Accepted: join(i.Accepted, more.Accepted), Marked: join(i.Marked, more.Marked), Own: join(i.Own, more.Own),
	}
}

func join[T any](a, b []T) []T { return append(a[:len(a):len(a)], b...) }

// An Heir is an attachment of the reference plugins, as far as it is known.
type Heir struct {
	Attachment
	Addresses []netip.Addr
	// Sibling means that the container has another interface in the network.
	// Most of the reference plugins' names know only network and container:
	// what is called so serves the other one too.
	Sibling bool
	// Certain asks for proof that what names no network is this one's.
	Certain bool
}

// Everything names what all of the reference plugins may have made.
func (h Heir) Everything() Inherited {
	in := h.Masquerade().Join(h.Ports()).Join(h.Limits()).Join(h.SpoofCheck())
	in.Accepted = h.Addresses
	return in
}

// Masquerade is what ipMasq makes (pkg/ip of the reference plugins).
func (h Heir) Masquerade() Inherited {
	var in Inherited
	chain := inheritedChain("", h.Attachment)
	if !h.Sibling {
		in.Chains = []string{chain}
	}
	for _, a := range h.Addresses {
		in.Jumps = append(in.Jumps, Jump{a, chain})
	}
	if h.IfName != "" {
		in.Marked = []Marked{{NFTChain: masqueraded(), Prefix: true, Comment: masqueradeMark(h.Network, h.IfName, h.Container)}}
	}
	return in
}

func masqueraded() NFTChain { return NFTChain{"inet", "cni_plugins_masquerade", "masq_checks"} }

func masqueradeMark(network, ifName, container string) string {
	const length = 16
	return InheritedName(length, "", network) + "-" + InheritedName(length, "", ifName+":"+container) + ","
}

// MasqueradeExcept are the rules that ipMasq made with nftables for a network,
// but for those of some attachments.
func MasqueradeExcept(network string, keep []Attachment) Marked {
	mark := masqueradeMark(network, "", "")
	m := Marked{NFTChain: masqueraded(), Prefix: true, Comment: mark[:len(mark)/2]}
	for _, at := range keep {
		m.Except = append(m.Except, masqueradeMark(network, at.IfName, at.Container))
	}
	return m
}

// Ports are the rules of portmap. They know nothing of the interface, those of
// nftables nothing of the network either.
func (h Heir) Ports() Inherited {
	var in Inherited
	if h.Sibling {
		return in
	}
	in.Chains = []string{inheritedChain("DN-", h.Attachment), inheritedChain("SN-", h.Attachment)}
	for _, family := range []string{"ip", "ip6"} {
		for _, chain := range []string{"hostports", "hostip_hostports", "masquerading"} {
			rules := Marked{NFTChain: NFTChain{family, "cni_hostport", chain}, Comment: h.Container}
			if !h.Certain {
				in.Marked = append(in.Marked, rules)
				continue
			}
			for _, a := range h.Addresses {
				rules.Mentions = a
				in.Marked = append(in.Marked, rules)
			}
		}
	}
	return in
}

// Limits is the device of bandwidth.
func (h Heir) Limits() Inherited {
	const length = 15
	if h.Sibling {
		return Inherited{}
	}
	return Inherited{Links: []string{InheritedName(length, IfbPrefix, h.Network+h.Container)}}
}

// SpoofCheck is what macspoofchk makes. A container has an interface of a name
// only once, so that the network is not in it.
func (h Heir) SpoofCheck() Inherited {
	if h.IfName == "" {
		return Inherited{}
	}
	id := h.Container + "-" + h.IfName
	table := func(chain string) NFTChain { return NFTChain{"bridge", "nat", chain} }
	return Inherited{
		Marked: []Marked{{NFTChain: table("PREROUTING"), Comment: "macspoofchk-" + id}},
		Own:    []NFTChain{table("cni-br-iface-" + id), table("cni-br-iface-" + id + "-mac")},
	}
}

// InheritedChain tells whether the reference plugins would call a chain of a
// container in a network so.
func InheritedChain(name, network, container string) bool {
	at := Attachment{Network: network, Container: container}
	return name == inheritedChain("", at) || name == inheritedChain("DN-", at) || name == inheritedChain("SN-", at)
}

// InheritedName is a name as the reference plugins make them: a prefix, and as
// much of the SHA-512 of a text as fits.
func InheritedName(length int, prefix, text string) string {
	return fmt.Sprintf("%s%x", prefix, sha512.Sum512([]byte(text)))[:length]
}

// inheritedChain is a chain of theirs for a container in a network.
func inheritedChain(prefix string, at Attachment) string {
	const maxLength = 28 // of a chain's name in iptables
	return InheritedName(maxLength, "CNI-"+prefix, at.Network+at.Container)
}
