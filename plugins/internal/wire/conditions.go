package wire

import (
	"net/netip"
	"strings"
)

// Conditions narrow a published port to some of the connections to it. The zero
// value takes all.
type Conditions struct {
	Src, Dst       netip.Prefix
	NotSrc, NotDst bool
	// In is the host's link by which the connection comes.
	In    string
	NotIn bool
	// IPTables are more matches in the words of iptables-restore, which only
	// that mechanism can carry out.
	IPTables string
}

// IsZero tells that there are none.
func (c Conditions) IsZero() bool { return c == Conditions{} }

// String is the form of iptables.
func (c Conditions) String() string {
	var words []string
	add := func(flag, value string, not bool) {
		if value == "" {
			return
		}
		if not {
			words = append(words, "!")
		}
		words = append(words, flag, value)
	}
	add("-s", text(c.Src), c.NotSrc)
	add("-d", text(c.Dst), c.NotDst)
	add("-i", c.In, c.NotIn)
	if c.IPTables != "" {
		words = append(words, c.IPTables)
	}
	return strings.Join(words, " ")
}

func text(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// For settles the destination of a mapping with conditions: the host address of
// the mapping, or that of the conditions. It returns false if no packet can be
// for both.
func (c Conditions) For(host netip.Addr) (Conditions, bool) {
	if !c.Dst.IsValid() || !host.IsValid() || host.IsUnspecified() {
		return c, true
	}
	possible := c.Dst.Contains(host) != c.NotDst
	c.Dst, c.NotDst = netip.Prefix{}, false
	return c, possible
}
