package protocol

import (
	"fmt"
	"net/netip"
	"slices"
)

// errShape names a document that decodes but is not what the operation answers.
func errShape(verb string, obj map[string]any) error {
	return fmt.Errorf("not an answer to %s: %s", verb, mustJSON(obj))
}

// Shape lists what is wrong with a result of the given version, in words. An
// empty list means the document has the form its version prescribes.
//
// 0.1.0 and 0.2.0 have ip4/ip6; 0.3.0 to 0.4.0 have ips with a "version";
// from 1.0.0 the version is gone; mtu, socketPath and pciID came with 1.1.0.
func Shape(version string, obj map[string]any) []string {
	s := &shape{version: version}
	if got, _ := obj["cniVersion"].(string); got != version {
		s.add("cniVersion is %q, not %q", got, version)
	}
	if version == "0.1.0" || version == "0.2.0" {
		s.old(obj)
	} else {
		s.current(obj)
	}
	s.dns(obj["dns"])
	return s.faults
}

// DNSKeys are the only keys of "dns".
func DNSKeys() []string { return []string{"nameservers", "domain", "search", "options"} }

type shape struct {
	version string
	faults  []string
}

func (s *shape) add(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *shape) old(obj map[string]any) {
	for _, key := range []string{"ips", "interfaces", "routes"} {
		if _, present := obj[key]; present {
			s.add("%q does not exist in %s", key, s.version)
		}
	}
	seen := 0
	for _, family := range []string{"4", "6"} {
		v, present := obj["ip"+family]
		if !present {
			continue
		}
		seen++
		ip, ok := v.(map[string]any)
		if !ok {
			s.add("ip%s is not an object", family)
			continue
		}
		s.prefix("ip"+family+".ip", ip["ip"], family)
		s.gateway("ip"+family+".gateway", ip["gateway"])
		s.routes("ip"+family+".routes", ip["routes"], family)
	}
	if seen == 0 {
		s.add("neither ip4 nor ip6")
	}
}

func (s *shape) current(obj map[string]any) {
	for _, key := range []string{"ip4", "ip6", "ip"} {
		if _, present := obj[key]; present {
			s.add("%q does not exist in %s", key, s.version)
		}
	}
	for i, v := range list(obj["interfaces"]) {
		s.link(i, v)
	}
	for i, v := range list(obj["ips"]) {
		s.ip(i, v)
	}
	s.routes("routes", obj["routes"], "")
}

func (s *shape) link(i int, v any) {
	link, ok := v.(map[string]any)
	if !ok {
		s.add("interfaces[%d] is not an object", i)
		return
	}
	if name, _ := link["name"].(string); name == "" {
		s.add("interfaces[%d] has no name", i)
	}
	if !Before(s.version, "1.1.0") {
		return
	}
	for _, key := range []string{"mtu", "socketPath", "pciID"} {
		if _, present := link[key]; present {
			s.add("interfaces[%d].%s does not exist before 1.1.0", i, key)
		}
	}
}

func (s *shape) ip(i int, v any) {
	ip, ok := v.(map[string]any)
	if !ok {
		s.add("ips[%d] is not an object", i)
		return
	}
	family := familyDigit(fmt.Sprint(ip["address"]))
	s.prefix(fmt.Sprintf("ips[%d].address", i), ip["address"], family)
	s.gateway(fmt.Sprintf("ips[%d].gateway", i), ip["gateway"])
	version, present := ip["version"]
	switch {
	case Before(s.version, "1.0.0") && version != family:
		s.add("ips[%d].version is %v, want %q in %s", i, version, family, s.version)
	case !Before(s.version, "1.0.0") && present:
		s.add("ips[%d].version does not exist in %s", i, s.version)
	}
}

// prefix wants an address with its host bits and a length.
func (s *shape) prefix(what string, v any, family string) {
	text, _ := v.(string)
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		s.add("%s %q is not an address with a prefix length", what, text)
	case p.Addr().Is4() != (family == "4"):
		s.add("%s %q is of the other family", what, text)
	case p == p.Masked() && p.Bits() < p.Addr().BitLen()-1:
		s.add("%s %q has lost its host bits", what, text)
	}
}

func (s *shape) gateway(what string, v any) {
	if v == nil || v == "" {
		return
	}
	text, _ := v.(string)
	if _, err := netip.ParseAddr(text); err != nil {
		s.add("%s %q is not a bare address", what, text)
	}
}

func (s *shape) routes(what string, v any, family string) {
	for i, entry := range list(v) {
		route, ok := entry.(map[string]any)
		if !ok {
			s.add("%s[%d] is not an object", what, i)
			continue
		}
		text, _ := route["dst"].(string)
		dst, err := netip.ParsePrefix(text)
		switch {
		case err != nil || dst != dst.Masked():
			s.add("%s[%d].dst %q is not a network", what, i, text)
		case family != "" && dst.Addr().Is4() != (family == "4"):
			s.add("%s[%d].dst %q is of the other family", what, i, text)
		}
		s.gateway(fmt.Sprintf("%s[%d].gw", what, i), route["gw"])
	}
}

func (s *shape) dns(v any) {
	if v == nil {
		return
	}
	dns, ok := v.(map[string]any)
	if !ok {
		s.add("dns is not an object")
		return
	}
	for key := range dns {
		if !slices.Contains(DNSKeys(), key) {
			s.add("dns.%s is not a key of dns", key)
		}
	}
}

// list reads a value as an array; anything else is empty.
func list(v any) []any {
	l, _ := v.([]any)
	return l
}
