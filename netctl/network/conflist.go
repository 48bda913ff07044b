package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/netctl/netctl/ipam"
)

// We write cniVersion 1.0.0, the newest that the containerd of every supported
// distribution reads (1.6 has libcni 1.1), and offer 1.1.0 in cniVersions, the
// key that libcni 1.2 and later picks the highest common version from: there,
// GC and STATUS work.
const (
	cniVersion = "1.0.0"
	cniNewest  = "1.1.0"
)

// ipamType is our allocator. It takes host-local's keys.
const ipamType = "netctl-ipam"

// conflist is a configuration list on disk. Keys that CNI doesn't know are
// ignored by libcni at the top level, so what only we need is kept in one.
type conflist struct {
	CNIVersion  string            `json:"cniVersion"`
	CNIVersions []string          `json:"cniVersions,omitempty"`
	Name        string            `json:"name"`
	Netctl      *meta             `json:"netctl,omitempty"`
	Plugins     []json.RawMessage `json:"plugins"`

	// What nerdctl writes into its own lists.
	NerdctlID     string            `json:"nerdctlID,omitempty"`
	NerdctlLabels map[string]string `json:"nerdctlLabels,omitempty"`
}

// meta is what a network is beside its plugins.
type meta struct {
	ID       string                `json:"id"`
	Created  time.Time             `json:"created"`
	Labels   map[string]string     `json:"labels"`
	Options  map[string]string     `json:"options"`
	Internal bool                  `json:"internal"`
	Reserved map[string]netip.Addr `json:"reserved,omitempty"`
}

// pluginEntry are the keys we read of any list's first plugin.
type pluginEntry struct {
	Type     string          `json:"type"`
	Bridge   string          `json:"bridge"`
	Master   string          `json:"master"`
	Internal bool            `json:"internal"`
	Names    bool            `json:"names"`
	DNS      dnsEntry        `json:"dns"`
	IPAM     json.RawMessage `json:"ipam"`
}

type dnsEntry struct {
	Nameservers []string `json:"nameservers,omitempty"`
}

// ipamEntry are host-local's keys.
type ipamEntry struct {
	Type   string       `json:"type"`
	Ranges []ipam.Set   `json:"ranges,omitempty"`
	Routes []routeEntry `json:"routes,omitempty"`
	// Static is there where the ranges are not the whole subnet: what is asked
	// for may lie outside of them.
	Static *staticEntry `json:"static,omitempty"`
}

// staticEntry says where addresses may be asked for; see Static of the plugins.
type staticEntry struct {
	From   string       `json:"from"`
	Except []netip.Addr `json:"except,omitempty"`
}

// oldIPAMEntry allows for host-local's older form, one range at the top.
type oldIPAMEntry struct {
	ipamEntry
	ipam.Range
}

type routeEntry struct {
	To     netip.Prefix `json:"dst"`
	Via    netip.Addr   `json:"gw,omitzero"`
	Metric int          `json:"priority,omitempty"`
}

// Parse reads a configuration list, or a single plugin's configuration as old
// *.conf files hold it. It wants what libcni wants (a name and the plugins'
// types) and is lenient about the rest, which may be another tool's.
func Parse(data []byte) (Network, error) {
	list, err := decodeList(data)
	if err != nil {
		return Network{}, err
	}
	if !namePattern.MatchString(list.Name) {
		return Network{}, fmt.Errorf("invalid network name %q", list.Name)
	}
	n := Network{Name: list.Name, ID: derivedID(list.Name), Labels: list.NerdctlLabels, List: data}
	if list.NerdctlID != "" {
		n.ID = list.NerdctlID
	}
	if len(list.Plugins) > 0 {
		if err := n.readPlugin(list.Plugins[0]); err != nil {
			return Network{}, err
		}
	}
	if list.Netctl != nil {
		n.readMeta(*list.Netctl)
	}
	return n, nil
}

func decodeList(data []byte) (conflist, error) {
	var list conflist
	if err := json.Unmarshal(data, &list); err != nil {
		return conflist{}, fmt.Errorf("not a CNI configuration list: %w", err)
	}
	if list.Plugins != nil {
		return list, nil
	}
	var single pluginEntry
	if err := json.Unmarshal(data, &single); err != nil || single.Type == "" {
		return list, nil // its plugins are in a directory beside it
	}
	list.Plugins = []json.RawMessage{data}
	return list, nil
}

func (n *Network) readMeta(m meta) {
	n.Ours = true
	n.ID = m.ID
	n.Created = m.Created
	n.Labels = m.Labels
	n.Options = m.Options
	n.Internal = m.Internal
	n.Reserved = m.Reserved
}

func (n *Network) readPlugin(data []byte) error {
	var entry pluginEntry
	var otherType *json.UnmarshalTypeError // a key of ours that means something else there
	if err := json.Unmarshal(data, &entry); err != nil && !errors.As(err, &otherType) {
		return fmt.Errorf("first plugin: %w", err)
	}
	if entry.Type == "" {
		return errors.New("first plugin has no type")
	}
	n.Driver = entry.Type
	n.Device = entry.Master
	if entry.Type == driverBridge || entry.Type == driverOverlay {
		n.Device = entry.Bridge
		if n.Device == "" {
			n.Device = "cni0" // the reference plugin's default
		}
	}
	n.Internal = entry.Internal
	n.Names = entry.Names
	for _, server := range entry.DNS.Nameservers {
		if addr, err := netip.ParseAddr(server); err == nil {
			n.DNS = append(n.DNS, addr)
		}
	}
	n.readIPAM(entry.IPAM)
	return nil
}

// readIPAM takes what it understands; another allocator's section may look
// quite different and is no mistake.
func (n *Network) readIPAM(data []byte) {
	var entry oldIPAMEntry
	if len(data) == 0 || json.Unmarshal(data, &entry) != nil {
		return
	}
	if entry.Subnet.IsValid() {
		entry.Ranges = append([]ipam.Set{{entry.Range}}, entry.Ranges...)
	}
	for _, set := range entry.Ranges {
		var pool ipam.Set
		for _, r := range set {
			r.Subnet = r.Subnet.Masked()
			if r, err := r.Canonical(); err == nil {
				pool = append(pool, r)
			}
		}
		if len(pool) > 0 {
			n.Pools = append(n.Pools, pool)
		}
	}
	for _, r := range entry.Routes {
		n.Routes = append(n.Routes, Route(r))
	}
}
