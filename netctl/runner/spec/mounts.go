package spec

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
)

const defaultShm = 64 << 20

// mounts: the kernel's file systems, our files, the user's mounts. A mount of
// the user's replaces a default one at the same place; parents come before
// what lies below them.
func mounts(c *runner.Config, h Host) ([]specs.Mount, error) {
	var own []specs.Mount
	for _, m := range c.Mounts {
		o, err := userMount(m, h, c.Userns)
		if err != nil {
			return nil, err
		}
		own = append(own, o)
	}
	slices.SortStableFunc(own, func(a, b specs.Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	defaults := append(kernelMounts(c.Limits.ShmSize), fileMounts(h.Files, c.ReadOnlyRoot)...)
	if c.Userns.Own() && !c.Network.OwnNamespace() {
		// The kernel mounts the sysfs of a network namespace only for those who
		// own that.
		i := slices.IndexFunc(defaults, func(d specs.Mount) bool { return d.Destination == "/sys" })
		defaults[i] = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"}}
	}
	defaults = slices.DeleteFunc(defaults, func(d specs.Mount) bool {
		return slices.ContainsFunc(own, func(o specs.Mount) bool { return o.Destination == d.Destination })
	})
	return append(defaults, own...), nil
}

func kernelMounts(shm int64) []specs.Mount {
	if shm == 0 {
		shm = defaultShm
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(shm, 10)}},
	}
}

func fileMounts(files map[string]string, readOnly bool) []specs.Mount {
	var out []specs.Mount
	for target, source := range files {
		out = append(out, specs.Mount{
			Destination: target, Type: "bind", Source: source, Options: bindOptions(nil, readOnly),
		})
	}
	slices.SortFunc(out, func(a, b specs.Mount) int { return cmp.Compare(a.Destination, b.Destination) })
	return out
}

func userMount(m runner.Mount, h Host, u runner.Userns) (specs.Mount, error) {
	target := filepath.Clean(m.Target)
	if !filepath.IsAbs(target) || target == "/" {
		return specs.Mount{}, fmt.Errorf("invalid mount target %q: must be an absolute path below /", m.Target)
	}
	out := specs.Mount{Destination: target, Source: m.Source}
	switch m.Kind {
	case runner.MountTmpfs:
		out.Type, out.Source = "tmpfs", "tmpfs"
		out.Options = append([]string{"noexec", "nosuid", "nodev"}, m.Options...)
		if m.ReadOnly {
			out.Options = append(out.Options, "ro")
		}
	case runner.MountVolume:
		out.Type, out.Source = "bind", h.Volume(m.Source)
		out.Options = bindOptions(m.Options, m.ReadOnly)
	case runner.MountBind:
		out.Type = "bind"
		out.Options = bindOptions(m.Options, m.ReadOnly)
	default:
		return out, fmt.Errorf("unknown kind of mount %q at %s", m.Kind, m.Target)
	}
	// A volume holds ids as the container sees them, so that every container can
	// use it, whichever ids of the host it was given. A directory of the host
	// stays the host's, unless somebody says otherwise.
	if u.Own() && (m.Kind == runner.MountVolume || m.MapIDs) {
		out.Options = append(out.Options, "ridmap")
	}
	return out, nil
}

// bindOptions: recursive and private unless the user asked for a propagation.
func bindOptions(asked []string, readOnly bool) []string {
	out := []string{"rbind"}
	if !slices.ContainsFunc(asked, isPropagation) {
		out = append(out, "rprivate")
	}
	out = append(out, asked...)
	if readOnly {
		out = append(out, "ro")
	}
	return out
}

func isPropagation(o string) bool {
	switch o {
	case "private", "rprivate", "slave", "rslave", "shared", "rshared":
		return true
	}
	return false
}
