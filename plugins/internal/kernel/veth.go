package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// createVeth makes the pair, and reads the host's end back.
func (h *Host) createVeth(c *Container, want wire.Veth) error {
	bridge := &netlink.Bridge{} // none
	if want.Bridge != "" {
		var err error
		if bridge, err = h.findBridge(want.Bridge); err != nil {
			return err
		}
	}
	if bridge.Alias == aliasUplink && canShare(want) {
		return fmt.Errorf("attach to bridge %s: %w", want.Bridge, ErrBridgeFull)
	}
	requests := []*nl.NetlinkRequest{
		newVeth(c, want, bridge.Index, h.mtu(want.MTU, bridge.MTU)),
		getLink(want.Host),
	}
	if want.Hairpin || want.Isolated {
		requests = append(requests, setPortFlags(want))
	}
	replies, err := h.rt.exchange(requests...)
	if err != nil {
		return err
	}
	if err := replies[0].err; err != nil {
		return h.explainVeth(c, want, err)
	}
	if len(replies) > 2 && replies[2].err != nil {
		return fmt.Errorf("set hairpin mode or isolation of port %s: %w", want.Host, replies[2].err)
	}
	made, err := replies[1].link()
	if err != nil {
		return fmt.Errorf("look for %s: %w", want.Host, err)
	}
	if !made.deaf {
		err = ignoreAdvertisements(want.Host)
	}
	if errors.Is(err, unix.EROFS) && want.Bridge != "" {
		// In a nested container /proc/sys may be read-only. What arrives at
		// the port of a bridge is the bridge's anyway, never the port's own.
		err = nil
	}
	if err != nil {
		return err
	}
	if err := h.setPort(want); err != nil {
		return err
	}
	return h.foresee(bridge, made, want)
}

// newVeth is one request for the whole pair: the host's end up, and a port of
// its bridge if master is an index; the container's end in its namespace.
func newVeth(c *Container, want wire.Veth, master, mtu int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Flags, header.Change = unix.IFF_UP, unix.IFF_UP
	r.AddData(header)
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(want.Host)))
	if master != 0 {
		r.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(want.Container))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(c.ns)))
	if want.MAC.IsValid() {
		peer.AddRtAttr(unix.IFLA_ADDRESS, want.MAC.Net())
	}
	if mtu != 0 { // else the kernel's default
		r.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
		peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu)))
	}
	r.AddData(info)
	return r
}

// setFlags sets the flags of a port that is there already.
func (h *Host) setFlags(want wire.Veth) error {
	if !want.Hairpin && !want.Isolated {
		return nil
	}
	replies, err := h.rt.exchange(setPortFlags(want))
	if err == nil {
		err = replies[0].err
	}
	if err != nil {
		return fmt.Errorf("set hairpin mode or isolation of port %s: %w", want.Host, err)
	}
	return nil
}

// setPortFlags changes the port by the name of the link, so that it can travel
// with the request that makes it.
func setPortFlags(want wire.Veth) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(want.Host)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	port := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	if want.Hairpin {
		port.AddRtAttr(nl.IFLA_BRPORT_MODE, []byte{1})
	}
	if want.Isolated {
		port.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, []byte{1})
	}
	r.AddData(info)
	return r
}

// explainVeth finds the reason in the kernel's short answers.
func (h *Host) explainVeth(c *Container, want wire.Veth, err error) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		if exists, _ := c.HasLink(want.Container); exists {
			return fmt.Errorf("%s in %s: %w", want.Container, c.Path, ErrLinkExists)
		}
		return fmt.Errorf("%s on the host: %w", want.Host, ErrLinkExists)
	case errors.Is(err, unix.EXFULL), errors.Is(err, unix.E2BIG):
		return fmt.Errorf("attach to bridge %s: %w", want.Bridge, ErrBridgeFull)
	}
	return fmt.Errorf("make pair %s (host) and %s (container): %w", want.Host, want.Container, err)
}
