package firewall

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// The kernel consults the NAT table only for the first packet of a
// connection. To connection tracking, UDP (and SCTP, which can restart on the
// same ports) from one client port to one server port is one connection for as
// long as packets come. So when a port's mapping comes or goes, entries made
// before would keep leading packets to the host, or to a container that is no
// more (kubernetes#102559, plugins#1190); they are deleted.

// forgetConnections deletes the tracked connections that contradict published
// UDP and SCTP ports now: those to the host's own addresses on the published
// ports, and those translated to the container.
//
// The socket comes from the caller, who may have one of the kind open.
func forgetConnections(all []wire.Publish, dial dialNetfilter) error {
	for _, f := range families() {
		for _, protocol := range []wire.Protocol{wire.UDP, wire.SCTP} {
			published := slices.DeleteFunc(f.publish(all), func(p wire.Publish) bool { return p.Protocol != protocol })
			if len(published) == 0 {
				continue
			}
			if err := forget(f, protocol, published, dial); err != nil {
				return fmt.Errorf("delete tracked %s %s connections of published ports: %w", f, protocol, err)
			}
		}
	}
	return nil
}

// dialNetfilter gives a socket and a function that lets go of it.
type dialNetfilter func() (conn *netlink.Conn, done func(), err error)

func dialConntrack() (*netlink.Conn, func(), error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, nil, err
	}
	return conn, func() { _ = conn.Close() }, nil
}

func forget(f family, protocol wire.Protocol, published []wire.Publish, dial dialNetfilter) error {
	local, err := localAddresses()
	if err != nil {
		return err
	}
	conn, done, err := dial()
	if err != nil {
		return err
	}
	defer done()
	flows, err := dumpFlows(conn, f, protocol)
	if err != nil {
		return err
	}
	for _, flow := range flows {
		if !slices.ContainsFunc(published, func(p wire.Publish) bool { return flow.contradicts(p, local) }) {
			continue
		}
		if err := flow.delete(conn, f); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// localAddresses are the host's own. A flow to the same port of another
// machine has nothing to do with what is published here.
func localAddresses() (map[netip.Addr]bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	local := map[netip.Addr]bool{}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			local[p.Addr().WithZone("")] = true
		}
	}
	return local, nil
}

// flow is what we need of a conntrack entry.
type flow struct {
	proto    uint8
	src      netip.Addr // who sent the first packet
	dst      netip.Addr // where the first packet was sent
	dport    uint16
	replySrc netip.Addr // who answers, after translation
	// original and zone identify the entry to the kernel, as it sent them.
	original, zone []byte
}

func (w flow) contradicts(p wire.Publish, local map[netip.Addr]bool) bool {
	if w.replySrc == p.Container || w.dst == p.Container {
		return true
	}
	if w.dport < p.HostPort || w.dport > p.Last() {
		return false
	}
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		return w.dst == p.HostIP
	}
	return local[w.dst] || w.dst.IsLoopback()
}

// Attributes of the conntrack netlink family (linux/netfilter/nfnetlink_conntrack.h).
const (
	msgGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	msgDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaZone       = 18
	ctaFilter     = 25

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaProtoNum     = 1
	ctaProtoDstPort = 3

	ctaFilterOrig     = 1
	ctaFilterProtoNum = 1 << 3 // CTA_FILTER_FLAG(CTA_PROTO_NUM), uapi since 5.8
)

func protocolNumber(p wire.Protocol) uint8 {
	switch p {
	case wire.UDP:
		return unix.IPPROTO_UDP
	case wire.SCTP:
		return unix.IPPROTO_SCTP
	default:
		return unix.IPPROTO_TCP
	}
}

func (f family) netlink() uint8 {
	if f == ipv4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// dumpFlows reads the protocol's entries. The kernel filters since 5.8; older
// ones ignore the filter and send all, so it is applied again here.
func dumpFlows(conn *netlink.Conn, f family, protocol wire.Protocol) ([]flow, error) {
	e := netlink.NewAttributeEncoder()
	e.Nested(ctaTupleOrig, func(e *netlink.AttributeEncoder) error {
		e.Nested(ctaTupleProto, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctaProtoNum, protocolNumber(protocol))
			return nil
		})
		return nil
	})
	e.Nested(ctaFilter, func(e *netlink.AttributeEncoder) error {
		e.Uint32(ctaFilterOrig, ctaFilterProtoNum)
		return nil
	})
	answers, err := conntrack(conn, f, msgGet, netlink.Dump, e)
	if err != nil {
		return nil, err
	}
	var flows []flow
	for _, m := range answers {
		w, err := parseFlow(m.Data)
		if err != nil {
			return nil, err
		}
		if w.proto == protocolNumber(protocol) {
			flows = append(flows, w)
		}
	}
	return flows, nil
}

