package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// LedgerIPAM is the IPAM type whose addresses live in the ledger alone. Its
// keys are those of host-local.
const LedgerIPAM = "netctl-ipam"

// Pool is the configuration of the ledger's IPAM.
type Pool struct {
	Sets   []ipam.Set
	Routes []wire.Route
	DNS    types.DNS
	// Wanted are addresses that the caller asks for, each to be had from one
	// of the sets.
	Wanted []netip.Addr
}

// ParsePool reads the key ipam and the address requests of the three channels
// a caller has: CNI_ARGS IP, args.cni.ips, runtimeConfig.ips, the last one
// that is there counting (spec cni 1.13).
func ParsePool(req *cni.Request) (Pool, error) {
	var raw struct {
		ipam.Range
		Ranges []ipam.Set     `json:"ranges"`
		Routes []*types.Route `json:"routes"`
	}
	if err := json.Unmarshal(req.Conf.IPAM.Raw, &raw); err != nil {
		return Pool{}, cni.Errorf(cni.CodeConfig, "key ipam: %w", err)
	}
	sets := raw.Ranges
	if raw.Subnet.IsValid() {
		sets = append([]ipam.Set{{raw.Range}}, sets...)
	}
	var err error
	if sets, err = withRuntimeRanges(req, sets); err != nil {
		return Pool{}, err
	}
	if len(sets) == 0 {
		return Pool{}, cni.Errorf(cni.CodeConfig, "key ipam.ranges is missing: want at least one subnet")
	}
	if sets, err = ipam.CanonicalSets(sets); err != nil {
		return Pool{}, cni.Errorf(cni.CodeConfig, "key ipam: %w", err)
	}
	routes, err := routesOf(raw.Routes)
	if err != nil {
		return Pool{}, cni.Errorf(cni.CodeConfig, "key ipam.routes: %w", err)
	}
	wanted, err := wantedAddresses(req, sets)
	return Pool{Sets: sets, Routes: routes, Wanted: wanted}, err
}

// withRuntimeRanges puts the ranges of the ipRanges capability in front.
func withRuntimeRanges(req *cni.Request, sets []ipam.Set) ([]ipam.Set, error) {
	if len(req.Conf.RuntimeConfig.IPRanges) == 0 {
		return sets, nil
	}
	var more []ipam.Set
	if err := json.Unmarshal(req.Conf.RuntimeConfig.IPRanges, &more); err != nil {
		return nil, cni.Errorf(cni.CodeConfig, "key runtimeConfig.ipRanges: %w", err)
	}
	return append(more, sets...), nil
}

func wantedAddresses(req *cni.Request, sets []ipam.Set) ([]netip.Addr, error) {
	var args struct {
		Args struct {
			CNI struct {
				IPs []string `json:"ips"`
			} `json:"cni"`
		} `json:"args"`
	}
	if err := req.Decode(&args); err != nil {
		return nil, err
	}
	key, texts := "CNI_ARGS IP", []string(nil)
	if ip := req.Args["IP"]; ip != "" {
		texts = strings.Split(ip, ",")
	}
	if len(args.Args.CNI.IPs) > 0 {
		key, texts = "args.cni.ips", args.Args.CNI.IPs
	}
	if len(req.Conf.RuntimeConfig.IPs) > 0 {
		key, texts = "runtimeConfig.ips", req.Conf.RuntimeConfig.IPs
	}
	var wanted []netip.Addr
	for _, text := range texts {
		addr, err := parseAddress(text)
		if err != nil {
			return nil, cni.Errorf(cni.CodeConfig, "%s: invalid address %q: want an IP address or address/prefix", key, text)
		}
		if !inAny(sets, addr) {
			return nil, cni.Errorf(cni.CodeOutOfRange, "%s: address %s can't be given out: want one from %s, neither gateway, network nor broadcast address", key, addr, setsText(sets))
		}
		wanted = append(wanted, addr)
	}
	return wanted, nil
}

func parseAddress(text string) (netip.Addr, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Addr(), nil
	}
	return netip.ParseAddr(text)
}

func inAny(sets []ipam.Set, a netip.Addr) bool {
	for _, set := range sets {
		if _, ok := set.Find(a); ok {
			return true
		}
	}
	return false
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

// take reserves one address from each set, a wanted one where there is one.
func (p Pool) take(tx *ledger.Tx, network string) (Grant, error) {
	grant := Grant{Routes: p.Routes, DNS: p.DNS}
	wanted := append([]netip.Addr(nil), p.Wanted...)
	for _, set := range p.Sets {
		addr, from, err := pick(tx, network, set, &wanted)
		if err != nil {
			return Grant{}, err
		}
		grant.Addresses = append(grant.Addresses, wire.Address{
			Prefix:  netip.PrefixFrom(addr, from.Subnet.Bits()),
			Gateway: from.Gateway,
		})
	}
	if len(wanted) > 0 {
		return Grant{}, cni.Errorf(cni.CodeConfig, "too many addresses asked for: nothing is left to take %s from", wanted[0])
	}
	return grant, nil
}

// pick takes the first wanted address that the set has, or any free one.
func pick(tx *ledger.Tx, network string, set ipam.Set, wanted *[]netip.Addr) (netip.Addr, ipam.Range, error) {
	for i, addr := range *wanted {
		if from, ok := set.Find(addr); ok {
			*wanted = append((*wanted)[:i], (*wanted)[i+1:]...)
			return addr, from, nil
		}
	}
	addr, from, err := tx.Allocate(network, set)
	var exhausted *ledger.ExhaustedError
	if errors.As(err, &exhausted) {
		return addr, from, cni.Errorf(cni.CodeExhausted, "%w", err).
			WithHint("remove containers that are not needed, or make the network's subnet larger")
	}
	return addr, from, cni.Wrap(cni.CodeStore, err)
}

// routesOf checks the routes of a configuration or a delegate's result.
func routesOf(routes []*types.Route) ([]wire.Route, error) {
	var result []wire.Route
	for _, r := range routes {
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
