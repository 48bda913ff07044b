package bridge

import (
	"fmt"
	"net/netip"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// ruleKeys are the keys that say how the host's packet filter treats the
// network; none of them is the reference plugin's.
type ruleKeys struct {
	// Internal lets no traffic leave the network.
	Internal bool `json:"internal"`
	// Isolate keeps other isolated networks away.
	Isolate bool `json:"isolate"`
	// MasqueradeAs are the host addresses, one of a family, behind which
	// ipMasq hides the containers.
	MasqueradeAs []string `json:"masqueradeAs"`
	// NoMasquerade are destinations that see the containers' own addresses.
	NoMasquerade []string `json:"noMasquerade"`
	// PublishFrom and PublishOn confine published ports to these sources and
	// to connections that come in by these host interfaces.
	PublishFrom []string `json:"publishFrom"`
	PublishOn   []string `json:"publishOn"`
}

// rules puts the keys into a policy, checked.
func (k ruleKeys) rules(ipMasq bool) (p wire.NetworkPolicy, err error) {
	p.Internal, p.Isolate = k.Internal, k.Isolate
	if p.MasqueradeAs, err = addresses("masqueradeAs", k.MasqueradeAs); err != nil {
		return p, err
	}
	if p.NoMasquerade, err = prefixes("noMasquerade", k.NoMasquerade); err != nil {
		return p, err
	}
	if p.PublishFrom, err = prefixes("publishFrom", k.PublishFrom); err != nil {
		return p, err
	}
	for i, name := range k.PublishOn {
		if !cni.IsIfName(name) {
			return p, fmt.Errorf("key publishOn[%d]: invalid interface %q: want 1 to 15 bytes without '/', ':' and space", i, name)
		}
	}
	p.PublishOn = k.PublishOn
	if !ipMasq && len(k.MasqueradeAs)+len(k.NoMasquerade) > 0 {
		return p, fmt.Errorf("keys masqueradeAs and noMasquerade say how to masquerade, and ipMasq is false: set it to true")
	}
	return p, nil
}

// addresses reads one host address of a family at most.
func addresses(key string, texts []string) (all []netip.Addr, err error) {
	for i, text := range texts {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" {
			return nil, fmt.Errorf("key %s[%d]: invalid address %q: want one of this host's", key, i, text)
		}
		for _, other := range all {
			if other.Is4() == addr.Unmap().Is4() {
				return nil, fmt.Errorf("key %s: %s and %s: want one address of a family", key, other, addr)
			}
		}
		all = append(all, addr.Unmap())
	}
	return all, nil
}

// prefixes reads prefixes, and addresses as prefixes of one.
func prefixes(key string, texts []string) (all []netip.Prefix, err error) {
	for i, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if addr, notAddr := netip.ParseAddr(text); notAddr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("key %s[%d]: invalid prefix %q: want one such as 192.0.2.0/24 or 2001:db8::/32", key, i, text)
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}