// ForgetTracked deletes what is tracked between containers and pools, in either
// direction, and tells how much it was. It does not ask where nothing is tracked.
func ForgetTracked(containers []netip.Addr, pools []netip.Prefix) (deleted int, err error) {
	if data, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count"); err != nil || string(bytes.TrimSpace(data)) == "0" {
		return 0, nil
	}
	conn, done, err := dialConntrack()
	if err != nil {
		return 0, fmt.Errorf("connection tracking: %w", err)
	}
	defer done()
	ends := map[netip.Addr]bool{}
	for _, c := range containers {
		ends[c] = true
	}
	between := func(a, b netip.Addr) bool {
		return ends[a] && slices.ContainsFunc(pools, func(p netip.Prefix) bool { return p.Contains(b) })
	}
	for _, f := range families() {
		answers, err := conntrack(conn, f, msgGet, netlink.Dump, netlink.NewAttributeEncoder())
		if err != nil {
			return deleted, fmt.Errorf("list tracked %s connections: %w", f, err)
		}
		for _, m := range answers {
			w, err := parseFlow(m.Data)
			if err != nil {
				return deleted, err
			}
			if !between(w.src, w.dst) && !between(w.dst, w.src) {
				continue
			}
			if err := w.delete(conn, f); err != nil && !errors.Is(err, unix.ENOENT) {
				return deleted, fmt.Errorf("delete tracked %s connection: %w", f, err)
			}
			deleted++
		}
	}
	return deleted, nil
}

func (w flow) delete(conn *netlink.Conn, f family) error {
	e := netlink.NewAttributeEncoder()
	e.Bytes(ctaTupleOrig|unix.NLA_F_NESTED, w.original)
	if w.zone != nil {
		e.Bytes(ctaZone, w.zone)
	}
	_, err := conntrack(conn, f, msgDelete, netlink.Acknowledge, e)
	return err
}

// conntrack sends one request; its header is struct nfgenmsg.
func conntrack(conn *netlink.Conn, f family, kind netlink.HeaderType, flags netlink.HeaderFlags,
	e *netlink.AttributeEncoder) ([]netlink.Message, error) {
	attributes, err := e.Encode()
	if err != nil {
		return nil, err
	}
	return conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append([]byte{f.netlink(), unix.NFNETLINK_V0, 0, 0}, attributes...),
	})
}

// parseFlow reads one entry.
func parseFlow(message []byte) (flow, error) {
	const nfgenmsg = 4
	if len(message) < nfgenmsg {
		return flow{}, fmt.Errorf("conntrack message of %d bytes is too short", len(message))
	}
	d, err := netlink.NewAttributeDecoder(message[nfgenmsg:])
	if err != nil {
		return flow{}, err
	}
	var w flow
	for d.Next() {
		switch d.Type() {
		case ctaTupleOrig:
			w.original = d.Bytes()
			d.Nested(func(d *netlink.AttributeDecoder) error {
				w.proto, w.src, w.dst, w.dport = parseTuple(d)
				return nil
			})
		case ctaTupleReply:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				_, w.replySrc, _, _ = parseTuple(d)
				return nil
			})
		case ctaZone:
			w.zone = d.Bytes()
		}
	}
	return w, d.Err()
}

// parseTuple reads one direction. Source and destination addresses are
// attributes 1 and 2 for IPv4, 3 and 4 for IPv6.
func parseTuple(d *netlink.AttributeDecoder) (proto uint8, src, dst netip.Addr, dport uint16) {
	for d.Next() {
		kind := d.Type()
		d.Nested(func(d *netlink.AttributeDecoder) error {
			for d.Next() {
				switch {
				case kind == ctaTupleIP && d.Type()%2 == 1:
					src, _ = netip.AddrFromSlice(d.Bytes())
				case kind == ctaTupleIP:
					dst, _ = netip.AddrFromSlice(d.Bytes())
				case kind == ctaTupleProto && d.Type() == ctaProtoNum:
					proto = d.Uint8()
				case kind == ctaTupleProto && d.Type() == ctaProtoDstPort && len(d.Bytes()) == 2:
					dport = binary.BigEndian.Uint16(d.Bytes())
				}
			}
			return nil
		})
	}
	return proto, src, dst, dport
}
