package monitor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/etc"
	"github.com/netctl/netctl/netctl/runner/rootfs"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// killSignal is the one that cannot be refused.
const killSignal = unix.SIGKILL

// host gathers what the specification depends on.
func (m *monitor) host() (spec.Host, error) {
	user, err := rootfs.LookupUser(m.overlay.Merged, m.cfg.Process.User, m.cfg.Process.Groups)
	if err != nil {
		return spec.Host{}, err
	}
	if err := m.checkSources(); err != nil {
		return spec.Host{}, err
	}
	known, bounding, err := capabilities()
	if err != nil {
		return spec.Host{}, err
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return spec.Host{}, err
	}
	profile, err := m.apparmor()
	if err != nil {
		return spec.Host{}, err
	}
	return spec.Host{
		AppArmor:     profile,
		Device:       runner.DeviceLimit.Number,
		Nodes:        runner.Device.Nodes,
		Root:         m.overlay.Merged,
		Netns:        m.state.Netns,
		Userns:       m.usersPath(),
		User:         user,
		Files:        m.boundFiles(),
		Volume:       m.store.VolumePath,
		Masked:       rootfs.Hidden(m.cfg.Layers, m.store.StateRoot(), m.store.DataRoot()),
		Capabilities: known,
		Bounding:     bounding,
		MaxFiles:     files.Max,
		SwapLimit:    swapLimit(),
	}, nil
}

// capabilities are those that the kernel knows, and those of them that we can give
// to others: our own bounding set, which in a container or a service may be less.
func capabilities() (known, bounding []string, err error) {
	list, err := capability.ListSupported()
	if err != nil {
		return nil, nil, fmt.Errorf("list capabilities: %w", err)
	}
	for _, c := range list {
		name := "CAP_" + strings.ToUpper(c.String())
		known = append(known, name)
		if has, err := capability.GetBound(c); err == nil && has {
			bounding = append(bounding, name)
		}
	}
	return known, bounding, nil
}

// netns is the path of the network namespace to run in, "" for the host's.
func (m *monitor) netns() (string, error) {
	mode := m.cfg.Network
	switch mode.Kind {
	case runner.NetworkHost:
		return "", nil
	case runner.NetworkPath:
		return mode.Target, nil
	case runner.NetworkContainer:
		other, err := m.store.Load(runner.ID(mode.Target))
		if err != nil {
			return "", fmt.Errorf("join network: %w", err)
		}
		if other.State.Status != runner.StatusRunning && other.State.Status != runner.StatusPaused {
			return "", fmt.Errorf("join network: container %s is not running", other.Name)
		}
		return other.State.Netns, nil
	}
	return m.store.NetnsPath(m.cfg.ID), nil
}

// checkSources sees that what is to be bound exists. A volume is made on first
// use; a host directory never is, because a typing error would go unnoticed.
func (m *monitor) checkSources() error {
	for _, mount := range m.cfg.Mounts {
		switch mount.Kind {
		case runner.MountVolume:
			if err := m.makeVolume(mount); err != nil {
				return err
			}
		case runner.MountBind:
			if _, err := os.Stat(mount.Source); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("bind mount at %s: %s does not exist on the host", mount.Target, mount.Source)
			}
		}
	}
	return nil
}

// swapLimit: cgroup v1 shows it at the root; v2 has it wherever there is swap.
func swapLimit() bool {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		_, err = os.Stat("/proc/swaps")
		return err == nil
	}
	_, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
	return err == nil
}

// boundFiles are the files of /etc that we provide, by target. A container in
// another's network has the other's.
func (m *monitor) boundFiles() map[string]string {
	owner := m.cfg.ID
	if m.cfg.Network.Kind == runner.NetworkContainer {
		owner = runner.ID(m.cfg.Network.Target)
	}
	return map[string]string{
		"/etc/hosts":       m.store.File(owner, "hosts"),
		"/etc/resolv.conf": m.store.File(owner, "resolv.conf"),
		"/etc/hostname":    m.store.File(m.cfg.ID, "hostname"),
	}
}

// writeFiles writes those files, in place: the container has them bound.
func (m *monitor) writeFiles() error {
	facts := etc.Facts{HostResolv: hostFile("/etc/resolv.conf"), HostHosts: hostFile("/etc/hosts")}
	m.mu.Lock()
	facts.Attached = m.state.Attached
	cfg := m.cfg
	m.mu.Unlock()
	texts := map[string]string{
		"hosts":       etc.Hosts(&cfg, facts),
		"resolv.conf": etc.Resolv(&cfg, facts),
		"hostname":    cfg.Hostname + "\n",
	}
	for name, text := range texts {
		path := m.store.File(m.cfg.ID, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		// Our umask is strict, and everybody in the container reads these.
		if err := os.Chmod(path, 0o644); err != nil {
			return err
		}
		// Its root may change them, whoever that is out here.
		if uid, gid := m.cfg.Userns.IDs.RootPair(); uid != 0 || gid != 0 {
			if err := os.Chown(path, uid, gid); err != nil {
				return err
			}
		}
	}
	return nil
}

// hostFile reads a file of the host's; a missing one is an empty one.
func hostFile(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}
