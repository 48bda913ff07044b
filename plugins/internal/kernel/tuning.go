package kernel

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Tune changes settings of a link in the container, after it has written down
// what they were.
func (c *Container) Tune(want wire.Tuning) error {
	err := c.do(func() error {
		for _, s := range want.Sysctls {
			if err := setSysctl(s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !want.ChangesLink() {
		return err
	}
	link, handle, err := c.find(want.Link)
	if err != nil {
		return fmt.Errorf("look for %s in %s: %w", want.Link, c.Path, err)
	}
	if err := backupOf(link.Attrs(), want).write(want.Backup); err != nil {
		return err
	}
	return set(handle, link, want)
}

// set changes what a tuning names, and goes on after an error.
func set(handle *netlink.Handle, link netlink.Link, t wire.Tuning) error {
	var failures []error
	try := func(what string, err error) {
		if err != nil {
			failures = append(failures, fmt.Errorf("set %s of %s: %w", what, t.Link, err))
		}
	}
	if t.MAC.IsValid() && link.Attrs().HardwareAddr.String() != t.MAC.String() {
		try("MAC address "+t.MAC.String(), handle.LinkSetHardwareAddr(link, t.MAC.Net()))
	}
	if t.Promiscuous {
		try("promiscuous mode", handle.SetPromiscOn(link))
	}
	if t.MTU != 0 {
		try(fmt.Sprintf("MTU %d", t.MTU), handle.LinkSetMTU(link, t.MTU))
	}
	if t.AllMulticast != nil {
		try("all-multicast mode", setAllMulticast(handle, link, *t.AllMulticast))
	}
	if t.TxQueueLen != nil {
		try(fmt.Sprintf("transmit queue length %d", *t.TxQueueLen), handle.LinkSetTxQLen(link, *t.TxQueueLen))
	}
	return errors.Join(failures...)
}

func setAllMulticast(handle *netlink.Handle, link netlink.Link, on bool) error {
	if on {
		return handle.LinkSetAllmulticastOn(link)
	}
	return handle.LinkSetAllmulticastOff(link)
}

// Restore gives a link back the settings that a file holds, and removes the
// file. It is no error if there is none, or no such link any more.
func (c *Container) Restore(name, file string) error {
	before, err := readBackup(file)
	switch {
	case errors.Is(err, fs.ErrNotExist): // but perhaps one that was being written
		err = nil
	case err == nil:
		err = c.restore(name, before)
	}
	return errors.Join(err, RemoveBackup(file))
}

func (c *Container) restore(name string, before backup) error {
	link, handle, err := c.find(name)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %s in %s: %w", name, c.Path, err)
	}
	t, err := before.tuning(name)
	if err == nil && before.Promiscuous != nil && !*before.Promiscuous {
		err = handle.SetPromiscOff(link)
	}
	return errors.Join(err, set(handle, link, t))
}

// checkTuning compares what was asked for; what others have set besides is
// none of its business.
func (c *Container) checkTuning(want wire.Tuning) error {
	if err := c.checkSysctls(want.Sysctls); err != nil {
		return err
	}
	link, _, err := c.find(want.Link)
	if err != nil {
		return fmt.Errorf("interface %s in %s: %w", want.Link, c.Path, err)
	}
	have := link.Attrs()
	switch {
	case want.MAC.IsValid() && have.HardwareAddr.String() != want.MAC.String():
		return fmt.Errorf("MAC address of %s is %s, not %s", want.Link, have.HardwareAddr, want.MAC)
	case want.Promiscuous && have.Promisc == 0:
		return fmt.Errorf("interface %s is not in promiscuous mode", want.Link)
	case want.MTU != 0 && have.MTU != want.MTU:
		return fmt.Errorf("MTU of %s is %d, not %d", want.Link, have.MTU, want.MTU)
	case want.AllMulticast != nil && have.RawFlags&unix.IFF_ALLMULTI != 0 != *want.AllMulticast:
		return fmt.Errorf("all-multicast mode of %s is not %t", want.Link, *want.AllMulticast)
	case want.TxQueueLen != nil && have.TxQLen != *want.TxQueueLen:
		return fmt.Errorf("transmit queue length of %s is %d, not %d", want.Link, have.TxQLen, *want.TxQueueLen)
	}
	return nil
}
