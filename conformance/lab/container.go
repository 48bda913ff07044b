package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Container is a namespace bound to a file a plugin can open.
type Container struct {
	*Netns
	Path string // what goes into CNI_NETNS

	host *Host
	dead bool
}

// PauseName is the name the program is started under to hold a namespace.
const PauseName = "conformance-pause"

// NewUserContainer makes a container whose network namespace belongs to a user
// namespace of its own, as those of rootless and nested runtimes do.
func (h *Host) NewUserContainer(name string) (*Container, error) {
	cmd := &exec.Cmd{Path: h.self, Args: []string{PauseName}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := h.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start a process in a user namespace: %w", err)
	}
	h.Script.Addf("unshare --user --map-root-user --net sleep 60 & touch %s; mount --bind /proc/$!/ns/net %[1]s", q(filepath.Join(netnsDir, name)))
	ns, err := newNetns(name, func() error { return enter(cmd.Process.Pid) })
	// The thread holds the namespace from here on.
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		return nil, err
	}
	return h.adopt(name, ns)
}

// enter joins the network namespace of a process.
func enter(pid int) error {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

// NewContainer makes a container and binds its namespace below /run/netns.
func (h *Host) NewContainer(name string) (*Container, error) {
	ns, err := newNetns(name, unshared)
	if err != nil {
		return nil, err
	}
	h.Script.Addf("ip netns add %s; ip -n %[1]s link set lo up", q(name))
	return h.adopt(name, ns)
}

// adopt binds a namespace below /run/netns and makes it the host's to end.
func (h *Host) adopt(name string, ns *Netns) (*Container, error) {
	c := &Container{Netns: ns, Path: filepath.Join(netnsDir, name), host: h}
	h.containers = append(h.containers, c)
	ns.recordTo(&h.Script, "ip netns exec "+q(name)+" ")
	return c, h.Do(func() error { return bind(ns.file(), c.Path) })
}

// bind makes path stand for the file at source.
func bind(source, path string) error {
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, path, err)
	}
	return nil
}

// Alive reports whether the container has not been killed.
func (c *Container) Alive() bool { return !c.dead }

// Kill ends the container as a runtime would: the file goes, then the
// namespace and every interface in it. It waits until the host's end of
// each cable is gone too.
func (c *Container) Kill() error {
	if c.dead {
		return nil
	}
	c.dead = true
	c.host.Script.Addf("ip netns del %s; sleep 0.3", q(c.Name))
	err := c.host.Do(func() error {
		if err := unix.Unmount(c.Path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", c.Path, err)
		}
		return os.Remove(c.Path)
	})
	peers, listErr := c.peers()
	err = errors.Join(err, listErr, c.dropMacvlans())
	c.Close()
	for _, index := range peers {
		if waitErr := c.host.linkGone(index); err == nil {
			err = waitErr
		}
	}
	return err
}

// dropMacvlans removes the links whose end on the host cannot be waited for: a
// macvlan of a namespace that is being taken apart still answers for its
// addresses, and would be found by the next container's address detection.
func (c *Container) dropMacvlans() error {
	links, err := c.NL.LinkList()
	if err != nil {
		return fmt.Errorf("list links of %s: %w", c.Name, err)
	}
	for _, link := range links {
		if link.Type() == "macvlan" || link.Type() == "ipvlan" {
			if err := c.NL.LinkDel(link); err != nil {
				return fmt.Errorf("remove %s of %s: %w", link.Attrs().Name, c.Name, err)
			}
		}
	}
	return nil
}

// peers are the host's links that a cable leads to from the container.
func (c *Container) peers() ([]int, error) {
	links, err := c.NL.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links of %s: %w", c.Name, err)
	}
	var out []int
	for _, link := range links {
		if link.Type() != "veth" {
			continue
		}
		far, err := c.host.NL.LinkByIndex(link.Attrs().ParentIndex)
		if err == nil && far.Type() == "veth" && far.Attrs().ParentIndex == link.Attrs().Index {
			out = append(out, far.Attrs().Index)
		}
	}
	return out, nil
}
