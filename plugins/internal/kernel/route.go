package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// EnsureLocalRoute has the host take packets for a prefix as its own when they
// arrive by a device. It goes with the device.
func (h *Host) EnsureLocalRoute(prefix netip.Prefix, device string, metric int) error {
	link, err := h.link.LinkByName(device)
	if err != nil {
		return fmt.Errorf("look for %s: %w", device, err)
	}
	err = h.link.RouteAdd(&netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(prefix), Priority: metric,
		Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add local route to %s on %s: %w", prefix, device, err)
	}
	return nil
}
