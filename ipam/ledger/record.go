package ledger

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// Key names one attachment, or a part of it that a chained plugin made.
type Key struct {
	Network   string `json:"network"`
	Container string `json:"container"`
	IfName    string `json:"ifname"`
	// Part is the name of the chained plugin; "" for the one that made the
	// link.
	Part string `json:"part,omitempty"`
}

func (k Key) String() string {
	text := k.Network + "/" + k.Container + "/" + k.IfName
	if k.Part != "" {
		text += " (" + k.Part + ")"
	}
	return text
}

// Record is everything we know of one attachment.
type Record struct {
	Key
	// Netns is the path of the container's namespace as given at ADD.
	Netns string `json:"netns,omitempty"`
	// LinkInside means that the link has no end on the host by which it could
	// be deleted.
	LinkInside bool `json:"linkInside,omitempty"`
	// Guests are links of the host that other plugins made and that became
	// ports of the bridge beside the attachment's own.
	Guests []string `json:"guests,omitempty"`
	// Addresses of the container's end, in the order of the result.
	Addresses []Address `json:"addresses,omitempty"`
	// Routes are those that a plugin which is not ours gave with the addresses;
	// our own kinds of IPAM have theirs from the configuration.
	Routes []Route `json:"routes,omitempty"`
	// Foreign means that the addresses are reserved somewhere else, or by
	// nobody: they are known here and not held by this record.
	Foreign bool `json:"foreign,omitempty"`
	// Ports are the host ports reserved for it.
	Ports []Port `json:"ports,omitempty"`
	// Redirects are the gateways at which the resolver has another port than
	// 53, because another server of the host has that; rules lead there.
	Redirects []netip.AddrPort `json:"redirects,omitempty"`
	// Names is what the resolver serves for it; the zero value is nothing.
	Names Names `json:"names,omitzero"`
	// Leaving means that DEL has begun: the attachment doesn't count as a
	// user of its network any more, so that of two that leave at the same time
	// one takes the network's rules away.
	Leaving bool `json:"leaving,omitempty"`
	// Plugin is the name of the plugin that made it.
	Plugin string `json:"plugin"`
	// Firewall is the mechanism that carries its rules, "" if it has none.
	Firewall string `json:"firewall,omitempty"`
	// Request is the configuration as it came on standard input at ADD and
	// Args the value of CNI_ARGS: DEL, GC and reload use these, not what the
	// file says today.
	Request json.RawMessage `json:"request,omitempty"`
	Args    string          `json:"args,omitempty"`
	Created time.Time       `json:"created"`
}

// Address is an address with the length of its network's prefix, and the
// gateway, which is the zero Addr where there is none.
type Address struct {
	Prefix  netip.Prefix `json:"prefix"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// Route is a route in the container; see package wire, which has the same fields.
type Route struct {
	To     netip.Prefix `json:"dst"`
	Via    netip.Addr   `json:"gw,omitzero"`
	Metric int          `json:"priority,omitempty"`
	Table  int          `json:"table,omitempty"`
	MTU    int          `json:"mtu,omitempty"`
	AdvMSS int          `json:"advmss,omitempty"`
	Scope  *int         `json:"scope,omitempty"`
}

// Names is what the resolver needs to know of an attachment.
type Names struct {
	// Own are the container's name, aliases and short ID (dns.md 3.1, tier 1).
	// The first is the one a reverse lookup answers with.
	Own []string `json:"own,omitempty"`
	// Hostname is served only if no tier-1 name of the network is the same.
	Hostname string `json:"hostname,omitempty"`
	// Device is the bridge on which the resolver listens, at the gateways of
	// the record's Addresses.
	Device string `json:"device,omitempty"`
	// Inside is the port, at 127.0.0.11 in the container's own namespace, on
	// which the resolver answers a container that no gateway of the host
	// serves; 0 where one does.
	Inside uint16 `json:"inside,omitempty"`
	// Internal networks get nothing forwarded.
	Internal bool `json:"internal,omitempty"`
	// Remote is the host on which the container runs, "" for this one: only its
	// names are known here.
	Remote string `json:"remote,omitempty"`
	// Servers replace the host's own upstream servers for this container.
	Servers []netip.Addr `json:"servers,omitempty"`
}

// IsZero tells whether the resolver serves this attachment at all.
func (n Names) IsZero() bool { return n.Device == "" && n.Inside == 0 && n.Remote == "" }

// Port is a range of host ports reserved for an attachment.
type Port struct {
	Protocol string `json:"protocol"` // tcp, udp, sctp
	// HostIP is the one host address; the zero Addr stands for all of them.
	HostIP    netip.Addr `json:"hostIP,omitzero"`
	HostPort  uint16     `json:"hostPort"`
	Container uint16     `json:"containerPort"`
	Count     uint16     `json:"count,omitempty"` // length of the range; 0 means 1
}

func (p Port) String() string {
	if p.HostIP.IsValid() {
		return fmt.Sprintf("%s/%s", netip.AddrPortFrom(p.HostIP, p.HostPort), p.Protocol)
	}
	return fmt.Sprintf("%d/%s", p.HostPort, p.Protocol)
}
