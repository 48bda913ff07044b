package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/dnsd/names"
)

// receiveBuffer in bytes is what we ask for; the kernel gives no more than the
// sysctl net.core.rmem_max.
const receiveBuffer = 4 << 20

// config opens sockets for a listener.
func config(l names.Listener) *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = setOptions(int(fd), l) }); cerr != nil {
			return cerr
		}
		return err
	}}
}

// setOptions prepares a socket before it is bound.
func setOptions(fd int, l names.Listener) error {
	if l.Device != "" {
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, l.Device); err != nil {
			return fmt.Errorf("bind to device %s: %w", l.Device, err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return fmt.Errorf("share the port: %w", err)
	}
	// The address may come later than we do, and an IPv6 one is not usable
	// until duplicate address detection is through with it.
	level, option := unix.SOL_IP, unix.IP_FREEBIND
	if l.Gateway.Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_FREEBIND
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("bind early: %w", err)
	}
	return nil
}

// network is Go's name for a transport over the listener's family only.
func network(transport string, a netip.Addr) string {
	if a.Is4() {
		return transport + "4"
	}
	return transport + "6"
}

func openUDP(ctx context.Context, l names.Listener, port uint16) (*net.UDPConn, error) {
	c, err := config(l).ListenPacket(ctx, network("udp", l.Gateway), netip.AddrPortFrom(l.Gateway, port).String())
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UDPConn)
	if err := prepareUDP(conn); err != nil {
		conn.Close() //nolint:errcheck // the first error counts
		return nil, fmt.Errorf("listen on %s: %w", l, err)
	}
	return conn, nil
}

// prepareUDP sets what a bound UDP socket needs. Replies are never sent in
// fragments, which could be forged (RFC 9715 section 3.1), and are short enough for
// that; as a side effect the kernel need not think of an identification
// for each packet.
func prepareUDP(conn *net.UDPConn) error {
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return fmt.Errorf("receive buffer: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	level, option, value := unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok && local.IP.To4() == nil {
		level, option, value = unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) })
	if err = errors.Join(cerr, err); err != nil {
		return fmt.Errorf("no fragments: %w", err)
	}
	return nil
}

func openTCP(ctx context.Context, l names.Listener, port uint16) (*net.TCPListener, error) {
	c, err := config(l).Listen(ctx, network("tcp", l.Gateway), netip.AddrPortFrom(l.Gateway, port).String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPListener), nil
}

// deviceIndex is the number of a network device, 0 for no device.
func deviceIndex(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd) //nolint:errcheck // only served the request
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}
