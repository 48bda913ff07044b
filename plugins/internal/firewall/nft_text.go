package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// nftFamily is the family's name in nft.
func (f family) nft() string {
	if f == ipv4 {
		return "ip"
	}
	return "ip6"
}

// nftRule writes a rule as the nft program lists it.
func nftRule(f family, r rule) string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	for _, a := range []struct {
		name string
		address
	}{{"saddr", r.src}, {"daddr", r.dst}} {
		if a.IsValid() {
			add("%s %s %s%s", f.nft(), a.name, unequal(a.not), prefixText(a.Prefix))
		}
	}
	for _, d := range []struct {
		name string
		device
	}{{"iifname", r.in}, {"oifname", r.out}} {
		if d.device.name != "" {
			add("%s %s%q", d.name, unequal(d.not), d.device.name)
		}
	}
	if r.dstLocal {
		add("fib daddr type local")
	}
	if r.proto != "" {
		add("%s dport %s", r.proto, r.ports.join("-"))
	}
	words = append(words, stateText(r.state)...)
	add("%s comment %q", nftVerdict(f, r.do), r.comment)
	return strings.Join(words, " ")
}

func unequal(not bool) string {
	if not {
		return "!= "
	}
	return ""
}

// prefixText leaves the length out where nft does.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func stateText(s stateMatch) []string {
	var all []string
	if bits := s.connState &^ translated; bits != 0 {
		all = append(all, "ct state "+exclamation(s.not)+bits.list(","))
	}
	if s.connState&translated != 0 {
		all = append(all, "ct status "+exclamation(s.not)+"dnat")
	}
	return all
}

// exclamation is nft's "none of these bits".
func exclamation(not bool) string {
	if not {
		return "! "
	}
	return ""
}

func nftVerdict(f family, v verdict) string {
	switch v.action {
	case accept:
		return "accept"
	case drop:
		return "drop"
	case leave:
		return "return"
	case jump:
		if v.final {
			return "goto " + v.chain.name
		}
		return "jump " + v.chain.name
	case masquerade:
		return "masquerade"
	case snat:
		return "snat to " + v.to.String()
	case dnat, reroute:
		return "dnat to " + netip.AddrPortFrom(v.to, v.ports.first).String()
	case dispatchOut:
		return "oifname vmap @" + v.chain.name
	case dispatchIn:
		return "iifname vmap @" + v.chain.name
	default:
		key := "meta l4proto . th dport"
		if v.chain.name != nftPublishAny {
			key = f.nft() + " daddr . " + key
		}
		if v.chain.name == nftRanges {
			return fmt.Sprintf("dnat to %s map @%s", key, v.chain.name)
		}
		return fmt.Sprintf("dnat %s to %s map @%s", f.nft(), key, v.chain.name)
	}
}

// nftElement writes an element as nft does.
func nftElement(f family, e element) string {
	switch e.set {
	case nftAttachments:
		return fmt.Sprintf("%s comment %q", deviceText(e.key), e.comment)
	case nftGuardIngress, nftGuardEgress, nftIngress, nftEgress:
		verdict := "jump " + e.chain
		if e.pass {
			verdict = "accept"
		}
		return fmt.Sprintf("%s comment %q : %s", deviceText(e.key), e.comment, verdict)
	case nftRanges:
		first, last := f.keyText(e.key), f.keyText(e.until)
		for i := range first {
			if first[i] != last[i] {
				first[i] += "-" + last[i]
			}
		}
		to, _ := netip.AddrFromSlice(e.value)
		return fmt.Sprintf("%s comment %q : %s", strings.Join(first, " . "), e.comment, to)
	default:
		to, _ := netip.AddrFromSlice(e.value[:f.size()])
		return fmt.Sprintf("%s comment %q : %s . %d", strings.Join(f.keyText(e.key), " . "), e.comment, to,
			binary.BigEndian.Uint16(e.value[f.size():]))
	}
}

func deviceText(key []byte) string { return `"` + strings.TrimRight(string(key), "\x00") + `"` }

// keyText reads a key of protocol and port, with or without an address ahead.
func (f family) keyText(key []byte) []string {
	var words []string
	if address, ok := netip.AddrFromSlice(key[:len(key)-8]); ok {
		words = append(words, address.String())
	}
	key = key[len(key)-8:]
	protocol := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}[key[0]]
	return append(words, protocol, fmt.Sprint(binary.BigEndian.Uint16(key[4:])))
}

// declaration is a chain that the kernel calls, or a set or map.
type declaration struct{ name, text string }

// nftHooks are the chains that the kernel calls.
func nftHooks() []declaration {
	return []declaration{
		{"prerouting", "type nat hook prerouting priority dstnat; policy accept;"},
		{"output", "type nat hook output priority -100; policy accept;"},
		{"postrouting", "type nat hook postrouting priority srcnat; policy accept;"},
		{"forward", "type filter hook forward priority filter; policy accept;"},
		{"input", "type filter hook input priority filter; policy accept;"},
	}
}

func isNFTHook(name string) bool {
	return slices.ContainsFunc(nftHooks(), func(d declaration) bool { return d.name == name })
}

// nftSets are the sets and maps.
func nftSets(f family) []declaration {
	address := map[family]string{ipv4: "ipv4_addr", ipv6: "ipv6_addr"}[f]
	port := "inet_proto . inet_service"
	return []declaration{
		{nftPublish, fmt.Sprintf("map { type %s . %s : %s . inet_service; }", address, port, address)},
		{nftPublishAny, fmt.Sprintf("map { type %s : %s . inet_service; }", port, address)},
		{nftRanges, fmt.Sprintf("map { type %s . %s : %s; flags interval; }", address, port, address)},
		{nftGuardIngress, "map { type ifname : verdict; }"},
		{nftGuardEgress, "map { type ifname : verdict; }"},
		{nftIngress, "map { type ifname : verdict; }"},
		{nftEgress, "map { type ifname : verdict; }"},
		{nftAttachments, "set { type ifname; }"},
	}
}
