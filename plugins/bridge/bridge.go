// Package bridge is the mode that joins containers by a bridge of the host: a
// pair of links, one end in the container, the other a port of the bridge,
// whose own address is the containers' gateway. Its keys are those of the
// reference bridge plugin, so that an existing configuration works unchanged.
package bridge

import (
	"fmt"
	"net/netip"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "bridge", Parse: parse}
}

// config holds the plugin's keys; those of spec cni 2.1 first, then our own.
type config struct {
	Bridge                    string  `json:"bridge"`
	IsGateway                 bool    `json:"isGateway"`
	IsDefaultGateway          bool    `json:"isDefaultGateway"`
	ForceAddress              bool    `json:"forceAddress"`
	IPMasq                    bool    `json:"ipMasq"`
	IPMasqBackend             string  `json:"ipMasqBackend"`
	MTU                       int     `json:"mtu"`
	HairpinMode               bool    `json:"hairpinMode"`
	PromiscMode               bool    `json:"promiscMode"`
	PortIsolation             bool    `json:"portIsolation"`
	DisableContainerInterface bool    `json:"disableContainerInterface"`
	VLAN                      int     `json:"vlan"`
	VLANTrunk                 []trunk `json:"vlanTrunk"`
	PreserveDefaultVLAN       bool    `json:"preserveDefaultVlan"`
	MACSpoofCheck             bool    `json:"macspoofchk"`
	EnableDAD                 bool    `json:"enabledad"`

	// Names has our resolver serve the network: at its gateway, or without one
	// inside of each container.
	Names bool `json:"names"`
	ruleKeys

	network string
	rules   wire.NetworkPolicy
	mac     wire.HardwareAddr
	vlans   wire.PortVLANs
	limits  attach.Limits
}

func parse(req *cni.Request) (attach.Conf, error) {
	c := config{Bridge: "cni0", network: req.Conf.Name}
	if err := req.Decode(&c); err != nil {
		return nil, err
	}
	c.IsGateway = c.IsGateway || c.IsDefaultGateway
	if err := c.check(req); err != nil {
		return nil, err
	}
	var err error
	if c.rules, err = c.ruleKeys.rules(c.IPMasq); err != nil {
		return nil, err
	}
	if c.vlans, err = c.parseVLANs(); err != nil {
		return nil, err
	}
	if c.limits, err = attach.RequestedLimits(req); err != nil {
		return nil, err
	}
	if err := c.limits.Check(); err != nil {
		return nil, fmt.Errorf("runtimeConfig.bandwidth: %w", err)
	}
	c.mac, err = attach.RequestedMAC(req)
	return c, err
}

// check refuses what a key can't mean.
func (c config) check(req *cni.Request) error {
	switch {
	case !cni.IsIfName(c.Bridge):
		return fmt.Errorf("key bridge: invalid name %q: want 1 to 15 bytes without '/', ':' and space", c.Bridge)
	case len(c.gatewayDevice()) > 15:
		return fmt.Errorf("keys bridge and vlan: the gateway's interface %q would have more than 15 bytes: want a shorter bridge", c.gatewayDevice())
	case c.IPMasqBackend != "" && c.IPMasqBackend != "iptables" && c.IPMasqBackend != "nftables":
		return fmt.Errorf("key ipMasqBackend: invalid value %q: want iptables or nftables", c.IPMasqBackend)
	case c.MTU < 0 || c.MTU > 65535:
		return fmt.Errorf("key mtu: invalid value %d: want 68 to 65535, or 0 for that of the default route's interface", c.MTU)
	case c.HairpinMode && c.PromiscMode:
		return fmt.Errorf("keys hairpinMode and promiscMode exclude each other: set one of them to false")
	case c.DisableContainerInterface && req.Conf.IPAM.Type != "":
		return fmt.Errorf("key disableContainerInterface: an interface that stays down can't have addresses: remove ipam")
	}
	return nil
}

// WantsNames makes STATUS look for the resolver.
func (c config) WantsNames() bool { return c.Names }

// Firewall is the mechanism that the configuration names.
func (c config) Firewall() string { return c.IPMasqBackend }

// Wire says what differs between a bridge and the other modes.
func (c config) Wire(at wire.Attachment, grant attach.Grant) (wire.Wiring, error) {
	gateways := c.gateways(grant)
	veth := c.veth(at)
	return wire.Wiring{
		Attachment: at,
		Shared: wire.Shared{
			Bridge:      c.bridge(gateways),
			VLANGateway: c.vlanGateway(gateways),
			Sysctls:     forwarding(gateways),
			Network:     c.policy(grant, gateways),
		},
		Owned: wire.Owned{
			Link:             veth,
			Loopback:         true,
			ResolverInside:   c.Names && !c.IsGateway,
			Addresses:        c.addresses(grant),
			DetectDuplicates: c.EnableDAD && grant.Has6(),
			Routes:           c.routes(grant),
			Sysctls:          c.containerSysctls(at, grant),
			Bandwidth:        c.limits.Bandwidth(at, []string{veth.Host}),
		},
	}, nil
}

