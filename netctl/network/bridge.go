package network

import (
	"errors"
	"net/netip"
)

// bridgeEntry are the keys of the bridge plugin. Those up to hairpinMode are
// the reference plugin's; the others are ours, and a reference plugin that is
// given the list ignores them.
type bridgeEntry struct {
	Type             string `json:"type"`
	Bridge           string `json:"bridge"`
	IsGateway        bool   `json:"isGateway"`
	IsDefaultGateway bool   `json:"isDefaultGateway"`
	IPMasq           bool   `json:"ipMasq"`
	HairpinMode      bool   `json:"hairpinMode"`
	MTU              int    `json:"mtu,omitempty"`
	PortIsolation    bool   `json:"portIsolation,omitempty"`

	Names    bool `json:"names"`
	Internal bool `json:"internal,omitempty"`
	Isolate  bool `json:"isolate,omitempty"`

	MasqueradeAs []netip.Addr   `json:"masqueradeAs,omitempty"`
	NoMasquerade []netip.Prefix `json:"noMasquerade,omitempty"`
	PublishFrom  []netip.Prefix `json:"publishFrom,omitempty"`
	PublishOn    []string       `json:"publishOn,omitempty"`

	DNS          *dnsEntry       `json:"dns,omitempty"`
	IPAM         *ipamEntry      `json:"ipam,omitempty"`
	Capabilities map[string]bool `json:"capabilities"`
}

func bridgeDriver() driver {
	return driver{
		name:    driverBridge,
		bridged: true,
		options: append(ruleOptions(), optMTU, optIsolate, optMetric, optNoDefault, optPeers,
			optMasquerade, optHostIP, optIfPrefix, optBridge),
		names:      true,
		ownsSubnet: true,
		check: func(r Request, s settings) error {
			return errors.Join(onePerFamily(driverBridge, r.Subnets), s.checkMasquerade(r))
		},
		entry: func(d definition) any { return newBridgeEntry(d) },
	}
}

// newBridgeEntry keeps the gateway on an internal network's bridge: names are
// resolved there too. What must not leave is kept in by `internal`, and, where
// a plugin doesn't know that key, by the missing default route.
func newBridgeEntry(d definition) bridgeEntry {
	gateway := !d.NoIPAM
	leaves := gateway && !d.Internal
	e := bridgeEntry{
		Type:             driverBridge,
		Bridge:           d.device,
		IsGateway:        gateway,
		IsDefaultGateway: leaves && !d.noDefault && d.metric == 0,
		IPMasq:           leaves && !d.noMasq,
		HairpinMode:      !d.noPeers,
		MTU:              d.mtu,
		PortIsolation:    d.noPeers,
		Names:            gateway && !d.NoNames,
		Internal:         d.Internal,
		Isolate:          d.isolate,
		MasqueradeAs:     d.masqueradeAs,
		NoMasquerade:     d.noMasquerade,
		PublishFrom:      d.publishFrom,
		PublishOn:        d.publishOn,
		DNS:              d.dns(),
		Capabilities:     capabilities("portMappings", "aliases", "hostname", "ips", "mac", "dns", "bandwidth"),
	}
	// isDefaultGateway can't carry a metric; an explicit route can.
	if leaves && !d.noDefault && d.metric != 0 {
		e.IPAM = d.ipam(d.defaultRoutes()...)
	} else {
		e.IPAM = d.ipam()
	}
	return e
}

// bridgeName is what the bridge is called unless the request says so. It shows
// the network's ID, so that a line of `ip link` can be traced to its network.
func bridgeName(name, id string) string {
	if name == Default {
		return "netctl0"
	}
	return "nb-" + id[:12]
}
