package firewall

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

var update = flag.Bool("update", false, "write the rules into docs/firewall.md")

const docsPage = "../../../docs/firewall.md"

// docsNetwork is the network of the page, docsRules an attachment to it.
func docsNetwork() wire.NetworkPolicy {
	return wire.NetworkPolicy{
		Network: "my-bridge", Bridge: "br0", Masquerade: true, Forward: true,
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16"), netip.MustParsePrefix("fd00:88::/64")},
		DNS:     []netip.AddrPort{netip.MustParseAddrPort("10.88.0.1:53"), netip.MustParseAddrPort("[fd00:88::1]:53")},
	}
}

func docsRules(change func(*Rules)) Rules {
	r := Rules{Attachment: wire.Attachment{Network: "my-bridge", Container: "web", IfName: "eth0"}, Network: docsNetwork()}
	if change != nil {
		change(&r)
	}
	return r
}

func docsPublish(container string, change func(*wire.Publish)) func(*Rules) {
	return func(r *Rules) {
		p := wire.Publish{Protocol: wire.TCP, HostPort: 8080, Container: netip.MustParseAddr(container), ContainerPort: 80,
			Subnet: r.Network.Subnets[0]}
		if p.Container.Is6() {
			p.Subnet = r.Network.Subnets[1]
		}
		if change != nil {
			change(&p)
		}
		r.Publish = []wire.Publish{p}
	}
}

// docsCases are the listings of the page: the rules of one family, and what
// they are compared with.
func docsCases() map[string]struct {
	family        family
	rules, versus *Rules
} {
	prefix := netip.MustParsePrefix
	plain := docsRules(nil)
	type listing = struct {
		family        family
		rules, versus *Rules
	}
	against := func(f family, base *Rules, change func(*Rules)) listing {
		r := docsRules(change)
		return listing{f, &r, base}
	}
	network := func(change func(*wire.NetworkPolicy)) listing {
		return against(ipv4, &plain, func(r *Rules) { change(&r.Network) })
	}
	port := func(change func(*wire.Publish)) listing {
		return against(ipv4, &plain, docsPublish("10.88.0.2", change))
	}
	// An internal network neither forwards nor masquerades.
	shutIn := func(p *wire.NetworkPolicy) { p.Internal, p.Forward, p.Masquerade = true, false, false }
	internal := docsRules(func(r *Rules) { shutIn(&r.Network) })
	isolated := docsRules(func(r *Rules) { r.Network.Isolate = true })
	portmap := docsRules(docsPublish("10.88.0.2", nil))
	portmap.Network = wire.NetworkPolicy{Network: "my-bridge"}
	return map[string]listing{
		"base":    {ipv4, nil, nil},
		"network": {ipv4, &plain, nil},
		"masquerade-as": network(func(p *wire.NetworkPolicy) {
			p.MasqueradeAs = []netip.Addr{netip.MustParseAddr("192.0.2.10")}
		}),
		"no-masquerade": network(func(p *wire.NetworkPolicy) {
			p.NoMasquerade = []netip.Prefix{prefix("10.0.0.0/8"), prefix("172.16.0.0/12")}
		}),
		"bare":        network(func(p *wire.NetworkPolicy) { p.Masquerade = false }),
		"isolate":     network(func(p *wire.NetworkPolicy) { p.Isolate = true }),
		"internal":    network(shutIn),
		"ungated":     network(func(p *wire.NetworkPolicy) { p.Forward, p.DNS = false, nil }),
		"admin-chain": network(func(p *wire.NetworkPolicy) { p.AdminChain = "CNI-ADMIN" }),
		"apart":       against(ipv4, &isolated, func(r *Rules) { r.Network.Isolate, r.Network.Apart = true, true }),
		"trunk":       network(func(p *wire.NetworkPolicy) { p.Trunk = "netctl-overlay" }),
		"trunk-internal": against(ipv4, &internal, func(r *Rules) {
			shutIn(&r.Network)
			r.Network.Trunk = "netctl-overlay"
		}),
		"publish-from": network(func(p *wire.NetworkPolicy) { p.PublishFrom = []netip.Prefix{prefix("192.0.2.0/24")} }),
		"publish-on":   network(func(p *wire.NetworkPolicy) { p.PublishOn = []string{"eth1"} }),
		"resolver-port": network(func(p *wire.NetworkPolicy) {
			p.DNS = []netip.AddrPort{netip.MustParseAddrPort("10.88.0.1:10053")}
		}),
		"port":         port(nil),
		"port6":        against(ipv6, &plain, docsPublish("fd00:88::2", nil)),
		"port-address": port(func(p *wire.Publish) { p.HostIP = netip.MustParseAddr("127.0.0.1") }),
		"range": port(func(p *wire.Publish) {
			p.Protocol, p.HostPort, p.ContainerPort, p.Count = wire.UDP, 9000, 9000, 100
		}),
		"sctp": port(func(p *wire.Publish) { p.Protocol, p.HostPort, p.ContainerPort = wire.SCTP, 36412, 36412 }),
		"conditions": port(func(p *wire.Publish) {
			p.Only = wire.Conditions{Src: prefix("192.0.2.0/24"), NotSrc: true, In: "eth1"}
		}),
		"range-shifted": port(func(p *wire.Publish) { p.HostPort, p.Count = 8000, 3 }),
		"portmap":       {ipv4, &portmap, nil},
		"hide-clients": against(ipv4, &portmap, func(r *Rules) {
			*r = portmap
			r.Publish = slices.Clone(r.Publish)
			r.Publish[0].HideClients = true
		}),
		"mark-chain": against(ipv4, &portmap, func(r *Rules) {
			*r = portmap
			r.Publish = slices.Clone(r.Publish)
			r.Publish[0].MarkChain = "KUBE-MARK-MASQ"
		}),
	}
}

