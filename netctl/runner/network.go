package runner

import (
	"context"
	"net/netip"
)

// Endpoint is one network a container asks for.
type Endpoint struct {
	Network string `json:"network"`
	IfName  string `json:"ifname"`
	// IfPrefix is what IfName begins with where it is chosen for the endpoint.
	IfPrefix string   `json:"ifPrefix,omitempty"`
	Names    []string `json:"names,omitempty"` // container name first, then aliases, then the short ID
	Host     string   `json:"hostname,omitempty"`
	// Aliases are what the user asked for; Names is made of them.
	Aliases []string     `json:"aliases,omitempty"`
	IPs     []netip.Addr `json:"ips,omitempty"`
	MAC     string       `json:"mac,omitempty"`
	Ports   []PortSpec   `json:"ports,omitempty"`
	// Priority: the endpoint with the highest carries the default route; of equal
	// ones the first (docker's gw-priority).
	Priority int `json:"priority,omitempty"`
	// Sysctls of the interface, with IFNAME in place of its name.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// DNS are servers given with --dns, asked instead of the host's.
	DNS []netip.Addr `json:"dns,omitempty"`
}

// PortSpec is one -p, already parsed.
type PortSpec struct {
	Protocol string     `json:"protocol"`
	HostIP   netip.Addr `json:"hostIP,omitzero"`
	HostPort uint16     `json:"hostPort"` // 0: any free one
	// HostPortEnd, if not 0, is the last of a range that begins with HostPort: the
	// first free one of it will do.
	HostPortEnd   uint16 `json:"hostPortEnd,omitempty"`
	ContainerPort uint16 `json:"containerPort"`
}

// Attached is what an Endpoint got.
type Attached struct {
	Network   string         `json:"network"`
	NetworkID string         `json:"networkID,omitempty"`
	IfName    string         `json:"ifname"`
	MAC       string         `json:"mac,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Gateways  []netip.Addr   `json:"gateways,omitempty"`
	// Resolver are the nameserver lines for /etc/resolv.conf; empty: no names
	// are served on this network and the host's file is used.
	Resolver []netip.Addr `json:"resolver,omitempty"`
	Search   []string     `json:"search,omitempty"`
	Ports    []PortSpec   `json:"ports,omitempty"` // HostPort filled in
	// Undo is what Detach needs to find everything again whatever has
	// happened to the network's definition since. Opaque to the runner.
	Undo []byte `json:"undo,omitempty"`
}

// Networks attaches containers to networks. The runner knows nothing more of
// networking; package netctl implements it with the CNI plugins.
type Networks interface {
	// Attach gives the namespace at netns the endpoints, in order, or none of
	// them: a failure leaves nothing behind. It also brings lo up.
	Attach(ctx context.Context, container, netns string, endpoints []Endpoint) ([]Attached, error)
	// Detach takes them away. It works when the namespace is gone and may be
	// repeated. After an Attach that was killed in the middle, the entries are
	// what was asked for: they carry Network and IfName and nothing else.
	Detach(ctx context.Context, container, netns string, attached []Attached) error
	// Rank has the default route of the endpoint with the highest priority lead out
	// of the namespace, and the others stand by in their order. Endpoints that are
	// not attached keep their place free.
	Rank(ctx context.Context, netns string, endpoints []Endpoint, attached []Attached) error
	// Rename has the attached endpoints answer to their Names from now on.
	Rename(ctx context.Context, container string, endpoints []Endpoint) error
}
