// Package firewall is the chained plugin that lets a container's traffic pass
// the host's packet filter, and keeps networks apart if told to. It is the
// policy of the modes, made available after a plugin that is not ours.
package firewall

import (
	"fmt"
	"slices"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "firewall", Parse: parse, Chained: true, Oldest: "0.4.0", Inherited: inherited}
}

// inherited names the addresses that the reference plugin lets through.
func inherited(h wire.Heir) wire.Inherited { return wire.Inherited{Accepted: h.Addresses} }

// The values of ingressPolicy.
const (
	open       = "open"
	sameBridge = "same-bridge"
	isolated   = "isolated"
)

// trusted is firewalld's zone that lets everything pass.
const trusted = "trusted"

// config holds the reference plugin's keys (spec cni 2.4).
type config struct {
	Backend       string `json:"backend"`
	IngressPolicy string `json:"ingressPolicy"`
	AdminChain    string `json:"iptablesAdminChainName"`
	// Zone can only be firewalld's default one, which lets everything pass:
	// our rules do that beside firewalld's, whose zones are not touched.
	Zone string `json:"firewalldZone"`

	previous attach.Previous
}

func parse(req *cni.Request) (attach.Conf, error) {
	c := config{IngressPolicy: open, AdminChain: "CNI-ADMIN", Zone: trusted}
	if err := req.Decode(&c); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains([]string{"", "iptables", "firewalld", "nftables"}, c.Backend):
		return nil, fmt.Errorf("key backend: invalid value %q: want iptables, nftables or firewalld", c.Backend)
	case !slices.Contains([]string{"", open, sameBridge, isolated}, c.IngressPolicy):
		return nil, fmt.Errorf("key ingressPolicy: invalid value %q: want open, same-bridge or isolated", c.IngressPolicy)
	case !attach.IsChainName(c.AdminChain):
		return nil, fmt.Errorf("key iptablesAdminChainName: invalid value %q: want %s", c.AdminChain, attach.ChainName)
	case c.Backend == "firewalld" && c.Zone != trusted:
		return nil, cni.Errorf(cni.CodeUnsupported, "key firewalldZone: value %q is not supported: want %q, or backend iptables and rules of your own in chain %s", c.Zone, trusted, c.AdminChain)
	}
	var err error
	c.previous, err = attach.ReadPrevious(req)
	if err == nil && c.previous.Result != nil && c.previous.Bridge == "" {
		err = cni.Errorf(cni.CodeConfig, "key prevResult: the first interface is not one of the host: want the bridge or the host's end of the link")
	}
	return c, err
}

// Firewall is the mechanism that the configuration names.
func (c config) Firewall() string {
	if c.Backend == "firewalld" {
		return ""
	}
	return c.Backend
}

// Previous is what the result is made from.
func (c config) Previous() attach.Previous { return c.previous }

// Wire lets the bridge's traffic pass.
func (c config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	policy := wire.NetworkPolicy{
		Network: at.NetworkLabel(),
		Bridge:  c.previous.Bridge,
		Forward: true,
		Isolate: c.IngressPolicy == sameBridge || c.IngressPolicy == isolated,
		Apart:   c.IngressPolicy == isolated,

		AdminChain: c.AdminChain,
	}
	for _, a := range c.previous.Addresses {
		if subnet := a.Prefix.Masked(); !slices.Contains(policy.Subnets, subnet) {
			policy.Subnets = append(policy.Subnets, subnet)
		}
	}
	return wire.Wiring{Attachment: at, Shared: wire.Shared{Network: policy}}, nil
}
