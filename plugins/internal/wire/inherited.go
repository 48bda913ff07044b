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
	// Accepted are addresses that the chain CNI-FORWARD of iptables' table
	// filter lets through.
	Accepted []netip.Addr
	// Marked are rules in tables of nftables.
	Marked []Marked
}

// IsZero tells that there are no rules to look for.
func (i Inherited) IsZero() bool {
	return len(i.Chains)+len(i.Accepted)+len(i.Marked) == 0
}

// Marked are the rules of a chain whose comment is, or begins with, a text.
type Marked struct {
	Family, Table, Chain string // in nft's words
	Comment              string
	Prefix               bool
}

// InheritedName is a name as the reference plugins make them: a prefix, and as
// much of the SHA-512 of a text as fits.
func InheritedName(length int, prefix, text string) string {
	return fmt.Sprintf("%s%x", prefix, sha512.Sum512([]byte(text)))[:length]
}

// InheritedChain is a chain of theirs for a container in a network.
func InheritedChain(prefix string, at Attachment) string {
	const maxLength = 28 // of a chain's name in iptables
	return InheritedName(maxLength, "CNI-"+prefix, at.Network+at.Container)
}
