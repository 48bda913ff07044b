package network

// macvlanEntry are the keys of the reference plugin. An empty master stands
// for the interface of the default route.
type macvlanEntry struct {
	Type         string          `json:"type"`
	Master       string          `json:"master,omitempty"`
	Mode         string          `json:"mode,omitempty"`
	MTU          int             `json:"mtu,omitempty"`
	Names        bool            `json:"names,omitempty"`
	Internal     bool            `json:"internal,omitempty"`
	DNS          *dnsEntry       `json:"dns,omitempty"`
	IPAM         *ipamEntry      `json:"ipam,omitempty"`
	Capabilities map[string]bool `json:"capabilities"`
}

func macvlanDriver() driver {
	return driver{
		name:    driverMacvlan,
		names:   true,
		options: []option{optMTU, optParent, optMacvlanMode, optMetric, optNoDefault, optIfPrefix},
		check: func(r Request, _ settings) error {
			return onePerFamily(driverMacvlan, r.Subnets)
		},
		entry: func(d definition) any { return newMacvlanEntry(d) },
	}
}

func newMacvlanEntry(d definition) macvlanEntry {
	e := macvlanEntry{
		Type:         driverMacvlan,
		Master:       d.device,
		Mode:         d.mode,
		MTU:          d.mtu,
		Names:        !d.NoIPAM && !d.NoNames,
		Internal:     d.Internal,
		DNS:          d.dns(),
		IPAM:         d.ipam(),
		Capabilities: capabilities("aliases", "hostname", "ips", "mac", "dns"),
	}
	if !d.Internal && !d.noDefault && !d.NoIPAM {
		e.IPAM = d.ipam(d.defaultRoutes()...)
	}
	return e
}
