// Package macvlan is the mode that gives a container an interface of its own on
// the network of a parent interface: the container appears there with its own
// hardware address. Its keys are those of the reference macvlan plugin.
package macvlan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "macvlan", Parse: parse}
}

// config holds the plugin's keys (spec cni 2.2).
type config struct {
	Master          string `json:"master"`
	Mode            string `json:"mode"`
	MTU             int    `json:"mtu"`
	MAC             string `json:"mac"`
	LinkInContainer bool   `json:"linkInContainer"`
	BCQueueLen      uint32 `json:"bcqueuelen"`

	// Names, a key of our own, has our resolver serve the network, inside of
	// each container: the parent's host can't be reached from it.
	Names bool `json:"names"`
	// Internal, ours too, forwards nothing that a container asks.
	Internal bool `json:"internal"`

	mac wire.HardwareAddr
}

func parse(req *cni.Request) (attach.Conf, error) {
	var c config
	if err := req.Decode(&c); err != nil {
		return nil, err
	}
	if c.Mode == "" {
		c.Mode = string(wire.MacvlanBridge)
	}
	if !slices.Contains(wire.MacvlanModes(), wire.MacvlanMode(c.Mode)) {
		return nil, fmt.Errorf("key mode: invalid value %q: want one of %s", c.Mode, strings.Join(names(), ", "))
	}
	if c.MTU < 0 || c.MTU > 65535 {
		return nil, fmt.Errorf("key mtu: invalid value %d: want 68 to the parent's MTU, or 0 for the parent's", c.MTU)
	}
	mac, err := attach.RequestedMAC(req)
	if err == nil && !mac.IsValid() && c.MAC != "" {
		if mac, err = wire.ParseHardwareAddr(c.MAC); err != nil {
			err = fmt.Errorf("key mac: %w", err)
		}
	}
	c.mac = mac
	return c, err
}

func names() []string {
	var list []string
	for _, m := range wire.MacvlanModes() {
		list = append(list, string(m))
	}
	return list
}

// WantsNames makes STATUS look for the resolver.
func (c config) WantsNames() bool { return c.Names }

// Wire makes the interface, and no more: the gateway is somebody else's.
func (c config) Wire(at wire.Attachment, grant attach.Grant) (wire.Wiring, error) {
	mac := c.mac
	if !mac.IsValid() {
		mac = at.MAC()
	}
	return wire.Wiring{
		Attachment: at,
		Owned: wire.Owned{
			Link: wire.Macvlan{
				Container: at.IfName, Parent: c.Master, ParentInContainer: c.LinkInContainer,
				Mode: wire.MacvlanMode(c.Mode), MTU: c.MTU, MAC: mac, BCQueueLen: c.BCQueueLen,
			},
			Addresses:      grant.Addresses,
			ResolverInside: c.Names,
			ResolveOnly:    c.Internal,
			Loopback:       c.Names,
			// Others are on the parent's network.
			DetectDuplicates: grant.Has6(),
			Routes:           attach.ThroughGateways(grant.Routes, grant),
			Sysctls:          wire.ContainerSysctls(at.IfName, grant.Addresses),
		},
	}, nil
}
