package kernel

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Many parameters under /proc/sys/net can be read by netlink, and those of an
// IPv4 interface set too. It matters because a path below /proc/sys/net costs
// more the more namespaces there are: the names of all of them are in one hash
// chain of the dentry cache, and each is compared (proc_sys_compare). Beside
// 1,000 containers that was the larger part of an attachment.

// devconf are the numbers of an IPv4 interface's parameters, IPV4_DEVCONF_* of
// linux/ip.h: those that we use and a network's configuration is likely to.
var devconf = map[string]uint16{
	"proxy_arp": 3, "send_redirects": 6, "rp_filter": 8, "arp_ignore": 19, "arp_notify": 22, "route_localnet": 26,
}

// deviceSysctl takes the path of an IPv4 interface's parameter apart.
func deviceSysctl(path string) (device string, number uint16, ok bool) {
	rest, ok := strings.CutPrefix(path, "net/ipv4/conf/")
	device, name, both := strings.Cut(rest, "/")
	number, known := devconf[name]
	return device, number, ok && both && known && device != "all" && device != "default"
}

// current gives a parameter's value, if netlink tells it.
func (h *Host) current(path string) (string, bool) {
	switch path {
	case "net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding":
		return h.rt.forwarding(unix.AF_INET)
	case "net/ipv6/conf/all/forwarding":
		return h.rt.forwarding(unix.AF_INET6)
	}
	device, number, ok := deviceSysctl(path)
	if !ok {
		return "", false
	}
	link := h.ensured
	if link.Name != device {
		found, err := h.rt.look(device)
		if err != nil {
			return "", false
		}
		link = found[0]
	}
	end := int(number) * 4
	if end > len(link.conf4) {
		return "", false
	}
	return strconv.Itoa(int(binary.NativeEndian.Uint32(link.conf4[end-4:]))), true
}

// netconf is struct netconfmsg of linux/netconf.h, with its padding.
type netconf struct{ family uint8 }

func (n netconf) Len() int          { return 4 }
func (n netconf) Serialize() []byte { return []byte{n.family, 0, 0, 0} }

// forwarding asks whether a family is forwarded between all interfaces
// (rtnetlink's RTM_GETNETCONF, Linux 3.8).
func (c *conn) forwarding(family uint8) (string, bool) {
	const (
		ifIndex    = 1 // NETCONFA_IFINDEX
		forwarding = 2 // NETCONFA_FORWARDING
	)
	all := int32(-1) // NETCONFA_IFINDEX_ALL
	r := nl.NewNetlinkRequest(unix.RTM_GETNETCONF, 0)
	r.AddData(netconf{family})
	r.AddData(nl.NewRtAttr(ifIndex, nl.Uint32Attr(uint32(all))))
	replies, err := c.exchange(r)
	if err != nil || replies[0].err != nil || len(replies[0].data) == 0 || len(replies[0].data[0]) < 4 {
		return "", false
	}
	value := attribute(replies[0].data[0][4:], forwarding)
	return strconv.Itoa(number(value)), value != nil
}

// setDevconf sets a parameter of an interface, or is nil where that takes the
// file.
func setDevconf(index int, name string, s wire.Sysctl) *nl.NetlinkRequest {
	device, id, ok := deviceSysctl(s.Path)
	value, err := strconv.ParseUint(s.Value, 10, 31)
	if !ok || device != name || err != nil {
		return nil
	}
	r := nl.NewNetlinkRequest(unix.RTM_SETLINK, 0)
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index = int32(index)
	r.AddData(header)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	const inetConf = 1 // IFLA_INET_CONF
	spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(inetConf, nil).AddRtAttr(int(id), nl.Uint32Attr(uint32(value)))
	r.AddData(spec)
	return r
}

func (s *steps) addDevconf(index int, name string, sysctls []wire.Sysctl) {
	for _, sysctl := range sysctls {
		if r := setDevconf(index, name, sysctl); r != nil {
			s.add(r, "set sysctl %s", sysctl)
		}
	}
}

// readConf decodes the parameters that come with a link: IFLA_INET_CONF is an
// array of 32 bits each, counted from 1; IFLA_INET6_CONF counts from 0.
func (i *Interface) readConf(spec []byte) {
	const (
		inetConf  = 1
		inet6Conf = 2
		acceptRA  = 3 // DEVCONF_ACCEPT_RA of linux/ipv6.h
	)
	i.conf4 = attribute(spec, unix.AF_INET, inetConf)
	if v6 := attribute(spec, unix.AF_INET6, inet6Conf); len(v6) >= (acceptRA+1)*4 {
		i.deaf = binary.NativeEndian.Uint32(v6[acceptRA*4:]) == 0
	}
}
