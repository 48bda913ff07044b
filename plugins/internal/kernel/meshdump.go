package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// A mesh is read every time something in the kernel has changed, thousands of
// objects where there are a thousand peers. The library makes a value of some
// 400 bytes and a dozen slices for each; here each message is read where it is
// received.

// errInterrupted: something changed while the kernel listed it, so that an
// object may be missing (NLM_F_DUMP_INTR).
var errInterrupted = errors.New("the kernel's list was interrupted by a change")

// list asks for all objects of a kind, and has each one's message read. header
// and attributes say which; a kernel before 5.0 does not look at them, so that
// the reader must. A list that was interrupted is made again, after begin.
func list(kind uint16, header []byte, attributes message, begin func(), read func(body []byte)) (err error) {
	for range dumpRetries {
		begin()
		if err = listOnce(kind, header, attributes, read); !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return err
}

func listOnce(kind uint16, header []byte, attributes message, read func(body []byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	wait := unix.NsecToTimeval(int64(batchWait))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	request := make(message, unix.SizeofNlMsghdr, 128)
	request = append(append(request, header...), attributes...)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], kind)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask the kernel for a list: %w", err)
	}
	interrupted, buffer := false, make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the kernel's list: %w", err)
		}
		done, intr, err := readMessages(buffer[:n], read)
		interrupted = interrupted || intr
		switch {
		case err != nil:
			return fmt.Errorf("read the kernel's list: %w", err)
		case done && interrupted:
			return errInterrupted
		case done:
			return nil
		}
	}
}

// readMessages reads what one datagram holds. done is the end of the list.
func readMessages(b []byte, read func(body []byte)) (done, interrupted bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.SizeofNlMsghdr || length > len(b) {
			return false, false, fmt.Errorf("a message of %d bytes in %d", length, len(b))
		}
		kind, flags, body := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), b[unix.SizeofNlMsghdr:length]
		interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		switch kind {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			if len(body) >= 4 {
				if code := int32(binary.NativeEndian.Uint32(body)); code < 0 && syscall.Errno(-code) != unix.ENOENT {
					err = syscall.Errno(-code) // ENOENT: there is no such table yet
				}
			}
			return true, interrupted, err
		default:
			read(body)
		}
		b = b[min(align(length), len(b)):]
	}
	return false, interrupted, nil
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// eachAttribute reads a row of rtattrs.
func eachAttribute(b []byte, read func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return
		}
		read(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:length])
		b = b[min(align(length), len(b)):]
	}
}

func number32(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(b))
}

// listEntries reads the neighbours or, of family AF_BRIDGE, the FDB entries of a
// device.
func listEntries(family uint8, index int, begin func(), each func(addr netip.Addr, mac wire.HardwareAddr, state uint16)) error {
	header := make([]byte, unix.SizeofNdMsg)
	header[0] = family
	return list(unix.RTM_GETNEIGH, header, message(nil).number(unix.NDA_IFINDEX, uint32(index)), begin, func(body []byte) {
		if len(body) < unix.SizeofNdMsg || body[0] != family || number32(body[4:]) != index {
			return
		}
		var addr netip.Addr
		var mac wire.HardwareAddr
		eachAttribute(body[unix.SizeofNdMsg:], func(kind uint16, value []byte) {
			switch kind {
			case unix.NDA_DST:
				addr = addrOf(value)
			case unix.NDA_LLADDR:
				mac = hardwareAddr(value)
			}
		})
		each(addr, mac, binary.NativeEndian.Uint16(body[8:]))
	})
}

// A listedRoute is what a mesh needs to know of a route in the main table.
type listedRoute struct {
	meshRoute
	protocol uint8
	link     int
}

// listRoutes reads the routes of a family and, if that is not 0, a protocol.
func listRoutes(family, protocol uint8, begin func(), each func(listedRoute)) error {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[5] = family, protocol
	return list(unix.RTM_GETROUTE, header, nil, begin, func(body []byte) {
		if len(body) < unix.SizeofRtMsg || body[0] != family || body[4] != unix.RT_TABLE_MAIN || protocol != 0 && body[5] != protocol ||
			binary.NativeEndian.Uint32(body[8:])&unix.RTM_F_CLONED != 0 {
			return
		}
		each(readRoute(body))
	})
}

func readRoute(body []byte) listedRoute {
	r := listedRoute{protocol: body[5]}
	to := netip.IPv4Unspecified()
	if body[0] == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	r.refuse = body[7] == unix.RTN_UNREACHABLE
	eachAttribute(body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			r.link = number32(value)
		case unix.RTA_GATEWAY:
			r.gw, _ = netip.AddrFromSlice(value)
		case unix.RTA_VIA: // struct rtvia: a family and an address
			if len(value) > 2 {
				r.gw, _ = netip.AddrFromSlice(value[2:])
			}
		case unix.RTA_PRIORITY:
			r.metric = number32(value)
		case unix.RTA_PREFSRC:
			r.source, _ = netip.AddrFromSlice(value)
		case unix.RTA_METRICS:
			eachAttribute(value, func(kind uint16, value []byte) {
				if kind == unix.RTAX_MTU {
					r.mtu = number32(value)
				}
			})
		}
	})
	r.to = netip.PrefixFrom(to, int(body[1]))
	return r
}