// docsLines are the commands for a listing, without those for what all
// networks share; without rules, these.
func docsLines(mechanism BackendName, f family, r *Rules) []string {
	if mechanism == IPTables {
		base := iptablesLines(f, sharedRules(f))
		if r == nil {
			return base
		}
		return without(iptablesLines(f, wanted(f, *r)), base)
	}
	base := nftLines(f, nftBase(f))
	if r == nil {
		return base
	}
	return without(nftLines(f, nftWanted(f, *r)), base)
}

func without(all, some []string) []string {
	return slices.DeleteFunc(all, func(line string) bool { return slices.Contains(some, line) })
}

var (
	commentOption = regexp.MustCompile(` (-m comment --)?comment "[^"]*"`)
	policyOf      = regexp.MustCompile(`(my-bridge[ -](policy=)?)[A-Z2-7]{8}`)
)

// listing writes one mechanism's lines: all of them, or the difference.
func listing(lines, versus []string) string {
	for _, all := range [][]string{lines, versus} {
		for i := range all {
			all[i] = policyOf.ReplaceAllString(all[i], "${1}K3LMN2QA")
			if versus != nil {
				all[i] = commentOption.ReplaceAllString(all[i], "")
			}
		}
	}
	if versus == nil {
		return strings.Join(lines, "\n")
	}
	var out []string
	for _, line := range without(slices.Clone(versus), lines) {
		out = append(out, "- "+line)
	}
	for _, line := range without(slices.Clone(lines), versus) {
		out = append(out, "+ "+line)
	}
	if len(out) == 0 {
		return "  # no rule more or less"
	}
	return strings.Join(out, "\n")
}

// TestDocsShowEveryOption: each field of a policy and of a mapping differs from
// the page's network and port in some listing.
func TestDocsShowEveryOption(t *testing.T) {
	plain := docsRules(docsPublish("10.88.0.2", nil))
	shown := map[string]bool{}
	compare := func(base, changed any) {
		b, c := reflect.ValueOf(base), reflect.ValueOf(changed)
		for i := range b.NumField() {
			name := b.Type().String() + "." + b.Type().Field(i).Name
			shown[name] = shown[name] || !reflect.DeepEqual(b.Field(i).Interface(), c.Field(i).Interface())
		}
	}
	for _, c := range docsCases() {
		if c.rules == nil {
			continue
		}
		compare(plain.Network, c.rules.Network)
		for _, p := range c.rules.Publish {
			compare(plain.Publish[0], p)
		}
	}
	named := []string{"wire.NetworkPolicy.Network", "wire.NetworkPolicy.Bridge", "wire.NetworkPolicy.Subnets"} // stand in every listing
	for name, seen := range shown {
		if !seen && !slices.Contains(named, name) {
			t.Errorf("no listing shows %s", name)
		}
	}
}

// TestDocs compares the listings in the page with what the code makes.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	seen := 0
	for name, c := range docsCases() {
		block := ""
		for _, mechanism := range []BackendName{IPTables, NFTables} {
			if c.rules != nil {
				if refused := Translatable(mechanism, c.rules.Publish); refused != nil {
					block += fmt.Sprintf("\n```text\nrefused: %v\n```\n", refused)
					continue
				}
			}
			var versus []string
			language := "sh"
			if c.versus != nil {
				versus, language = docsLines(mechanism, c.family, c.versus), "diff"
			}
			block += fmt.Sprintf("\n```%s\n%s\n```\n", language, listing(docsLines(mechanism, c.family, c.rules), versus))
		}
		begin := "<!-- rules: " + name + " -->\n"
		head, rest, found := strings.Cut(text, begin)
		_, tail, closed := strings.Cut(rest, "<!-- end -->")
		if !found || !closed {
			t.Errorf("the page has no place for %q", name)
			continue
		}
		seen++
		text = head + begin + block + "\n<!-- end -->" + tail
	}
	if places := strings.Count(text, "<!-- rules: "); places != seen {
		t.Errorf("the page has %d listings, the test knows %d", places, seen)
	}
	if *update {
		if err := os.WriteFile(docsPage, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != string(page) {
		t.Errorf("docs/firewall.md does not show what the code does; run: go test ./plugins/internal/firewall -run TestDocs -update")
	}
}
