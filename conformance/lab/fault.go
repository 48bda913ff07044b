package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link makes a symlink of the same name in another directory.
func (h *Host) Link(dir, target string) (string, error) {
	link := filepath.Join(dir, filepath.Base(target))
	h.Script.Addf("mkdir -p %s; ln -s %s %s", q(dir), q(target), q(link))
	return link, h.Do(func() error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.Symlink(target, link)
	})
}

// WithoutShells covers every shell of the host with an empty file.
func (h *Host) WithoutShells() error {
	return h.Mask("/bin/sh", "/bin/dash", "/bin/bash", "/bin/busybox", "/bin/zsh", "/bin/ksh")
}

// Mask covers files with an empty one that cannot be executed. Files that do
// not exist are skipped; a symlink masks what it points to.
func (h *Host) Mask(paths ...string) error {
	empty := filepath.Join(StateDir, "empty")
	return h.Do(func() error {
		if err := os.WriteFile(empty, nil, 0o444); err != nil {
			return err
		}
		for _, path := range paths {
			h.Script.Addf("touch %[1]s; mount --bind %[1]s %[2]s", empty, q(path))
			err := unix.Mount(empty, path, "", unix.MS_BIND, "")
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("mask %s: %w", path, err)
			}
		}
		return nil
	})
}

// BrokenTools makes a directory with programs of these names that always
// fail, to be put in front of PATH.
func (h *Host) BrokenTools(names ...string) (dir string, err error) {
	dir = filepath.Join(StateDir, "broken")
	for _, name := range names {
		if err := h.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho broken by the conformance suite >&2\nexit 3\n"), 0o755); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// OnlyTools makes a directory that holds nothing but the named programs, to
// be used as PATH. Programs the machine does not have are missing there too.
func (h *Host) OnlyTools(names ...string) (dir string, err error) {
	dir = filepath.Join(StateDir, fmt.Sprintf("tools-%d", len(names)))
	h.Script.Addf("mkdir -p %s", dir)
	for _, name := range names {
		path, lookErr := exec.LookPath(name)
		if lookErr != nil {
			continue
		}
		if _, err := h.Link(dir, path); err != nil {
			return "", err
		}
	}
	return dir, h.Do(func() error { return os.MkdirAll(dir, 0o755) })
}

// HoldLocks takes an exclusive lock on each file, as another process would,
// until release is called.
func (h *Host) HoldLocks(paths []string) (release func(), err error) {
	var fds []int
	release = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	err = h.Do(func() error {
		for _, path := range paths {
			h.Script.Addf("flock %s sleep 15 & true", q(path))
			fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open %s: %w", path, err)
			}
			fds = append(fds, fd)
			if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
				return fmt.Errorf("lock %s: %w", path, err)
			}
		}
		return nil
	})
	return release, err
}

// ReadOnlySysctls makes /proc/sys read-only on the host, as it is inside many
// containers.
func (h *Host) ReadOnlySysctls() error {
	h.Script.Addf("mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys")
	return h.Do(func() error {
		if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /proc/sys: %w", err)
		}
		if err := unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make /proc/sys read-only: %w", err)
		}
		return nil
	})
}

// FlushFirewall empties the packet filter, as reloading a host firewall does.
func (h *Host) FlushFirewall() error {
	h.Script.Addf("nft flush ruleset")
	return h.Do(func() error {
		commands := [][]string{{"nft", "flush", "ruleset"}}
		// Asking the legacy tool about a table makes the table.
		tables, _ := os.ReadFile("/proc/thread-self/net/ip_tables_names")
		for _, table := range strings.Fields(string(tables)) {
			commands = append(commands, []string{"iptables-legacy", "-t", table, "-F"}, []string{"iptables-legacy", "-t", table, "-X"})
		}
		for _, command := range commands {
			if err := runTool(command); err != nil {
				return err
			}
		}
		return nil
	})
}

// runTool runs a program if the machine has it.
func runTool(command []string) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return nil
	}
	if out, err := exec.Command(path, command[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	return nil
}

// DropQueueing removes every queueing discipline that was added to a link.
func (h *Host) DropQueueing() error {
	links, err := h.NL.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		qdiscs, err := h.NL.QdiscList(link)
		if err != nil {
			return fmt.Errorf("list queueing of %s: %w", link.Attrs().Name, err)
		}
		for _, q := range qdiscs {
			if q.Type() == "noqueue" || q.Attrs().Handle == 0 {
				continue
			}
			h.Script.Addf("tc qdisc del dev %s parent %s", link.Attrs().Name, netlink.HandleStr(q.Attrs().Parent))
			if err := h.NL.QdiscDel(q); err != nil {
				return fmt.Errorf("remove %s from %s: %w", q.Type(), link.Attrs().Name, err)
			}
		}
	}
	return nil
}

// MakeDir makes a directory on the host.
func (h *Host) MakeDir(path string) error {
	h.Script.Addf("mkdir -p %s", q(path))
	return h.Do(func() error { return os.MkdirAll(path, 0o755) })
}

// bridgePorts is the most a Linux bridge takes (BR_MAX_PORTS).
const bridgePorts = 1023

// FillBridge puts unused links into a bridge until it takes no more.
func (h *Host) FillBridge(bridge netlink.Link) error {
	h.Script.Cannot(bridge.Attrs().Name + " is filled with unused links")
	for i := range bridgePorts {
		veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: fmt.Sprintf("fill%db", i)}
		veth.Name = fmt.Sprintf("fill%da", i)
		if err := h.NL.LinkAdd(veth); err != nil {
			return fmt.Errorf("make a link for %s: %w", bridge.Attrs().Name, err)
		}
		for _, name := range []string{veth.Name, veth.PeerName} {
			link, err := h.NL.LinkByName(name)
			if err != nil {
				return err
			}
			err = h.NL.LinkSetMaster(link, bridge)
			if errors.Is(err, unix.EXFULL) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("put %s into %s: %w", name, bridge.Attrs().Name, err)
			}
		}
	}
	return fmt.Errorf("%s takes more than %d ports", bridge.Attrs().Name, bridgePorts)
}

// WriteFiles writes many small files into one directory of the host.
func (h *Host) WriteFiles(dir string, content map[string]string) error {
	h.Script.Cannot(fmt.Sprintf("%d files are written into %s", len(content), dir))
	return h.Do(func() error {
		for name, text := range content {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return err
			}
		}
		return nil
	})
}
