package names

import (
	"cmp"
	"net/netip"
	"slices"
)

// Record is one endpoint's names, for people to read.
type Record struct {
	Network   string       `json:"network"`
	Container string       `json:"container"`
	Names     []string     `json:"names"`
	Hostname  string       `json:"hostname,omitempty"`
	Addresses []netip.Addr `json:"addresses"`
}

// Records are the endpoints of a network, or of all networks for "", in order
// of network and age.
func (s *Snapshot) Records(network string) []Record {
	seen := make(map[*endpoint]bool)
	var list []*endpoint
	for _, n := range s.networks {
		for c := range n.everyone() {
			for _, e := range c.endpoints {
				if !seen[e] && (network == "" || e.key.Network == network) {
					seen[e] = true
					list = append(list, e)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b *endpoint) int {
		return cmp.Or(cmp.Compare(a.key.Network, b.key.Network), byAge(a, b))
	})
	records := make([]Record, len(list))
	for i, e := range list {
		records[i] = e.record()
	}
	return records
}

func (e *endpoint) record() Record {
	r := Record{Network: e.key.Network, Container: e.key.Container, Addresses: e.addrs}
	for _, n := range e.own {
		r.Names = append(r.Names, n.String())
	}
	if e.hostname != "" {
		r.Hostname = e.hostname.String()
	}
	return r
}
