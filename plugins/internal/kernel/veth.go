package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// createVeth makes the pair, and reads the ends back: the host's, and the
// bridge's.
func (h *Host) createVeth(c *Container, want wire.Veth) (Made, error) {
	var bridge Interface // none
	if want.Bridge != "" {
		var err error
		if bridge, err = h.ensuredBridge(want.Bridge); err != nil {
			return Made{}, err
		}
	}
	if bridge.alias == aliasUplink && canShare(want) {
		return Made{}, fmt.Errorf("attach to bridge %s: %w", want.Bridge, ErrBridgeFull)
	}
	made, err := h.requestVeth(c, want, bridge)
	if err != nil {
		return made, err
	}
	if !made.Host.deaf {
		err = ignoreAdvertisements(want.Host)
	}
	if errors.Is(err, unix.EROFS) && want.Bridge != "" {
		// In a nested container /proc/sys may be read-only. What arrives at
		// the port of a bridge is the bridge's anyway, never the port's own.
		err = nil
	}
	if err != nil {
		return made, err
	}
	if err := h.setPort(want); err != nil {
		return made, err
	}
	return made, h.foresee(bridge, made.Host, want)
}

// requestVeth has the kernel make the pair. A port is brought up after it has
// been looked at: the look has the kernel note that there is no carrier yet
// (see Connect), and a port that comes up then is not enabled, disabled and
// enabled again, each of which takes the bridge longer the more ports it has.
func (h *Host) requestVeth(c *Container, want wire.Veth, bridge Interface) (Made, error) {
	requests := []*nl.NetlinkRequest{newVeth(c, want, bridge.index, h.mtu(want.MTU, bridge.MTU)), getLink(want.Host)}
	if bridge.index != 0 {
		requests = append(requests, getLinkAt(bridge.index), setPortUp(want, true))
	}
	replies, err := h.rt.exchange(requests...)
	if err != nil {
		return Made{}, err
	}
	if err := replies[0].err; err != nil {
		return Made{}, h.explainVeth(c, want, err)
	}
	made := Made{}
	if made.Host, err = replies[1].link(); err != nil {
		return made, fmt.Errorf("look for %s: %w", want.Host, err)
	}
	made.inside = made.Host.parent // each end of a pair names the other's index
	if bridge.index == 0 {
		return made, nil
	}
	if made.Bridge, err = replies[2].link(); err != nil {
		return made, fmt.Errorf("bridge: look for %s: %w", want.Bridge, err)
	}
	err = replies[3].err
	if errors.Is(err, unix.EAFNOSUPPORT) { // no IPv6, on this host or with this MTU
		err = h.ask(setPortUp(want, false))
	}
	if err != nil {
		return made, fmt.Errorf("bring port %s up, with its hairpin mode and isolation: %w", want.Host, err)
	}
	return made, nil
}

// newVeth is one request for the whole pair: the host's end a port of its
// bridge if master is an index, and else up; the container's end in its
// namespace.
func newVeth(c *Container, want wire.Veth, master, mtu int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	if master == 0 { // a port comes up by setPortUp
		header.Flags, header.Change = unix.IFF_UP, unix.IFF_UP
	}
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

// setPortUp brings a new port up, by the name of the link, so that it can
// travel with the request that makes it.
//
// mute keeps the kernel from giving it a link-local address. A port has no use
// for one, because what arrives there is the bridge's; and the kernel's work for
// it grows with the ports: their prefixes are all in one list of routes.
func setPortUp(want wire.Veth, mute bool) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Flags, header.Change = unix.IFF_UP, unix.IFF_UP
	r.AddData(header)
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(want.Host)))
	if mute {
		const none = 1 // IN6_ADDR_GEN_MODE_NONE of linux/if_link.h
		spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
		spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{none})
		r.AddData(spec)
	}
	if want.Hairpin || want.Isolated {
		r.AddData(portFlags(want))
	}
	return r
}

// setFlags sets the flags of a port that is there already.
func (h *Host) setFlags(want wire.Veth) error {
	if !want.Hairpin && !want.Isolated {
		return nil
	}
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(want.Host)))
	r.AddData(portFlags(want))
	if err := h.ask(r); err != nil {
		return fmt.Errorf("set hairpin mode or isolation of port %s: %w", want.Host, err)
	}
	return nil
}

// portFlags is the part of a request that concerns the bridge's port.
func portFlags(want wire.Veth) *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bridge"))
	port := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	if want.Hairpin {
		port.AddRtAttr(nl.IFLA_BRPORT_MODE, []byte{1})
	}
	if want.Isolated {
		port.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, []byte{1})
	}
	return info
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
