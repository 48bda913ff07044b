package names

import (
	"net/netip"
	"slices"

	"github.com/netctl/netctl/dnsd/inside"
)

// A Listener is where questions arrive: a network's at a gateway address, on
// the device that carries the network; a container's that has no such gateway
// inside its own namespace.
type Listener struct {
	Device  string
	Gateway netip.Addr
	// Container is whose namespace it is in, "" for the host's.
	Container string
}

// Inside is the listener in a container's own namespace.
func Inside(container string) Listener { return Listener{Gateway: inside.Addr, Container: container} }

func (l Listener) String() string {
	if l.Container != "" {
		return l.Gateway.String() + " in container " + l.Container
	}
	return l.Gateway.String() + "%" + l.Device
}

// A Place is where a listener's sockets are according to the ledger, if they
// are not at port 53: rules lead there. The zero Place is port 53.
type Place struct {
	Port uint16
	// Netns is the path of the namespace, "" for the host's.
	Netns string
}

// A Client is what is known of somebody who asks.
type Client struct {
	// Container is its ID, "" for the host itself.
	Container string
	// Servers replace the host's upstream servers, if there are any.
	Servers []netip.Addr
	// Internal is a client that has internal networks only: nothing it asks
	// leaves the host.
	Internal bool

	of     string // whose it is: endpoint.container
	remote bool
	// networks are indices of a snapshot's networks, in attachment order.
	networks  []int
	subnets   []netip.Prefix
	gateway   *Set // of the first network that isn't internal; nil if none
	endpoints []*endpoint
}

// Reaches tells whether an address lies in a network of the client.
func (c *Client) Reaches(a netip.Addr) bool {
	return slices.ContainsFunc(c.subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Address is the first address of a container.
func (c *Client) Address() netip.Addr {
	for _, e := range c.endpoints {
		if len(e.addrs) > 0 {
			return e.addrs[0]
		}
	}
	return netip.Addr{}
}

// newClient makes the client of a container out of all its endpoints; index
// finds a network's number.
func newClient(endpoints []*endpoint, index map[string]int) *Client {
	endpoints = slices.SortedFunc(slices.Values(endpoints), byAge)
	first := endpoints[0]
	c := &Client{Container: first.key.Container, of: first.container(), remote: first.remote, Internal: true, endpoints: endpoints}
	for _, e := range endpoints {
		if i := index[e.key.Network]; !slices.Contains(c.networks, i) {
			c.networks = append(c.networks, i)
		}
		c.subnets = append(c.subnets, e.subnets...)
		if len(c.Servers) == 0 {
			c.Servers = e.servers
		}
		if !e.internal {
			c.Internal = false
			if c.gateway == nil && len(e.gateways) > 0 {
				c.gateway = newSet(e.gateways)
			}
		}
	}
	return c
}

// before tells which of two clients has an address that both have.
func (c *Client) before(o *Client) bool {
	if c.remote != o.remote {
		return o.remote
	}
	return c.of < o.of
}

// endpointAt is the client's endpoint that has the address.
func (c *Client) endpointAt(a netip.Addr) *endpoint {
	for _, e := range c.endpoints {
		if slices.Contains(e.addrs, a) {
			return e
		}
	}
	return nil
}