func (c config) bridge(gateways []netip.Prefix) *wire.Bridge {
	bridge := &wire.Bridge{
		Name:        c.Bridge,
		MTU:         c.MTU,
		MAC:         wire.Attachment{Network: "bridge", Container: c.Bridge}.MAC(),
		Promiscuous: c.PromiscMode,
		VLANs:       !c.vlans.IsZero(),
	}
	if c.MTU == 0 {
		bridge.MTU = wire.EgressMTU
	}
	if !c.hasVLANGateway() {
		bridge.Gateways, bridge.ReplaceGateways = gateways, c.ForceAddress
	}
	return bridge
}

func (c config) veth(at wire.Attachment) wire.Veth {
	veth := wire.Veth{
		Host:       at.HostName(wire.VethPrefix),
		Container:  at.IfName,
		Bridge:     c.Bridge,
		MTU:        c.MTU,
		MAC:        c.mac,
		Hairpin:    c.HairpinMode,
		Isolated:   c.PortIsolation,
		OwnMACOnly: c.MACSpoofCheck,
		VLANs:      c.vlans,
		Down:       c.DisableContainerInterface,
	}
	if !c.mac.IsValid() {
		veth.MAC = at.MAC()
	}
	if c.MTU == 0 && c.IsGateway { // else what goes out leaves by another port of the bridge
		veth.MTU = wire.EgressMTU
	}
	return veth
}

// containerSysctls are those of every link with addresses. The other end of
// the pair is ours alone, so that nobody can have the container's IPv6 address
// already, unless the bridge has ports that are not ours (enabledad).
func (c config) containerSysctls(at wire.Attachment, grant attach.Grant) []wire.Sysctl {
	sysctls := wire.ContainerSysctls(at.IfName, grant.Addresses)
	if grant.Has6() {
		sysctls = append(sysctls, wire.DuplicateDetection(at.IfName, c.EnableDAD)...)
	}
	return sysctls
}

// gateways are the bridge's own addresses: each gateway with its prefix.
func (c config) gateways(grant attach.Grant) []netip.Prefix {
	if !c.IsGateway {
		return nil
	}
	var result []netip.Prefix
	for _, a := range c.addresses(grant) {
		result = append(result, netip.PrefixFrom(a.Gateway, a.Prefix.Bits()))
	}
	return result
}

// addresses fills a gateway in where IPAM gave none and the bridge is to be
// one: the first address of the subnet.
func (c config) addresses(grant attach.Grant) []wire.Address {
	result := append([]wire.Address(nil), grant.Addresses...)
	for i, a := range result {
		if c.IsGateway && !a.Gateway.IsValid() {
			result[i].Gateway = a.Prefix.Masked().Addr().Next()
		}
	}
	return result
}

// routes are IPAM's, each without a gateway through its family's, and a
// default route per family that has none yet.
func (c config) routes(grant attach.Grant) []wire.Route {
	addresses := attach.Grant{Addresses: c.addresses(grant)}
	result := attach.ThroughGateways(grant.Routes, addresses)
	hasDefault := map[bool]bool{}
	for _, r := range result {
		hasDefault[r.To.Addr().Is4()] = hasDefault[r.To.Addr().Is4()] || r.To.Bits() == 0
	}
	if !c.IsDefaultGateway || c.Internal {
		return result
	}
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		via := addresses.Gateway(any.Is4())
		if via.IsValid() && !hasDefault[any.Is4()] {
			result = append(result, wire.Route{To: netip.PrefixFrom(any, 0), Via: via})
		}
	}
	return result
}

func (c config) policy(grant attach.Grant, gateways []netip.Prefix) wire.NetworkPolicy {
	policy := c.rules
	policy.Network, policy.Bridge = c.network, c.gatewayDevice()
	policy.Masquerade = c.IPMasq && !c.Internal
	policy.Forward = c.IsGateway && !c.Internal
	for _, a := range grant.Addresses {
		policy.Subnets = append(policy.Subnets, a.Prefix.Masked())
	}
	if c.Names {
		for _, g := range gateways {
			policy.DNS = append(policy.DNS, netip.AddrPortFrom(g.Addr(), wire.DNSPort))
		}
	}
	return policy
}

// forwarding turns routing on for the families that have a gateway.
func forwarding(gateways []netip.Prefix) []wire.Sysctl {
	var result []wire.Sysctl
	done := map[bool]bool{}
	for _, g := range gateways {
		is4 := g.Addr().Is4()
		if done[is4] {
			continue
		}
		done[is4] = true
		path := "net/ipv6/conf/all/forwarding"
		if is4 {
			path = "net/ipv4/ip_forward"
		}
		result = append(result, wire.Sysctl{Path: path, Value: "1"})
	}
	return result
}
