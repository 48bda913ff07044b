package attach

import (
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/dnsd/inside"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// result reads back what was made. The order of interfaces is the reference
// bridge's: bridge, host end, container's end; chained plugins rely on it.
func (a *Attacher) result(p *plan, host *kernel.Host, container *kernel.Container) (*current.Result, error) {
	if chained, ok := p.conf.(Chained); ok {
		return p.amend(chained.Previous().Result, host, container)
	}
	result := &current.Result{CNIVersion: current.ImplementedSpecVersion}
	for _, link := range p.made.OnHost() {
		result.Interfaces = append(result.Interfaces, interfaceOf(link, ""))
	}
	if a.Mode.SharesHost {
		return result, describeHost(host, result)
	}
	inside, err := p.insideLinks(container)
	if err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	for _, link := range inside {
		result.Interfaces = append(result.Interfaces, interfaceOf(link, p.req.Netns))
	}
	own := len(result.Interfaces) - 1
	for _, address := range p.wiring.Owned.Addresses {
		result.IPs = append(result.IPs, ipConfig(address.Prefix, address.Gateway, own))
	}
	for _, route := range p.wiring.Owned.Routes {
		result.Routes = append(result.Routes, resultRoute(route))
	}
	result.DNS = p.dns()
	if err := p.addOtherLinks(result, host); err != nil {
		return nil, err
	}
	return p.extend(result)
}

// addOtherLinks lists what comes after the container's end: the host's place in
// a VLAN, and the device that limits the container.
func (p *plan) addOtherLinks(result *current.Result, host *kernel.Host) error {
	if g := p.wiring.Shared.VLANGateway; g != nil && len(g.Gateways) > 0 {
		links, err := host.Describe(g.Name)
		if err != nil {
			return cni.Wrap(cni.CodeKernel, err)
		}
		result.Interfaces = append(result.Interfaces, interfaceOf(links[0], ""))
	}
	return p.addIfb(result, host)
}

// extend adds what we made to the result of the plugins before us.
func (p *plan) extend(result *current.Result) (*current.Result, error) {
	previous, err := p.req.PrevResult()
	if err != nil || previous == nil {
		return result, err
	}
	before := len(previous.Interfaces)
	for _, ip := range result.IPs {
		ip.Interface = current.Int(*ip.Interface + before)
	}
	previous.Interfaces = append(previous.Interfaces, result.Interfaces...)
	previous.IPs = append(previous.IPs, result.IPs...)
	previous.Routes = append(previous.Routes, result.Routes...)
	if !result.DNS.IsEmpty() {
		previous.DNS = result.DNS
	}
	return previous, nil
}

// insideLinks are the container's: the attachment's own, or else lo.
func (p *plan) insideLinks(container *kernel.Container) ([]kernel.Interface, error) {
	switch {
	case p.wiring.Owned.Link != nil:
		return []kernel.Interface{p.inner}, nil
	case p.wiring.Owned.Loopback:
		return container.Describe("lo")
	}
	return nil, nil
}

// dns is the configuration's own value, else IPAM's; what the dns capability
// brings comes before both, each key by itself. On a network that serves
// names the container asks the gateway; the wanted servers are then the
// resolver's upstreams.
func (p *plan) dns() types.DNS {
	dns := p.req.Conf.DNS
	if dns.IsEmpty() {
		dns = p.grant.DNS
	}
	wanted := p.req.Conf.RuntimeConfig.DNS
	for _, key := range []struct {
		wanted []string
		result *[]string
	}{{wanted.Servers, &dns.Nameservers}, {wanted.Searches, &dns.Search}, {wanted.Options, &dns.Options}} {
		if len(key.wanted) > 0 {
			*key.result = key.wanted
		}
	}
	if server := p.resolver(); server.IsValid() {
		dns.Nameservers = []string{server.String()}
		dns.Search = append([]string{BaseDomain}, dns.Search...)
	}
	return dns
}

// resolver is where the container asks for names, or the zero Addr.
func (p *plan) resolver() netip.Addr {
	if p.wiring.Owned.ResolverInside {
		return inside.Addr
	}
	if servers := p.wiring.Shared.Network.DNS; len(servers) > 0 {
		return servers[0].Addr()
	}
	return netip.Addr{}
}

// describeHost lists the host's links and global addresses.
func describeHost(host *kernel.Host, result *current.Result) error {
	addresses, links, err := host.Global()
	if err != nil {
		return cni.Wrap(cni.CodeKernel, err)
	}
	for i, link := range links {
		result.Interfaces = append(result.Interfaces, interfaceOf(link, ""))
		for _, prefix := range addresses[link.Name] {
			result.IPs = append(result.IPs, ipConfig(prefix, netip.Addr{}, i))
		}
	}
	return nil
}

func interfaceOf(link kernel.Interface, sandbox string) *current.Interface {
	return &current.Interface{Name: link.Name, Mac: link.MAC.String(), Mtu: link.MTU, Sandbox: sandbox}
}

func ipConfig(prefix netip.Prefix, gateway netip.Addr, index int) *current.IPConfig {
	return &current.IPConfig{
		Interface: current.Int(index),
		Address:   *ipNet(prefix),
		Gateway:   slice(gateway),
	}
}

func resultRoute(r wire.Route) *types.Route {
	route := &types.Route{
		Dst: *ipNet(r.To), GW: slice(r.Via),
		MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Metric, Scope: r.Scope,
	}
	if r.Table != 0 {
		route.Table = &r.Table
	}
	return route
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func slice(a netip.Addr) net.IP {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}
