package attach

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Pool is the configuration of the kinds of IPAM that give addresses out of
// ranges.
type Pool struct {
	// Sets give one address each.
	Sets []ipam.Set
	// Wanted has the address that the caller asks for from each set; the zero
	// Addr stands for any.
	Wanted []netip.Addr
	// Static lets callers ask for addresses outside of the ranges too.
	Static Static
	Routes []wire.Route
	// ResolvConf is a file from which the result's dns is taken, or "".
	ResolvConf string
}

// Static is our own key of ipam: where an address may be that a caller asks for.
// Without it, as with host-local, only in the ranges.
type Static struct {
	// From is "subnet" for anywhere in the ranges' subnets.
	From   string       `json:"from"`
	Except []netip.Addr `json:"except"`
}

// find gives the range of the n-th set that an address is of, as far as a caller may
// ask for it.
func (p Pool) find(n int, a netip.Addr) (ipam.Range, bool) {
	if r, ok := p.Sets[n].Find(a); ok || p.Static.From != "subnet" || slices.Contains(p.Static.Except, a) {
		return r, ok
	}
	for _, r := range p.Sets[n] {
		whole := ipam.Range{Subnet: r.Subnet, Start: ipam.First(r.Subnet), End: ipam.Last(r.Subnet), Gateway: r.Gateway}
		if whole.Contains(a) {
			return r, true
		}
	}
	return ipam.Range{}, false
}

// ParsePool reads the key ipam and what the caller asks for.
func ParsePool(req *cni.Request) (Pool, error) {
	var raw struct {
		ipam.Range
		Ranges     []ipam.Set     `json:"ranges"`
		Routes     []*types.Route `json:"routes"`
		ResolvConf string         `json:"resolvConf"`
		Static     Static         `json:"static"`
	}
	if err := decodeIPAM(req, &raw); err != nil {
		return Pool{}, err
	}
	sets := raw.Ranges
	if raw.Subnet.IsValid() {
		sets = append([]ipam.Set{{raw.Range}}, sets...)
	}
	sets, err := checkSets(req, sets)
	if err != nil {
		return Pool{}, err
	}
	routes, err := routesOf(raw.Routes)
	if err != nil {
		return Pool{}, cni.Errorf(cni.CodeConfig, "key ipam.routes: %w", err)
	}
	pool := Pool{Sets: sets, Routes: routes, ResolvConf: raw.ResolvConf}
	if req.Conf.IPAM.Type == LedgerIPAM {
		if from := raw.Static.From; from != "" && from != "subnet" {
			return Pool{}, cni.Errorf(cni.CodeConfig, "key ipam.static.from: %q is unknown: want \"subnet\"", from)
		}
		pool.Static = raw.Static
	}
	pool.Wanted, err = pool.wantedFrom(req)
	return pool, err
}

// decodeIPAM decodes the key ipam. Without it the target stays as it is.
func decodeIPAM(req *cni.Request, into any) error {
	if len(req.Conf.IPAM.Raw) == 0 {
		return nil
	}
	return decodePart(req.Conf.IPAM.Raw, "ipam", into)
}

// decodePart decodes the value of a key. What is neither JSON nor of the right
// type is a text that does not read as a prefix or an address.
func decodePart(data json.RawMessage, key string, into any) error {
	err := cni.Unmarshal(data, into)
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*cni.WrongTypeError)):
		return cni.Wrap(cni.CodeConfig, cni.Within(key, err))
	}
	return cni.Errorf(cni.CodeConfig, "key %s", cmp.Or(unreadable(key, data), key+": "+err.Error()))
}

// checkSets puts the ranges of the ipRanges capability in front and checks all.
func checkSets(req *cni.Request, sets []ipam.Set) ([]ipam.Set, error) {
	if len(req.Conf.RuntimeConfig.IPRanges) > 0 {
		var more []ipam.Set
		if err := decodePart(req.Conf.RuntimeConfig.IPRanges, "runtimeConfig.ipRanges", &more); err != nil {
			return nil, err
		}
		sets = append(more, sets...)
	}
	if len(sets) == 0 {
		return nil, cni.Errorf(cni.CodeConfig, "key ipam.ranges is missing: want at least one subnet")
	}
	sets, err := ipam.CanonicalSets(sets)
	if err != nil {
		return nil, cni.Errorf(cni.CodeConfig, "key ipam: %w", err).
			WithHint("each inner list of ranges gives one address, from subnets of one family with at least four addresses; no two may overlap, and bounds lie inside")
	}
	var families []netip.Addr
	for _, set := range sets {
		families = append(families, set[0].Start)
	}
	return sets, onePerFamily(req, families)
}

// onePerFamily refuses a second address of a family where the result can't
// tell of it: before version 0.3.0.
func onePerFamily(req *cni.Request, addresses []netip.Addr) error {
	if v := req.Conf.CNIVersion; v != "0.1.0" && v != "0.2.0" {
		return nil
	}
	seen := map[bool]bool{}
	for _, a := range addresses {
		if seen[a.Is4()] {
			return cni.Errorf(cni.CodeConfig, "key ipam: cniVersion %s has one address for each family: want 0.3.0 or newer for more", req.Conf.CNIVersion)
		}
		seen[a.Is4()] = true
	}
	return nil
}

