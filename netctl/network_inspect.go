package netctl

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/netctl/network"
)

// networkObject is a network as inspect shows it: docker's JSON, and for
// templates podman's field names as well.
type networkObject struct {
	Name       string
	ID         string `json:"Id"`
	Created    stamp
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       ipamObject
	Internal   bool
	Attachable bool
	Ingress    bool
	Containers map[string]userObject
	Options    map[string]string
	Labels     map[string]string
	Status     networkStatus
	// Resolver are the gateways at which names are answered at another port
	// than 53, because another server of the host has that; rules lead there.
	Resolver []string `json:",omitempty"`
	// Overlay is what overlayd says of the network: pools and owners.
	Overlay json.RawMessage `json:",omitempty"`

	// ID again, as docker's own templates spell it.
	Id                string            `json:"-"`
	NetworkInterface  string            `json:"-"`
	Subnets           []subnetObject    `json:"-"`
	Routes            []routeObject     `json:"-"`
	IPv6Enabled       bool              `json:"-"`
	DNSEnabled        bool              `json:"-"`
	NetworkDNSServers []string          `json:"-"`
	IPAMOptions       map[string]string `json:"-"`
}

type ipamObject struct {
	Driver  string
	Options map[string]string
	Config  []ipamConfig
}

type ipamConfig struct {
	Subnet             string
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// userObject is a container in a network's Containers. State is ours: docker
// hides stopped containers (moby#17403), and people remove networks that they need.
type userObject struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
	State       string
}

type networkStatus struct{ IPAM ipamStatus }

type ipamStatus struct{ Subnets map[string]subnetStatus }

// subnetStatus counts addresses; those of IPv6 networks can exceed 64 bits.
type subnetStatus struct {
	IPsInUse            int
	DynamicIPsAvailable *big.Int
}

type subnetObject struct{ Subnet, Gateway string }

type routeObject struct {
	Destination, Gateway string
	Metric               int
}

func (c networkCommands) inspect() *cobra.Command {
	var format string
	var verbose bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] NETWORK...",
		Short:             "Show networks in full",
		Args:              args(1, -1),
		ValidArgsFunction: c.completeNetworks,
		RunE: func(cmd *cobra.Command, args []string) error {
			objects, failures := c.inspectAll(cmd.Context(), args)
			return errors.Join(showObjects(c.app.Stdout, format, objects), failures)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "")
	_ = cmd.Flags().MarkHidden("verbose") // swarm's; nothing more to show
	return cmd
}

// inspectAll finds what it can and reports each network it can't.
func (c networkCommands) inspectAll(ctx context.Context, refs []string) ([]any, error) {
	users, err := c.users()
	if err != nil {
		return nil, err
	}
	var objects []any
	var failures []error
	for _, ref := range refs {
		n, err := c.store().Find(ref)
		if err != nil {
			failures = append(failures, networkError(err))
			continue
		}
		object := newNetworkObject(n, users[n.Name])
		object.Overlay = c.overlayPart(ctx, n)
		objects = append(objects, object)
	}
	return objects, errors.Join(failures...)
}

func newNetworkObject(n network.Network, users []user) networkObject {
	o := networkObject{
		Name: n.Name, ID: n.ID, Id: n.ID, Created: newStamp(n.Created), Scope: "local", Driver: n.Driver,
		EnableIPv4: n.HasFamily(true), EnableIPv6: n.HasFamily(false), IPv6Enabled: n.HasFamily(false),
		IPAM:     ipamObject{Driver: "default", Options: map[string]string{}, Config: []ipamConfig{}},
		Internal: n.Internal, Attachable: true, Containers: map[string]userObject{},
		Options: orEmpty(n.Options), Labels: orEmpty(n.Labels),
		Status:           networkStatus{ipamStatus{map[string]subnetStatus{}}},
		NetworkInterface: n.Device, DNSEnabled: n.Names, IPAMOptions: map[string]string{"driver": "default"},
	}
	for _, u := range users {
		o.Containers[u.ID] = newUserObject(n, u)
		for _, r := range u.Redirects {
			if at := r.String(); !slices.Contains(o.Resolver, at) {
				o.Resolver = append(o.Resolver, at)
			}
		}
	}
	for _, s := range n.Subnets() {
		o.addSubnet(n, s, users)
	}
	for _, r := range n.Routes {
		o.Routes = append(o.Routes, routeObject{r.To.String(), addrText(r.Via), r.Metric})
	}
	for _, server := range n.DNS {
		o.NetworkDNSServers = append(o.NetworkDNSServers, server.String())
	}
	return o
}

func newUserObject(n network.Network, u user) userObject {
	o := userObject{Name: u.Name, MacAddress: u.MAC, State: string(u.Status), EndpointID: endpointID(n.ID, u.ID, u.IfName)}
	for _, prefix := range u.Addresses {
		if prefix.Addr().Is4() {
			o.IPv4Address = prefix.String()
		} else {
			o.IPv6Address = prefix.String()
		}
	}
	return o
}

func (o *networkObject) addSubnet(n network.Network, s network.Subnet, users []user) {
	config := ipamConfig{Subnet: s.Prefix.String(), Gateway: addrText(s.Gateway), IPRange: rangesText(s)}
	for purpose, addr := range n.Reserved {
		if s.Prefix.Contains(addr) {
			if config.AuxiliaryAddresses == nil {
				config.AuxiliaryAddresses = map[string]string{}
			}
			config.AuxiliaryAddresses[purpose] = addr.String()
		}
	}
	o.IPAM.Config = append(o.IPAM.Config, config)
	o.Subnets = append(o.Subnets, subnetObject{config.Subnet, config.Gateway})
	o.Status.IPAM.Subnets[config.Subnet] = newSubnetStatus(s, users)
}

func newSubnetStatus(s network.Subnet, users []user) subnetStatus {
	status := subnetStatus{DynamicIPsAvailable: new(big.Int)}
	for _, r := range s.Ranges {
		status.DynamicIPsAvailable.Add(status.DynamicIPsAvailable, dynamicCount(r))
	}
	for _, u := range users {
		for _, prefix := range u.Addresses {
			if !s.Prefix.Contains(prefix.Addr()) {
				continue
			}
			status.IPsInUse++
			if _, dynamic := ipam.Set(s.Ranges).Find(prefix.Addr()); dynamic {
				status.DynamicIPsAvailable.Sub(status.DynamicIPsAvailable, big.NewInt(1))
			}
		}
	}
	return status
}

// dynamicCount counts what the range can give out at most.
func dynamicCount(r ipam.Range) *big.Int {
	count := ipam.Count(r.Start, r.End)
	if r.Within(r.Gateway) {
		count.Sub(count, big.NewInt(1))
	}
	return count
}

// rangesText is empty where the whole subnet is given out.
func rangesText(s network.Subnet) string {
	if len(s.Ranges) == 1 && s.Ranges[0].String() == s.Prefix.String() {
		return ""
	}
	text := ""
	for i, r := range s.Ranges {
		if i > 0 {
			text += ","
		}
		text += network.AddrRange{From: r.Start, To: r.End}.String()
	}
	return text
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
