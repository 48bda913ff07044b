// Package portmap is the chained plugin that publishes container ports on the
// host. It is the port mapping of the modes, made available after a plugin
// that is not ours or that leaves it to the chain.
package portmap

import (
	"fmt"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "portmap", Parse: parse, Chained: true, Inherited: inherited}
}

// inherited names the rules that the reference plugin makes. They know nothing
// of the interface, those of nftables nothing of the network either.
func inherited(at wire.Attachment, _ []wire.Address) wire.Inherited {
	in := wire.Inherited{Chains: []string{wire.InheritedChain("DN-", at), wire.InheritedChain("SN-", at)}}
	for _, family := range []string{"ip", "ip6"} {
		for _, chain := range []string{"hostports", "hostip_hostports", "masquerading"} {
			in.Marked = append(in.Marked, wire.Marked{Family: family, Table: "cni_hostport", Chain: chain, Comment: at.Container})
		}
	}
	return in
}

// config holds the reference plugin's keys (spec cni 2.3). What only shaped
// its rules (markMasqBit) is accepted and without meaning here: we mark no
// packets.
type config struct {
	Backend              string   `json:"backend"`
	SNAT                 *bool    `json:"snat"`
	MasqAll              bool     `json:"masqAll"`
	MarkMasqBit          *int     `json:"markMasqBit"`
	ExternalSetMarkChain *string  `json:"externalSetMarkChain"`
	ConditionsV4         []string `json:"conditionsV4"`
	ConditionsV6         []string `json:"conditionsV6"`

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
		return nil, fmt.Errorf("keys markMasqBit and externalSetMarkChain exclude each other")
	case c.MasqAll, c.ExternalSetMarkChain != nil, len(c.ConditionsV4)+len(c.ConditionsV6) > 0, c.SNAT != nil && !*c.SNAT:
		return nil, unsupported(c)
	}
	var err error
	c.previous, err = attach.ReadPrevious(req)
	return c, err
}

// unsupported names the key that asks for something our rules don't do.
func unsupported(c config) error {
	for _, key := range []struct {
		name  string
		value any
		set   bool
	}{
		{"masqAll", c.MasqAll, c.MasqAll},
		{"externalSetMarkChain", c.ExternalSetMarkChain, c.ExternalSetMarkChain != nil},
		{"conditionsV4", c.ConditionsV4, len(c.ConditionsV4) > 0},
		{"conditionsV6", c.ConditionsV6, len(c.ConditionsV6) > 0},
		{"snat", false, c.SNAT != nil && !*c.SNAT},
	} {
		if key.set {
			return cni.Errorf(cni.CodeUnsupported, "key %s: value %v is not supported", key.name, key.value)
		}
	}
	return nil
}

// Firewall is the mechanism that the configuration names.
func (c config) Firewall() string { return c.Backend }

// Previous is what the result is made from.
func (c config) Previous() attach.Previous { return c.previous }

// Wire asks for nothing but the ports, which are the same for every plugin.
func (c config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	return wire.Wiring{
		Attachment: at,
		Shared:     wire.Shared{Network: wire.NetworkPolicy{Network: at.NetworkLabel(), Bridge: c.previous.Bridge}},
		Owned:      wire.Owned{Addresses: c.previous.Addresses},
	}, nil
}
