package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// A request is one netlink message without its header's sequence number.
type request struct {
	message []byte
	object  fmt.Stringer
	done    *[]fmt.Stringer
}

// message builds a netlink message: nlmsghdr, a family header, attributes
// (rtnetlink(7)).
type message []byte

func newMessage(kind, flags uint16, header []byte) message {
	m := make(message, unix.SizeofNlMsghdr, 128)
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], flags|unix.NLM_F_REQUEST)
	return append(m, header...)
}

// attribute appends a rtattr, padded to four bytes.
func (m message) attribute(kind uint16, value []byte) message {
	m = binary.NativeEndian.AppendUint16(m, uint16(unix.SizeofRtAttr+len(value)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = append(m, value...)
	for len(m)%unix.RTA_ALIGNTO != 0 {
		m = append(m, 0)
	}
	return m
}

func (m message) number(kind uint16, value uint32) message {
	return m.attribute(kind, binary.NativeEndian.AppendUint32(nil, value))
}

const replaceFlags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE

// neighbourHeader is struct ndmsg.
func neighbourHeader(family uint8, index int, flags uint8) []byte {
	h := make([]byte, 12)
	h[0] = family
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	binary.NativeEndian.PutUint16(h[8:], unix.NUD_PERMANENT)
	h[10] = flags
	return h
}

func (e fdbEntry) message(d *meshDevice, kind, flags uint16) request {
	m := newMessage(kind, flags, neighbourHeader(unix.AF_BRIDGE, d.index, unix.NTF_SELF)).
		attribute(unix.NDA_LLADDR, e.mac[:])
	if e.dst.IsValid() {
		m = m.attribute(unix.NDA_DST, e.dst.AsSlice())
	}
	return request{message: m}
}

func (e fdbEntry) replace(d *meshDevice) request {
	return e.message(d, unix.RTM_NEWNEIGH, replaceFlags)
}
func (e fdbEntry) remove(d *meshDevice) request { return e.message(d, unix.RTM_DELNEIGH, 0) }
func (e fdbEntry) String() string               { return fmt.Sprintf("fdb %s dst %s", e.mac, e.dst) }

func (n meshNeighbour) message(d *meshDevice, kind, flags uint16) request {
	family := uint8(unix.AF_INET6)
	if n.addr.Is4() {
		family = unix.AF_INET
	}
	return request{message: newMessage(kind, flags, neighbourHeader(family, d.index, 0)).
		attribute(unix.NDA_DST, n.addr.AsSlice()).
		attribute(unix.NDA_LLADDR, n.mac[:])}
}

func (n meshNeighbour) replace(d *meshDevice) request {
	return n.message(d, unix.RTM_NEWNEIGH, replaceFlags)
}
func (n meshNeighbour) remove(d *meshDevice) request { return n.message(d, unix.RTM_DELNEIGH, 0) }
func (n meshNeighbour) String() string               { return fmt.Sprintf("neighbour %s lladdr %s", n.addr, n.mac) }

// header is struct rtmsg.
func (r meshRoute) header(protocol uint8, flags uint32) []byte {
	h := make([]byte, unix.SizeofRtMsg)
	h[0] = unix.AF_INET
	if r.to.Addr().Is6() {
		h[0] = unix.AF_INET6
	}
	h[1] = uint8(r.to.Bits())
	h[4], h[5], h[6], h[7] = unix.RT_TABLE_MAIN, protocol, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	if r.refuse {
		h[7] = unix.RTN_UNREACHABLE
	}
	binary.NativeEndian.PutUint32(h[8:], flags)
	return h
}

func (r meshRoute) replace(d *meshDevice) request {
	flags := uint32(0)
	if r.tunnel {
		flags = unix.RTNH_F_ONLINK
	}
	how := uint16(replaceFlags)
	if r.beside {
		how = unix.NLM_F_CREATE // in front of others of its prefix: `ip route prepend`
	}
	m := newMessage(unix.RTM_NEWROUTE, how, r.header(overlayProtocol, flags)).
		attribute(unix.RTA_DST, r.to.Addr().AsSlice())
	if r.metric != 0 {
		m = m.number(unix.RTA_PRIORITY, uint32(r.metric))
	}
	if r.refuse {
		return request{message: m}
	}
	m = r.gateway(m)
	if r.tunnel {
		m = m.number(unix.RTA_OIF, uint32(d.index))
	}
	if r.source.IsValid() {
		m = m.attribute(unix.RTA_PREFSRC, r.source.AsSlice())
	}
	if r.mtu != 0 {
		metrics := message(nil).number(unix.RTAX_MTU, uint32(r.mtu))
		m = m.attribute(unix.RTA_METRICS, metrics)
	}
	return request{message: m}
}

// gateway adds the next hop; one of the other family is a struct rtvia.
func (r meshRoute) gateway(m message) message {
	if r.gw.Is4() == r.to.Addr().Is4() {
		return m.attribute(unix.RTA_GATEWAY, r.gw.AsSlice())
	}
	via := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	if r.gw.Is4() {
		via = binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
	}
	return m.attribute(unix.RTA_VIA, append(via, r.gw.AsSlice()...))
}

func (r meshRoute) remove(*meshDevice) request {
	m := newMessage(unix.RTM_DELROUTE, 0, r.header(overlayProtocol, 0)).
		attribute(unix.RTA_DST, r.to.Addr().AsSlice())
	if r.metric != 0 {
		m = m.number(unix.RTA_PRIORITY, uint32(r.metric))
	}
	return request{message: m}
}

func (r meshRoute) String() string {
	if r.refuse {
		return "route unreachable " + r.to.String()
	}
	text := fmt.Sprintf("route %s via %s", r.to, r.gw)
	if r.mtu != 0 {
		text += fmt.Sprintf(" mtu %d", r.mtu)
	}
	return text
}
