package attach

import (
	"net/netip"
	"slices"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Chained is the Conf of a chained plugin.
type Chained interface {
	Conf
	Previous() Previous
}

// idle gives the result to pass on if the plugin has nothing to do.
func (p *plan) idle() (*current.Result, error) {
	if err := p.wire(); err != nil {
		return nil, err
	}
	if !p.wiring.IsZero() {
		return nil, nil
	}
	return p.conf.(Chained).Previous().Result, nil
}

// idle tells whether a request leaves a chained plugin nothing to do.
func (a *Attacher) idle(req *cni.Request) (bool, error) {
	p, err := a.parse(req)
	if err != nil {
		return false, err
	}
	previous, err := p.idle()
	return previous != nil, err
}

// passedOn tells whether the ADD of a chained plugin has passed its result on
// and made no rule (spec cni C168), so that a DEL has nothing to look for: most
// containers publish no port, and looking through all rules costs more the more
// there are. Only a request that says all an ADD is told says that.
func (a *Attacher) passedOn(req *cni.Request, record *ledger.Record) bool {
	if !a.Mode.Chained || a.Mode.NoRules || record != nil {
		return false
	}
	if previous, err := req.PrevResult(); err != nil || previous == nil {
		return false
	}
	idle, err := a.idle(req)
	return idle && err == nil
}

// Previous is what a chained plugin needs of the result before it.
type Previous struct {
	Result *current.Result
	// Addresses of the container's interface CNI_IFNAME.
	Addresses []wire.Address
	// Hosts are the interfaces that are not in the container.
	Hosts []string
	// Bridge is the host's interface that leads to the container: the first
	// of the result, as every interface plugin lists them, or its place in
	// a VLAN of that bridge.
	Bridge string
}

// ReadPrevious takes the result apart. It is an error if there is none.
func ReadPrevious(req *cni.Request) (Previous, error) {
	result, err := req.PrevResult()
	if err != nil {
		return Previous{}, err
	}
	if result == nil && req.Command != cni.Add && req.Command != cni.Check {
		return Previous{}, nil // STATUS and GC come without
	}
	if result == nil {
		return Previous{}, cni.Errorf(cni.CodeConfig, "key prevResult is missing: this plugin comes after one that makes an interface")
	}
	p := Previous{Result: result}
	for i, link := range result.Interfaces {
		if link.Sandbox != "" {
			continue
		}
		p.Hosts = append(p.Hosts, link.Name)
		if i == 0 || strings.HasPrefix(link.Name, p.Bridge+".") && p.Bridge != "" {
			p.Bridge = link.Name
		}
	}
	for _, ip := range result.IPs {
		if !ofInterface(result, ip, req.IfName) {
			continue
		}
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		ones, _ := ip.Address.Mask.Size()
		gateway, _ := netip.AddrFromSlice(ip.Gateway)
		p.Addresses = append(p.Addresses, wire.Address{
			Prefix: netip.PrefixFrom(addr.Unmap(), ones), Gateway: gateway.Unmap(),
		})
	}
	return p, nil
}

// ofInterface tells whether an address belongs to the container's interface of
// that name. One without an index does (results of old versions, -1 included).
func ofInterface(result *current.Result, ip *current.IPConfig, name string) bool {
	if ip.Interface == nil || *ip.Interface < 0 {
		return true
	}
	if *ip.Interface >= len(result.Interfaces) {
		return false
	}
	link := result.Interfaces[*ip.Interface]
	return link.Sandbox != "" && link.Name == name
}

// checkGateways refuses to have the resolver listen at gateways that another
// plugin gave and that are not the host's: nobody would get an answer.
func (a *Attacher) checkGateways(p *plan, host *kernel.Host) error {
	policy := p.wiring.Shared.Network
	if !a.Mode.Chained || len(policy.DNS) == 0 {
		return nil
	}
	addresses, _, err := host.Global()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	for _, server := range policy.DNS {
		own := slices.ContainsFunc(addresses[policy.Bridge], func(have netip.Prefix) bool { return have.Addr() == server.Addr() })
		if !own {
			return cni.Errorf(cni.CodeConfig, "key prevResult: gateway %s is not an address of %s, so the resolver can't answer there", server.Addr(), policy.Bridge).
				WithHint(`set "listen": "container"`)
		}
	}
	return nil
}
