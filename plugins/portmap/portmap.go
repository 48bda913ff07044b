// Package portmap is the chained plugin that publishes container ports on the
// host. It is the port mapping of the modes, made available after a plugin
// that is not ours or that leaves it to the chain.
package portmap

import (
	"fmt"
	"net/netip"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "portmap", Parse: parse, Chained: true, Inherited: wire.Heir.Ports}
}

// config holds the reference plugin's keys (spec cni 2.3). markMasqBit says by
// which bit its rules mark the connections that another rule of its own then
// masquerades. Ours masquerades them without a mark, so that it is checked and
// has nothing to do.
type config struct {
	Backend              string   `json:"backend"`
	SNAT                 *bool    `json:"snat"`
	MasqAll              bool     `json:"masqAll"`
	MarkMasqBit          *int     `json:"markMasqBit"`
	ExternalSetMarkChain *string  `json:"externalSetMarkChain"`
	ConditionsV4         []string `json:"conditionsV4"`
	ConditionsV6         []string `json:"conditionsV6"`

	v4, v6   wire.Conditions
	previous attach.Previous
}

func parse(req *cni.Request) (attach.Conf, error) {
	var c config
	if err := req.Decode(&c); err != nil {
		return nil, err
	}
	switch {
	case c.Backend != "" && c.Backend != "iptables" && c.Backend != "nftables":
		return nil, fmt.Errorf("key backend: invalid value %q: want iptables or nftables", c.Backend)
	case c.MarkMasqBit != nil && (*c.MarkMasqBit < 0 || *c.MarkMasqBit > 31):
		return nil, fmt.Errorf("key markMasqBit: invalid value %d: want 0 to 31", *c.MarkMasqBit)
	case c.MarkMasqBit != nil && c.ExternalSetMarkChain != nil:
		return nil, fmt.Errorf("keys markMasqBit and externalSetMarkChain exclude each other: remove one of them")
	case c.ExternalSetMarkChain != nil && c.Backend == "nftables":
		return nil, fmt.Errorf("key externalSetMarkChain: %q is a chain of iptables: want backend iptables, or no such key", *c.ExternalSetMarkChain)
	}
	if c.ExternalSetMarkChain != nil && !attach.IsChainName(*c.ExternalSetMarkChain) {
		return nil, fmt.Errorf("key externalSetMarkChain: invalid value %q: want %s", *c.ExternalSetMarkChain, attach.ChainName)
	}
	var err error
	if c.v4, err = parseConditions(c.ConditionsV4, true); err != nil {
		return nil, fmt.Errorf("key conditionsV4: %w", err)
	}
	if c.v6, err = parseConditions(c.ConditionsV6, false); err != nil {
		return nil, fmt.Errorf("key conditionsV6: %w", err)
	}
	c.previous, err = attach.ReadPrevious(req)
	return c, err
}

// Firewall is the mechanism that the configuration names. Conditions in the
// words of iptables, and the chain of marks, are of iptables too.
func (c config) Firewall() string {
	if c.Backend == "" && (c.ExternalSetMarkChain != nil || c.v4.IPTables+c.v6.IPTables != "") {
		return "iptables"
	}
	return c.Backend
}

// Previous is what the result is made from.
func (c config) Previous() attach.Previous { return c.previous }

// Publish narrows the mappings to the conditions of their family, and says whose
// addresses are hidden: those of the container's own network (snat, which is the
// default), nobody's, or everybody's (masqAll).
func (c config) Publish(all []wire.Publish) []wire.Publish {
	var result []wire.Publish
	hides := c.SNAT == nil || *c.SNAT
	for _, p := range all {
		conditions := c.v6
		if p.Container.Is4() {
			conditions = c.v4
		}
		only, possible := conditions.For(p.HostIP)
		if !possible {
			continue
		}
		p.Only, p.HideClients = only, hides && c.MasqAll
		if hides && c.ExternalSetMarkChain != nil {
			p.MarkChain = *c.ExternalSetMarkChain
		}
		if !hides {
			p.Subnet = netip.Prefix{}
		}
		result = append(result, p)
	}
	return result
}

// Wire asks for nothing but the ports, which are the same for every plugin.
func (c config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	return wire.Wiring{
		Attachment: at,
		Shared:     wire.Shared{Network: wire.NetworkPolicy{Network: at.NetworkLabel(), Bridge: c.previous.Bridge}},
		Owned:      wire.Owned{Addresses: c.previous.Addresses},
	}, nil
}
