package network

import "errors"

// macvlanEntry are the keys of the reference plugin. An empty master stands
// for the interface of the default route.
type macvlanEntry struct {
	Type         string          `json:"type"`
	Master       string          `json:"master,omitempty"`
	Mode         string          `json:"mode,omitempty"`
	MTU          int             `json:"mtu,omitempty"`
	Internal     bool            `json:"internal,omitempty"`
	IPAM         *ipamEntry      `json:"ipam,omitempty"`
	Capabilities map[string]bool `json:"capabilities"`
}

func macvlanDriver() driver {
	return driver{
		name:    driverMacvlan,
		options: []option{optMTU, optParent, optMacvlanMode, optMetric, optNoDefault, optIfPrefix},
		check: func(r Request, _ settings) error {
			if len(r.DNS) > 0 {
				return errors.New("--dns needs a driver whose names are resolved (bridge), not macvlan")
			}
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
		Internal:     d.Internal,
		IPAM:         d.ipam(),
		Capabilities: capabilities("ips", "mac", "dns"),
	}
	if !d.Internal && !d.noDefault && !d.NoIPAM {
		e.IPAM = d.ipam(d.defaultRoutes()...)
	}
	return e
}
