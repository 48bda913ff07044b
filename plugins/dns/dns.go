// Package dns is the chained plugin that gives the containers of a list their
// names, after plugins that are not ours: our resolver serves them at the
// gateway, if that is an address of the host, or else inside of each container.
// The names are those of the aliases capability, and the container's short ID.
package dns

import (
	"fmt"
	"slices"

	"net/netip"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "dns", Parse: parse, Chained: true}
}

// The values of listen.
const (
	automatic = ""
	gateway   = "gateway"
	container = "container"
)

// config holds the plugin's keys.
type config struct {
	// Listen says where the resolver answers; "" finds out from the result of
	// the plugins before.
	Listen string `json:"listen"`

	previous attach.Previous
}

func parse(req *cni.Request) (attach.Conf, error) {
	var c config
	if err := req.Decode(&c); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{automatic, gateway, container}, c.Listen) {
		return nil, fmt.Errorf("key listen: invalid value %q: want gateway or container, or none to find out", c.Listen)
	}
	var err error
	c.previous, err = attach.ReadPrevious(req)
	if err == nil && c.previous.Result != nil {
		err = c.check()
	}
	return c, err
}

// check refuses a result without what the configuration needs.
func (c config) check() error {
	switch {
	case len(c.previous.Addresses) == 0:
		return cni.Errorf(cni.CodeConfig, "key prevResult: the container has no address: names need one")
	case c.Listen == gateway && len(c.gateways()) == 0:
		return cni.Errorf(cni.CodeConfig, "key listen: prevResult has no gateway on an interface of the host: want container")
	}
	return nil
}

// Previous is what the result is made from.
func (c config) Previous() attach.Previous { return c.previous }

// WantsNames makes STATUS look for the resolver.
func (c config) WantsNames() bool { return true }

// gateways are where the containers could ask.
func (c config) gateways() []netip.AddrPort {
	var list []netip.AddrPort
	if c.previous.Bridge == "" {
		return nil
	}
	for _, a := range c.previous.Addresses {
		if server := netip.AddrPortFrom(a.Gateway, wire.DNSPort); a.Gateway.IsValid() && !slices.Contains(list, server) {
			list = append(list, server)
		}
	}
	return list
}

// Wire has the resolver listen, and the host's packet filter let its questions
// in.
func (c config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	w := wire.Wiring{Attachment: at, Owned: wire.Owned{Addresses: c.previous.Addresses}}
	gateways := c.gateways()
	if c.Listen == container || len(gateways) == 0 {
		w.Owned.ResolverInside = c.previous.Result != nil
		return w, nil
	}
	w.Shared.Network = wire.NetworkPolicy{Network: at.NetworkLabel(), Bridge: c.previous.Bridge, DNS: gateways}
	return w, nil
}
