package kernel

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// addInside makes an interface on a parent of the host in the container's
// namespace, with its final name. Older kernels (6.1 does, 6.18 does not) refuse
// a name that is taken in the namespace of the request, although the interface
// is never in it; and eth0 is what many hosts call their own.
func (h *Host) addInside(c *Container, link *netlink.Macvlan) error {
	link.Namespace = netlink.NsFd(int(c.ns))
	err := h.link.LinkAdd(link)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	exists, err := c.HasLink(link.Name)
	if err != nil {
		return err
	}
	if exists {
		return fmt.Errorf("%s in %s: %w", link.Name, c.Path, ErrLinkExists)
	}
	return h.addAside(c, link)
}

// addAside makes it with a name that nobody else has and renames it there.
func (h *Host) addAside(c *Container, link *netlink.Macvlan) error {
	final := link.Name
	aside, err := c.asideName(final)
	if err != nil {
		return err
	}
	if err := c.DeleteLink(aside); err != nil { // left by a process that was killed in between
		return err
	}
	link.Name = aside
	err = h.link.LinkAdd(link)
	link.Name = final
	if err != nil {
		return err
	}
	made, err := c.link.LinkByName(aside)
	if err == nil {
		err = c.link.LinkSetName(made, final)
	}
	if err != nil {
		err = fmt.Errorf("rename %s to %s in %s: %w", aside, final, c.Path, err)
		return errors.Join(err, c.DeleteLink(aside))
	}
	return nil
}

// asideName is computed from the namespace and the final name.
func (c *Container) asideName(final string) (string, error) {
	var file unix.Stat_t
	if err := unix.Fstat(int(c.ns), &file); err != nil {
		return "", fmt.Errorf("look at network namespace %s: %w", c.Path, err)
	}
	at := wire.Attachment{Network: "made aside", Container: strconv.FormatUint(file.Ino, 10), IfName: final}
	return at.HostName("mac"), nil
}
