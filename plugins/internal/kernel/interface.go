package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Interface is what the kernel says of a link at the moment.
type Interface struct {
	Name string
	MAC  net.HardwareAddr
	MTU  int

	index, master, parent int
	flags                 uint32
	promiscuous           int
	kind                  string // "bridge", "veth"
	alias                 string
	vlanFiltering         bool   // of a bridge
	port                  int    // its number among the bridge's, 0 if it is none
	conf4                 []byte // parameters of 32 bits each, see readConf
	deaf                  bool   // accept_ra is 0
}

// skipStatistics is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h.
const skipStatistics = 1 << 3

// getLink asks for a link by name.
func getLink(name string) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	r.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStatistics)))
	r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	return r
}

// getLinkAt asks for a link by index.
func getLinkAt(index int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(index)
	r.AddData(header)
	r.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStatistics)))
	return r
}

// look reads links by name, in order. One that is not there has the kernel's
// ENODEV.
func (c *conn) look(names ...string) ([]Interface, error) {
	var requests []*nl.NetlinkRequest
	for _, name := range names {
		requests = append(requests, getLink(name))
	}
	replies, err := c.exchange(requests...)
	if err != nil {
		return nil, err
	}
	var found []Interface
	for i, r := range replies {
		link, err := r.link()
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", names[i], err)
		}
		found = append(found, link)
	}
	return found, nil
}

// link decodes the reply to getLink.
func (r reply) link() (Interface, error) {
	if r.err != nil {
		return Interface{}, r.err
	}
	if len(r.data) == 0 {
		return Interface{}, unix.ENODEV
	}
	return parseLink(r.data[0])
}

// parseLink decodes RTM_NEWLINK: struct ifinfomsg and attributes.
func parseLink(data []byte) (Interface, error) {
	if len(data) < unix.SizeofIfInfomsg {
		return Interface{}, fmt.Errorf("netlink: link of %d bytes", len(data))
	}
	header := nl.DeserializeIfInfomsg(data)
	data = data[header.Len():]
	i := Interface{index: int(header.Index), flags: header.Flags}
	for kind, value := range attributes(data) {
		switch kind {
		case unix.IFLA_IFNAME:
			i.Name = unix.ByteSliceToString(value)
		case unix.IFLA_ADDRESS:
			i.MAC = net.HardwareAddr(value)
		case unix.IFLA_MTU:
			i.MTU = number(value)
		case unix.IFLA_MASTER:
			i.master = number(value)
		case unix.IFLA_AF_SPEC:
			i.readConf(value)
		case unix.IFLA_LINK:
			i.parent = number(value)
		case unix.IFLA_PROMISCUITY:
			i.promiscuous = number(value)
		case unix.IFLA_IFALIAS:
			i.alias = unix.ByteSliceToString(value)
		case unix.IFLA_LINKINFO:
			i.readInfo(value)
		}
	}
	return i, nil
}

// readInfo decodes what is particular to the link's kind, and to a port of a
// bridge.
func (i *Interface) readInfo(info []byte) {
	i.kind = unix.ByteSliceToString(attribute(info, nl.IFLA_INFO_KIND))
	const portNumber = 18 // IFLA_BRPORT_NO of linux/if_link.h
	if value := attribute(info, nl.IFLA_INFO_SLAVE_DATA, portNumber); len(value) == 2 {
		i.port = int(binary.NativeEndian.Uint16(value))
	}
	if i.kind == "bridge" {
		value := attribute(info, nl.IFLA_INFO_DATA, nl.IFLA_BR_VLAN_FILTERING)
		i.vlanFiltering = len(value) == 1 && value[0] == 1
	}
}

func number(value []byte) int {
	if len(value) != 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(value))
}

func (i Interface) up() bool { return i.flags&unix.IFF_UP != 0 }

// device is the link in the library's words, for what its calls need of it.
func (i Interface) device() netlink.Link {
	return &netlink.GenericLink{LinkType: i.kind, LinkAttrs: netlink.LinkAttrs{
		Index: i.index, Name: i.Name, MTU: i.MTU, HardwareAddr: i.MAC, RawFlags: i.flags,
		MasterIndex: i.master, Promisc: i.promiscuous, Alias: i.alias,
	}}
}

// setUp brings a link up; its index may be 0 if the name is given.
func setUp(index int, name string) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index, header.Flags, header.Change = int32(index), unix.IFF_UP, unix.IFF_UP
	r.AddData(header)
	if name != "" {
		r.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	return r
}

// setDown brings a link down.
func setDown(index int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index, header.Change = int32(index), unix.IFF_UP
	r.AddData(header)
	return r
}

// addAddress gives a link an address. The flags are those of IFA_FLAGS.
func addAddress(index int, address netip.Prefix, flags uint32) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	family := unix.AF_INET
	if address.Addr().Is6() {
		family = unix.AF_INET6
	}
	header := nl.NewIfAddrmsg(family)
	header.Index, header.Prefixlen = uint32(index), uint8(address.Bits())
	r.AddData(header)
	own := address.Addr().AsSlice()
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, own))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, own))
	if flags != 0 {
		r.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
	}
	if last, ok := broadcast(address); ok {
		r.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, last))
	}
	return r
}

// broadcast is the last address of an IPv4 prefix; those of 31 and 32 bits have
// none (RFC 3021).
func broadcast(p netip.Prefix) ([]byte, bool) {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return nil, false
	}
	last := p.Masked().Addr().As4()
	bits := binary.BigEndian.Uint32(last[:]) | ^uint32(0)>>p.Bits()
	return binary.BigEndian.AppendUint32(nil, bits), true
}

// addresses lists a link's addresses. A kernel that knows strict checking
// (Linux 4.20) looks at no other link.
func (c *conn) addresses(index int) ([]netip.Prefix, error) {
	r := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	header := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	header.Index = uint32(index)
	r.AddData(header)
	replies, err := c.exchange(r)
	if err == nil {
		err = replies[0].err
	}
	if err != nil {
		return nil, err
	}
	var result []netip.Prefix
	for _, data := range replies[0].data {
		if p, on := parseAddress(data); on == index && p.IsValid() {
			result = append(result, p)
		}
	}
	return result, nil
}

// parseAddress decodes RTM_NEWADDR: struct ifaddrmsg and attributes. The local
// address is IFA_LOCAL, or IFA_ADDRESS where the kernel gives only that.
func parseAddress(data []byte) (p netip.Prefix, index int) {
	if len(data) < unix.SizeofIfAddrmsg {
		return p, 0
	}
	header := nl.DeserializeIfAddrmsg(data)
	var local, address netip.Addr
	for kind, value := range attributes(data[header.Len():]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(value)
		}
	}
	if !local.IsValid() {
		local = address
	}
	return netip.PrefixFrom(local, int(header.Prefixlen)), int(header.Index)
}
