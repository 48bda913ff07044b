package runner

import (
	"net/netip"
	"time"
)

// Config is what was asked for. It is written when the container is made and
// again by a Change; State is what became of it.
type Config struct {
	ID      ID        `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`

	// Image is what the user wrote; Layers are the host directories it stands
	// for, topmost first. They are never written to.
	Image  string   `json:"image"`
	Layers []string `json:"layers"`
	// ImageID is the image of the store they belong to, which is kept while
	// this record exists; empty for directories.
	ImageID string `json:"imageID,omitempty"`

	Process    Process           `json:"process"`
	Hostname   string            `json:"hostname,omitempty"`
	Domainname string            `json:"domainname,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`

	Network   NetworkMode `json:"network"`
	Endpoints []Endpoint  `json:"endpoints,omitempty"`
	Names     NameConfig  `json:"names,omitzero"`
	// Exposed ports are for showing, and for publishing them all (-P).
	Exposed []PortSpec `json:"exposed,omitempty"`

	Mounts       []Mount           `json:"mounts,omitempty"`
	Devices      []Device          `json:"devices,omitempty"`
	ReadOnlyRoot bool              `json:"readOnlyRoot,omitempty"`
	CapAdd       []string          `json:"capAdd,omitempty"`
	CapDrop      []string          `json:"capDrop,omitempty"`
	Limits       Limits            `json:"limits,omitzero"`
	Sysctls      map[string]string `json:"sysctls,omitempty"`
	Security     Security          `json:"security,omitzero"`
	Userns       Userns            `json:"userns,omitzero"`

	Restart RestartPolicy `json:"restart,omitzero"`
	Health  HealthCheck   `json:"health,omitzero"`
	// AutoRemove: the record goes with the process (--rm).
	AutoRemove bool `json:"autoRemove,omitempty"`
	// StopSignal is what stop sends first; empty means SIGTERM.
	StopSignal string `json:"stopSignal,omitempty"`
	// StopTimeout is how many seconds stop waits before it kills, -1 for ever; nil:
	// what stop itself says.
	StopTimeout *int `json:"stopTimeout,omitempty"`
	// CgroupParent is the cgroup below which the container's own is made.
	CgroupParent string `json:"cgroupParent"`
}

// Process is the program of a container.
type Process struct {
	Args []string `json:"args"`
	// EntrypointArgs is how many of Args, from the first, are the entry point's; the
	// others are the command. It is for showing only.
	EntrypointArgs int `json:"entrypointArgs,omitempty"`
	// Env are NAME=value pairs on top of the defaults; nothing of the
	// caller's own environment is passed on.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory; empty means /.
	Dir string `json:"dir,omitempty"`
	// User is UID[:GID] or names, looked up in the container's own files.
	User string `json:"user,omitempty"`
	// Groups are those it is in beside the user's own, by number or name.
	Groups []string `json:"groups,omitempty"`
	// Umask of the program; nil is 0022.
	Umask *uint32 `json:"umask,omitempty"`
	// OOMScoreAdj makes it more (to 1000) or less (to -1000) likely to be killed when
	// the machine has no memory left (proc_pid_oom_score_adj(5)).
	OOMScoreAdj int  `json:"oomScoreAdj,omitempty"`
	TTY         bool `json:"tty,omitempty"`
	// Window is the terminal's first size, so that the program sees it from its
	// beginning; who attaches later changes it.
	Window Window `json:"window,omitzero"`
	// Init puts a small first process before the program, which passes signals
	// on and reaps what the program leaves.
	Init bool `json:"init,omitempty"`
	// OpenStdin keeps standard input open for attached clients.
	OpenStdin bool `json:"openStdin,omitempty"`
}

// Window is the size of a terminal in characters; the zero value leaves it open.
type Window struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// Entrypoint of a container, for showing: the program and its arguments.
func (p Process) Entrypoint() (path string, args []string) {
	if len(p.Args) == 0 {
		return "", nil
	}
	return p.Args[0], p.Args[1:]
}

// Split tells entry point and command apart, as they were given; either may be
// nil.
func (p Process) Split() (entrypoint, command []string) {
	n := min(p.EntrypointArgs, len(p.Args))
	if n > 0 {
		entrypoint = p.Args[:n]
	}
	if n < len(p.Args) {
		command = p.Args[n:]
	}
	return entrypoint, command
}

// NetworkKind is where a container's network namespace comes from.
type NetworkKind string

