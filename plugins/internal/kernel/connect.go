package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Connect makes sure that a bridge forwards what comes from a port whose other
// end has come up, and announces the container's addresses.
//
// The port of a link without a carrier is disabled, and the kernel takes note
// of a carrier that has come in a worker of its own, some time later
// (net/core/link_watch.c), unless somebody asks for the link: then before it
// answers (linkwatch_sync_dev in rtnl_getlink, Linux 6.8). What the container
// has announced when its end came up was lost; to set its hardware address,
// which changes nothing, has it announced again (NETDEV_CHANGEADDR, for arp_notify
// and ndisc_notify).
func (h *Host) Connect(c *Container, made Made, inner Interface, owned wire.Owned) error {
	if made.Host.index == 0 || !owned.Link.Up() {
		return nil
	}
	if _, err := h.rt.exchange(getLinkAt(made.Host.index)); err != nil {
		return err
	}
	if !owned.Announce {
		return nil
	}
	if err := c.ask(setAddress(inner)); err != nil {
		return fmt.Errorf("announce the addresses of %s in %s: %w", inner.Name, c.Path, err)
	}
	return nil
}

// setAddress gives a link the hardware address that it has.
func setAddress(link Interface) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_SETLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(link.index)
	r.AddData(header)
	r.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, []byte(link.MAC)))
	return r
}
