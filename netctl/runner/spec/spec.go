// Package spec turns what a container is asked to be into an OCI runtime
// specification. It reads nothing and changes nothing: everything it has to know
// of the machine comes in as a value, so every rule here can be tested by
// comparing texts.
//
// The defaults are docker's (moby, daemon/pkg/oci), with two exceptions, both on
// the safe side: no_new_privs is on, and the seccomp profile knows only the
// machine's own system call ABI, which also makes starting and exec 20 to 30 ms
// faster (compiling the filter for x86 and x32 costs more than all the rest).
package spec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
)

// Host is what the specification depends on beside the wishes.
type Host struct {
	Root  string // the mounted root file system
	Netns string // "" for the host's
	// Userns is the path of the container's user namespace, "" for the host's.
	Userns string
	User   User
	// Files are host files bound over files of the container, by target.
	Files map[string]string
	// Volume gives the directory of a named volume.
	Volume func(name string) string
	// Masked are paths in the container to be hidden, beside the usual ones.
	Masked []string
	// Capabilities are all that this kernel knows, as "CAP_CHOWN".
	Capabilities []string
	// Bounding are those of them that we have ourselves and can give to others.
	Bounding []string
	// MaxFiles is our own hard limit: raising it needs a capability one may not
	// have, and then the container would not start at all.
	MaxFiles uint64
	// Device gives the number of a device that is limited.
	Device func(runner.DeviceLimit) (runner.DeviceNumber, error)
	// Nodes gives the device files of a device that the container may open.
	Nodes func(runner.Device) ([]runner.DeviceNode, error)
	// AppArmor is the loaded profile to run under, "" for none.
	AppArmor string
	// SwapLimit: the kernel can limit swap.
	SwapLimit bool
}

// User is a user as found in the container's own files.
type User struct {
	UID, GID uint32
	Groups   []uint32
	Home     string
}

// Build computes the specification.
func Build(c *runner.Config, h Host) (*specs.Spec, error) {
	mounts, err := mounts(c, h)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(c, h)
	if err != nil {
		return nil, err
	}
	limits, err := resources(c.Limits, h)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version:    specs.Version,
		Root:       &specs.Root{Path: h.Root, Readonly: c.ReadOnlyRoot},
		Hostname:   c.Hostname,
		Domainname: c.Domainname,
		Process:    process(c, h, caps),
		Mounts:     mounts,
		Linux: &specs.Linux{
			CgroupsPath:   CgroupPath(c),
			Namespaces:    namespaces(h),
			MaskedPaths:   append(maskedPaths(), h.Masked...),
			ReadonlyPaths: readonlyPaths(),
			Resources:     limits,
			Sysctl:        sysctls(c),
		},
	}
	if err := addDevices(s.Linux, c.Devices, h.Nodes); err != nil {
		return nil, err
	}
	s.Linux.Seccomp, err = seccompProfile(c.Security.Seccomp, s)
	return s, err
}

// CgroupPath of a container, below the root of the cgroup hierarchy.
func CgroupPath(c *runner.Config) string {
	return strings.TrimSuffix(c.CgroupParent, "/") + "/" + string(c.ID)
}

func namespaces(h Host) []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace},
		{Type: specs.MountNamespace},
		{Type: specs.UTSNamespace},
		{Type: specs.IPCNamespace},
		{Type: specs.CgroupNamespace},
	}
	if h.Netns != "" {
		ns = append(ns, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: h.Netns})
	}
	if h.Userns != "" {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UserNamespace, Path: h.Userns})
	}
	return ns
}

// sysctls: in a network namespace of its own a container may ping and use low
// ports without capabilities, as in docker.
func sysctls(c *runner.Config) map[string]string {
	all := map[string]string{}
	if c.Network.OwnNamespace() {
		all["net.ipv4.ip_unprivileged_port_start"] = "0"
		all["net.ipv4.ping_group_range"] = "0 " + strconv.FormatInt(lastGroup(c.Userns), 10)
	}
	for k, v := range c.Sysctls {
		all[k] = v
	}
	return all
}

// lastGroup is the last group that may ping: the kernel refuses one that the
// container's user namespace does not have.
func lastGroup(u runner.Userns) int64 {
	for _, m := range u.IDs.GIDMaps {
		if m.ID == 0 {
			return min(m.Count-1, math.MaxInt32)
		}
	}
	return math.MaxInt32
}

// DefaultPath is what a container has that says nothing else.
const DefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func process(c *runner.Config, h Host, caps *specs.LinuxCapabilities) *specs.Process {
	env := []string{DefaultPath, "HOSTNAME=" + c.Hostname, "HOME=" + h.User.Home}
	if c.Process.TTY {
		env = append(env, "TERM=xterm")
	}
	dir := c.Process.Dir
	if dir == "" {
		dir = "/"
	}
	return &specs.Process{
		Terminal:        c.Process.TTY,
		ConsoleSize:     ConsoleSize(c.Process.Window),
		Args:            c.Process.Args,
		Env:             MergeEnv(env, c.Process.Env),
		Cwd:             dir,
		User:            specs.User{UID: h.User.UID, GID: h.User.GID, AdditionalGids: h.User.Groups, Umask: umask(c.Process)},
		Capabilities:    caps,
		ApparmorProfile: h.AppArmor,
		NoNewPrivileges: !c.Security.NewPrivileges,
		Rlimits:         rlimits(c.Limits.Ulimits, h.MaxFiles),
		OOMScoreAdj:     &c.Process.OOMScoreAdj, // the monitor's own is -999 and would be inherited
	}
}

func umask(p runner.Process) *uint32 {
	if p.Umask != nil {
		return p.Umask
	}
	return new(uint32(0o022))
}

// ConsoleSize is a window in the specification's words, nil if it is open.
func ConsoleSize(w runner.Window) *specs.Box {
	if w == (runner.Window{}) {
		return nil
	}
	return &specs.Box{Height: uint(w.Rows), Width: uint(w.Columns)}
}

// MergeEnv adds pairs to env; a pair replaces an earlier one of its name.
func MergeEnv(env, pairs []string) []string {
	out := slices.Clone(env)
	for _, p := range pairs {
		name, _, _ := strings.Cut(p, "=")
		i := slices.IndexFunc(out, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if i < 0 {
			out = append(out, p)
		} else {
			out[i] = p
		}
	}
	return out
}

// maskedPaths and readonlyPaths are moby's.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
		"/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// CheckSysctl refuses what is not the container's own to set.
func CheckSysctl(name string, mode runner.NetworkMode) error {
	switch {
	case strings.HasPrefix(name, "net."):
		if mode.OwnNamespace() {
			return nil
		}
		return fmt.Errorf("sysctl %s: not allowed in the network namespace of the host or of another container", name)
	case strings.HasPrefix(name, "fs.mqueue."), slices.Contains(ipcSysctls(), name):
		return nil
	}
	return fmt.Errorf("sysctl %s: not of a container's own namespaces (allowed: net.*, fs.mqueue.*, kernel.msg*, kernel.sem, kernel.shm*)", name)
}

func ipcSysctls() []string {
	return []string{
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
		"kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
	}
}
