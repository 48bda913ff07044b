package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ruleSettings are the options about the host's packet filter, beside isolate.
type ruleSettings struct {
	masqueradeAs []netip.Addr   // at most one of a family
	noMasquerade []netip.Prefix // destinations that see the containers' own addresses
	publishFrom  []netip.Prefix // sources that reach published ports; empty: all
	publishOn    []string       // host interfaces by which they are reached
}

// ruleOptions are the keys of -o for them; lists are separated by commas.
func ruleOptions() []option {
	return []option{
		{[]string{"com.docker.network.host_ipv4", "outbound_addr4"},
			func(s *settings, v string) error { return s.setMasqueradeAs(v, true) }},
		{[]string{"com.docker.network.host_ipv6", "outbound_addr6"},
			func(s *settings, v string) error { return s.setMasqueradeAs(v, false) }},
		{[]string{"no_masquerade"},
			func(s *settings, v string) (err error) { s.noMasquerade, err = parsePrefixes(v); return }},
		{[]string{"publish_from"},
			func(s *settings, v string) (err error) { s.publishFrom, err = parsePrefixes(v); return }},
		{[]string{"publish_on"},
			func(s *settings, v string) (err error) { s.publishOn, err = parseInterfaces(v); return }},
	}
}

func (s *ruleSettings) setMasqueradeAs(v string, is4 bool) error {
	addr, err := netip.ParseAddr(v)
	if err != nil || addr.Is4() != is4 || addr.Zone() != "" || addr.IsUnspecified() {
		return fmt.Errorf("invalid value %q: want an %s address of this host", v, map[bool]string{true: "IPv4", false: "IPv6"}[is4])
	}
	for _, other := range s.masqueradeAs {
		if other.Is4() == is4 {
			return fmt.Errorf("%s and %s: want one address of a family", other, addr)
		}
	}
	s.masqueradeAs = append(s.masqueradeAs, addr)
	return nil
}

// checkMasquerade refuses to say how to do what is not done at all.
func (s settings) checkMasquerade(r Request) error {
	if len(s.masqueradeAs)+len(s.noMasquerade) > 0 && (s.noMasq || r.Internal || r.NoIPAM) {
		return errors.New("options host_ipv4, host_ipv6 and no_masquerade say how to masquerade, and this network does not")
	}
	return nil
}

func parsePrefixes(v string) (list []netip.Prefix, err error) {
	for _, text := range strings.Split(v, ",") {
		prefix, err := netip.ParsePrefix(text)
		if addr, notAddr := netip.ParseAddr(text); notAddr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("invalid prefix %q: want one such as 192.0.2.0/24 or 2001:db8::/32", text)
		}
		list = append(list, prefix.Masked())
	}
	return list, nil
}

func parseInterfaces(v string) ([]string, error) {
	names := strings.Split(v, ",")
	for _, name := range names {
		if err := checkInterfaceName(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}