const (
	NetworkAttached  NetworkKind = "attached"  // a new one, attached to Endpoints
	NetworkNone      NetworkKind = "none"      // a new one with lo only
	NetworkHost      NetworkKind = "host"      // the host's
	NetworkContainer NetworkKind = "container" // that of another container
	NetworkPath      NetworkKind = "ns"        // one bound at a path
)

// NetworkMode is a kind with its object: the other container's ID, or a path.
type NetworkMode struct {
	Kind   NetworkKind `json:"kind"`
	Target string      `json:"target,omitempty"`
}

// OwnNamespace tells whether the container gets a namespace made for it.
func (m NetworkMode) OwnNamespace() bool {
	return m.Kind == NetworkAttached || m.Kind == NetworkNone
}

// NameConfig are the wishes about name resolution inside.
type NameConfig struct {
	Servers []netip.Addr `json:"servers,omitempty"`
	// Search replaces the host's search list; the single entry "." empties it.
	Search  []string   `json:"search,omitempty"`
	Options []string   `json:"options,omitempty"`
	Hosts   []HostName `json:"hosts,omitempty"`
}

// HostName is one --add-host. The zero Addr stands for the gateway.
type HostName struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr,omitzero"`
}

// MountKind is bind, volume or tmpfs.
type MountKind string

const (
	MountBind   MountKind = "bind"
	MountVolume MountKind = "volume"
	MountTmpfs  MountKind = "tmpfs"
)

// Mount is one -v, --mount or --tmpfs.
type Mount struct {
	Kind MountKind `json:"kind"`
	// Source is a host path, a volume's name, or empty.
	Source   string `json:"source,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Named: somebody wrote the volume's name, so it is not this container's to
	// remove, even if it is one that was made up for another container.
	Named bool `json:"named,omitempty"`
	// NoCopy: a new volume stays empty, though the image has files there.
	NoCopy bool `json:"noCopy,omitempty"`
	// MapIDs: a bound directory is seen with the container's ids, as volumes are,
	// where it has a user namespace of its own.
	MapIDs  bool     `json:"mapIDs,omitempty"`
	Options []string `json:"options,omitempty"`
}

// AnonymousVolumes are those made for this container alone.
func (c *Config) AnonymousVolumes() []string {
	var names []string
	for _, m := range c.Mounts {
		if _, err := ParseID(m.Source); err == nil && m.Kind == MountVolume && !m.Named {
			names = append(names, m.Source)
		}
	}
	return names
}

// Limits on resources. Zero means none, but for Pids, where it means the
// default and -1 means none.
type Limits struct {
	Memory     int64 `json:"memory,omitempty"`     // bytes
	MemorySwap int64 `json:"memorySwap,omitempty"` // bytes of memory and swap together, -1 unlimited; 0: as Memory
	// MemoryReservation, in bytes, is what is left to it when memory is scarce.
	MemoryReservation int64         `json:"memoryReservation,omitempty"`
	NanoCPUs          int64         `json:"nanoCPUs,omitempty"`    // 1e9 is one CPU
	CPUPeriod         uint64        `json:"cpuPeriod,omitempty"`   // microseconds; in place of NanoCPUs
	CPUQuota          int64         `json:"cpuQuota,omitempty"`    // microseconds of each period
	CPUShares         uint64        `json:"cpuShares,omitempty"`   // relative weight, 1024 is usual
	CPUSet            string        `json:"cpuSet,omitempty"`      // as "0-2,7"
	MemoryNodes       string        `json:"memoryNodes,omitempty"` // as CPUSet, of NUMA
	Pids              int64         `json:"pids,omitempty"`
	ShmSize           int64         `json:"shmSize,omitempty"`  // bytes of /dev/shm
	IOWeight          uint16        `json:"ioWeight,omitempty"` // relative weight, 10 to 1000
	Ulimits           []Ulimit      `json:"ulimits,omitempty"`
	Devices           []DeviceLimit `json:"devices,omitempty"`
}

// Ulimit is one --ulimit.
type Ulimit struct {
	Name string `json:"name"` // as in "nofile"
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// Security options.
type Security struct {
	// Seccomp is "" for the default profile on the machine's own ABI, "compat"
	// for all its ABIs, "unconfined", or a profile in docker's JSON form.
	Seccomp string `json:"seccomp,omitempty"`
	// AppArmor is a loaded profile's name, "unconfined", or "" for our own where
	// the host has AppArmor.
	AppArmor string `json:"appArmor,omitempty"`
	// NewPrivileges allows set-user-ID programs to work (off by default).
	NewPrivileges bool `json:"newPrivileges,omitempty"`
}