// wantedFrom gives each set the address that is asked for from it. The channels
// may come together, IPv4 by one and IPv6 by another, as nerdctl sends them; of
// two that ask for an address from the same set the stronger one counts (spec
// cni 1.13).
func (p Pool) wantedFrom(req *cni.Request) ([]netip.Addr, error) {
	sets := p.Sets
	channels, err := askedFor(req)
	if err != nil {
		return nil, err
	}
	wanted := make([]netip.Addr, len(sets))
	by := make([]string, len(sets))
	for _, c := range channels {
		for _, text := range c.texts {
			addr, err := parseAddress(text)
			if err != nil {
				return nil, cni.Errorf(cni.CodeConfig, "%s: invalid address %q: want an IP address or address/prefix", c.key, text)
			}
			n := p.setOf(addr)
			switch {
			case n < 0:
				return nil, cni.Errorf(cni.CodeOutOfRange, "%s: address %s can't be given out: want one from %s, neither gateway, network nor broadcast address", c.key, addr, p.text())
			case by[n] == "":
				wanted[n], by[n] = addr, c.key
			case by[n] == c.key && wanted[n] != addr:
				return nil, cni.Errorf(cni.CodeConfig, "%s: both %s and %s are asked for, and %s gives one address", c.key, wanted[n], addr, setsText(sets[n:n+1]))
			}
		}
	}
	return wanted, nil
}

// A channel is one of the ways in which a caller asks for addresses.
type channel struct {
	key   string
	texts []string
}

// askedFor reads the channels, the strongest first.
func askedFor(req *cni.Request) ([]channel, error) {
	ips, err := argsIPs(req)
	if err != nil {
		return nil, err
	}
	channels := []channel{{"runtimeConfig.ips", req.Conf.RuntimeConfig.IPs}, {"args.cni.ips", ips}}
	if text := req.Args["IP"]; text != "" {
		channels = append(channels, channel{"CNI_ARGS IP", strings.Split(text, ",")})
	}
	return channels, nil
}

func argsIPs(req *cni.Request) ([]string, error) {
	var raw struct {
		Args struct {
			CNI struct {
				IPs []string `json:"ips"`
			} `json:"cni"`
		} `json:"args"`
	}
	err := req.Decode(&raw)
	return raw.Args.CNI.IPs, err
}

func parseAddress(text string) (netip.Addr, error) {
	text = strings.TrimSpace(text)
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Addr().Unmap(), nil
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err
}

// setOf finds the set that can give the address out, or -1. There is one at
// most: sets don't overlap.
func (p Pool) setOf(a netip.Addr) int {
	for n := range p.Sets {
		if _, ok := p.find(n, a); ok {
			return n
		}
	}
	return -1
}

// text says where an address may be asked for.
func (p Pool) text() string {
	if p.Static.From != "subnet" {
		return setsText(p.Sets)
	}
	var texts []string
	for _, set := range p.Sets {
		for _, r := range set {
			if text := r.Subnet.String(); !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	if len(p.Static.Except) > 0 {
		return fmt.Sprintf("%s without %v", strings.Join(texts, ", "), p.Static.Except)
	}
	return strings.Join(texts, ", ")
}

func setsText(sets []ipam.Set) string {
	var texts []string
	for _, set := range sets {
		for _, r := range set {
			texts = append(texts, r.String())
		}
	}
	return strings.Join(texts, ", ")
}

// grant is what goes with the addresses.
func (p Pool) grant() (Grant, error) {
	g := Grant{Routes: p.Routes}
	if p.ResolvConf == "" {
		return g, nil
	}
	dns, err := readResolvConf(p.ResolvConf)
	if err != nil {
		return Grant{}, cni.Errorf(cni.CodeConfig, "key ipam.resolvConf: %w", err).WithHint("make the file, or remove the key")
	}
	g.DNS = dns
	return g, nil
}

// routesOf checks the routes of a configuration or a delegate's result.
func routesOf(routes []*types.Route) ([]wire.Route, error) {
	var result []wire.Route
	for _, r := range routes {
		if r == nil {
			continue
		}
		to, ok := netip.AddrFromSlice(r.Dst.IP)
		if !ok {
			return nil, fmt.Errorf("route without dst")
		}
		ones, _ := r.Dst.Mask.Size()
		via, _ := netip.AddrFromSlice(r.GW)
		result = append(result, wire.Route{
			To: netip.PrefixFrom(to.Unmap(), ones), Via: via.Unmap(),
			MTU: r.MTU, AdvMSS: r.AdvMSS, Metric: r.Priority,
			Table: value(r.Table), Scope: r.Scope,
		})
	}
	return result, nil
}

func value(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}
