package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// parseConditions reads the words of a condition. As with the reference plugin
// the first one tells whose they are: those of iptables begin with a dash or an
// exclamation mark, all others are nftables'.
func parseConditions(words []string, is4 bool) (wire.Conditions, error) {
	if len(words) == 0 {
		return wire.Conditions{}, nil
	}
	p := parser{is4: is4}
	if strings.HasPrefix(words[0], "-") || strings.HasPrefix(words[0], "!") {
		err := p.iptables(words)
		return p.c, err
	}
	err := p.nftables(strings.Fields(strings.Join(words, " ")))
	return p.c, err
}

// parser collects conditions of one family.
type parser struct {
	is4 bool
	c   wire.Conditions
	raw []string
}

// iptables reads matches on addresses and the incoming interface, which both
// mechanisms know, and keeps all others as they are.
func (p *parser) iptables(words []string) error {
	for len(words) > 0 {
		not := words[0] == "!"
		if not {
			words = words[1:]
		}
		if len(words) == 0 {
			return errors.New("a match is missing behind the last \"!\"")
		}
		known, err := p.known(words, not)
		switch {
		case err != nil:
			return err
		case known:
			words = words[2:]
		default:
			if not {
				p.raw = append(p.raw, "!")
			}
			p.raw = append(p.raw, words[0])
			words = words[1:]
		}
	}
	var err error
	p.c.IPTables, err = quote(p.raw)
	return err
}

func (p *parser) known(words []string, not bool) (bool, error) {
	if len(words) < 2 {
		return false, nil
	}
	flag, value := words[0], words[1]
	switch flag {
	case "-s", "--source", "--src":
		return p.prefix(&p.c.Src, &p.c.NotSrc, value, not)
	case "-d", "--destination", "--dst":
		return p.prefix(&p.c.Dst, &p.c.NotDst, value, not)
	case "-i", "--in-interface":
		if strings.HasSuffix(value, "+") { // iptables' wildcard
			return false, nil
		}
		return true, p.device(value, not)
	}
	return false, nil
}

// prefix reads an address or prefix. Lists and host names are for iptables
// alone.
func (p *parser) prefix(into *netip.Prefix, negated *bool, value string, not bool) (bool, error) {
	prefix, err := netip.ParsePrefix(value)
	if addr, single := netip.ParseAddr(value); single == nil {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return false, nil
	}
	if prefix.Addr().Is4() != p.is4 {
		return false, fmt.Errorf("address %q is of the other family: want one of %s", value, map[bool]string{true: "IPv4", false: "IPv6"}[p.is4])
	}
	if into.IsValid() {
		return false, fmt.Errorf("%q: a second match of the same kind", value)
	}
	*into, *negated = prefix.Masked(), not
	return true, nil
}

func (p *parser) device(name string, not bool) error {
	if p.c.In != "" {
		return fmt.Errorf("interface %q: a second match of the same kind", name)
	}
	if !cni.IsIfName(name) {
		return fmt.Errorf("invalid interface name %q: want 1 to 15 bytes without '/', ':' and space", name)
	}
	p.c.In, p.c.NotIn = name, not
	return nil
}

// nftables reads "ip saddr [==|!=] PREFIX", "ip daddr ..." and "iifname ...".
func (p *parser) nftables(words []string) error {
	for len(words) > 0 {
		left := strings.Join(words, " ")
		field := words[0]
		if (field == "ip" || field == "ip6") && len(words) > 1 {
			field, words = field+" "+words[1], words[1:]
		}
		words = words[1:]
		not := len(words) > 0 && words[0] == "!="
		if not || len(words) > 0 && words[0] == "==" {
			words = words[1:]
		}
		if len(words) == 0 {
			return fmt.Errorf("nftables condition %q ends without a value", left)
		}
		known, err := p.field(field, strings.Trim(words[0], `"`), not)
		if err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("nftables condition %q can't be carried out: want ip saddr, ip daddr (ip6 for IPv6) or iifname, with == or !=, and one value", left)
		}
		words = words[1:]
	}
	return nil
}

func (p *parser) field(name, value string, not bool) (bool, error) {
	switch name {
	case "ip saddr", "ip6 saddr":
		return p.prefix(&p.c.Src, &p.c.NotSrc, value, not)
	case "ip daddr", "ip6 daddr":
		return p.prefix(&p.c.Dst, &p.c.NotDst, value, not)
	case "iifname", "iif":
		return true, p.device(value, not)
	}
	return false, nil
}

// quote writes words as iptables-restore reads them.
func quote(words []string) (string, error) {
	var quoted []string
	for _, word := range words {
		if strings.ContainsAny(word, "\n\r\x00") {
			return "", fmt.Errorf("%q: a line ends within it", word)
		}
		switch word {
		case "-j", "--jump", "-g", "--goto", "-t", "--table", "-A", "-I", "-D":
			return "", fmt.Errorf("%q is no match: what becomes of a connection is not a condition", word)
		}
		if word == "" || strings.ContainsAny(word, ` "'\\#`) {
			word = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
		}
		quoted = append(quoted, word)
	}
	return strings.Join(quoted, " "), nil
}
