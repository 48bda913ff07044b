package kernel

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// addInside makes an interface on a parent of the host in the container's
// namespace, with its final name. Older kernels (6.1 does, 6.18 does not) refuse
// a name that is taken in the namespace of the request, although the interface
// is never in it; and eth0 is what many hosts call their own.
func (h *Host) addInside(c *Container, link macvlan) error {
	link.namespace = c.ns
	err := h.ask(link.request())
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	exists, err := c.HasLink(link.name)
	if err != nil {
		return err
	}
	if exists {
		return fmt.Errorf("%s in %s: %w", link.name, c.Path, ErrLinkExists)
	}
	return h.addAside(c, link)
}

// addAside makes it with a name that nobody else has and renames it there.
func (h *Host) addAside(c *Container, link macvlan) error {
	final := link.name
	aside, err := c.asideName(final)
	if err != nil {
		return err
	}
	if err := c.DeleteLink(aside); err != nil { // left by a process that was killed in between
		return err
	}
	link.name, link.namespace = aside, c.ns
	if err := h.ask(link.request()); err != nil {
		return err
	}
	made, handle, err := c.find(aside)
	if err == nil {
		err = handle.LinkSetName(made, final)
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
