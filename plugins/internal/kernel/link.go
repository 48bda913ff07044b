package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// HasLink tells whether the container has an interface of that name.
func (c *Container) HasLink(name string) (bool, error) {
	_, err := c.rt.look(name)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("in %s: %w", c.Path, err)
	}
	return true, nil
}

// CreateLink makes the owned link. The container's end is made in its
// namespace, with its final name, MTU and address; the host's end comes up as
// a port of its bridge: one request for all of it.
//
// What was made is described also where a later step failed.
func (h *Host) CreateLink(c *Container, link wire.Link) (Made, error) {
	switch l := link.(type) {
	case wire.Veth:
		return h.createVeth(c, l)
	case wire.Macvlan:
		return Made{}, h.createMacvlan(c, l)
	}
	return Made{}, fmt.Errorf("make %s: unknown kind of link %T", link.ContainerName(), link)
}

// Made is what the kernel said of a new link. Its fields are the zero value
// where the link has no such end.
type Made struct {
	Bridge, Host Interface
	// inside is the index of the container's end, 0 if it is not known.
	inside int
}

// OnHost lists the links on the host, the bridge first.
func (m Made) OnHost() []Interface {
	return slices.DeleteFunc([]Interface{m.Bridge, m.Host}, func(i Interface) bool { return i.index == 0 })
}

// DeleteLink removes an interface of the container; one that is not there is
// no error.
func (c *Container) DeleteLink(name string) error {
	found, err := c.rt.look(name)
	if err == nil {
		err = c.do(func() error { return vanish(found[0].index, 0) })
	}
	if errors.Is(err, errMissed) {
		err = c.deleteWaiting(found[0])
	}
	return deleted(name, err)
}

// deleteWaiting waits for the kernel to the end, and makes sure.
func (c *Container) deleteWaiting(link Interface) error {
	handle, err := c.library()
	if err != nil {
		return err
	}
	return handle.LinkDel(link.device())
}

// DeleteLink removes a host-side link, and with it the container's end. It
// returns when nobody can see the link any more (see vanish.go). A link that
// is not there is no error.
func (h *Host) DeleteLink(name string) error {
	found, err := h.rt.look(name)
	if err == nil {
		err = vanish(found[0].index, h.parked)
		h.drop()
	}
	if errors.Is(err, errMissed) {
		// This waits for the kernel to the end, and makes sure.
		err = h.link.LinkDel(found[0].device())
	}
	return deleted(name, err)
}

func deleted(name string, err error) error {
	if err != nil && !absent(err) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}
