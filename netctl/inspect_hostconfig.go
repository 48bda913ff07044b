package netctl

import (
	"cmp"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

// hostConfigObject is what inspect shows of how a container is run: docker's
// HostConfig.
type hostConfigObject struct {
	NetworkMode       string
	PortBindings      map[string][]bindingObject
	AutoRemove        bool
	Init              bool
	RestartPolicy     restartObject
	Binds             []string
	CapAdd            []string
	CapDrop           []string
	Dns               []string
	DnsOptions        []string
	DnsSearch         []string
	ExtraHosts        []string
	ReadonlyRootfs    bool
	SecurityOpt       []string
	Sysctls           map[string]string
	Memory            int64
	MemorySwap        int64
	NanoCpus          int64
	CpuShares         uint64
	CpuPeriod         uint64
	CpuQuota          int64
	CpusetCpus        string
	CpusetMems        string
	MemoryReservation int64
	BlkioWeight       uint16
	OomScoreAdj       int
	GroupAdd          []string
	Devices           []deviceObject
	PidsLimit         int64
	ShmSize           int64
	Ulimits           []ulimitObject
	Tmpfs             map[string]string `json:",omitempty"`
	Privileged        bool              // never: it is not offered
	LogConfig         logConfigObject

	BlkioDeviceReadBps   []throttleObject
	BlkioDeviceWriteBps  []throttleObject
	BlkioDeviceReadIOps  []throttleObject
	BlkioDeviceWriteIOps []throttleObject

	CgroupParent string
	UsernsMode   string
	// IDMappings are podman's.
	IDMappings *idMappingsObject `json:",omitempty"`
}

// deviceObject is a --device.
type deviceObject struct{ PathOnHost, PathInContainer, CgroupPermissions string }

type idMappingsObject struct{ UidMap, GidMap []string }

type restartObject struct {
	Name              string
	MaximumRetryCount int
}

// logFormat is podman's name for the format of our logs, which is Kubernetes' own.
const logFormat = "k8s-file"

type logConfigObject struct {
	Type   string
	Config map[string]string
}

type ulimitObject struct {
	Name       string
	Hard, Soft uint64
}

// throttleObject is a limit on a device, of bytes or operations a second.
type throttleObject struct {
	Path string
	Rate uint64
}

func newHostConfigObject(rec runner.Container) hostConfigObject {
	o := hostConfigObject{
		NetworkMode: networkModeText(rec), PortBindings: map[string][]bindingObject{}, AutoRemove: rec.AutoRemove,
		Init:          rec.Process.Init,
		RestartPolicy: restartObject{cmp.Or(string(rec.Restart.When), "no"), rec.Restart.MaxRetries},
		CapAdd:        rec.CapAdd, CapDrop: rec.CapDrop, DnsOptions: orNone(rec.Names.Options), DnsSearch: orNone(rec.Names.Search),
		Dns: []string{}, ReadonlyRootfs: rec.ReadOnlyRoot, SecurityOpt: securityTexts(rec.Security), Sysctls: rec.Sysctls,
		Memory: rec.Limits.Memory, MemorySwap: rec.Limits.MemorySwap, NanoCpus: rec.Limits.NanoCPUs,
		CpuShares: rec.Limits.CPUShares, CpusetCpus: rec.Limits.CPUSet, PidsLimit: rec.Limits.Pids,
		ShmSize: rec.Limits.ShmSize, CgroupParent: rec.CgroupParent,
		LogConfig: logConfigObject{logFormat, map[string]string{}},
	}
	o.addLimits(rec.Limits)
	o.GroupAdd, o.OomScoreAdj, o.Devices = rec.Process.Groups, rec.Process.OOMScoreAdj, []deviceObject{}
	for _, d := range rec.Devices {
		o.Devices = append(o.Devices, deviceObject{d.Path, d.Target, d.Access})
	}
	if rec.Userns.Own() {
		o.UsernsMode = rec.Userns.String()
		o.IDMappings = &idMappingsObject{runner.IDMapTexts(rec.Userns.IDs.UIDMaps), runner.IDMapTexts(rec.Userns.IDs.GIDMaps)}
	}
	for _, e := range rec.Endpoints {
		addBindings(o.PortBindings, e.Ports)
	}
	for _, a := range rec.Names.Servers {
		o.Dns = append(o.Dns, a.String())
	}
	for _, h := range rec.Names.Hosts {
		o.ExtraHosts = append(o.ExtraHosts, h.Name+":"+addrOr(h.Addr, "host-gateway"))
	}
	for _, m := range rec.Mounts {
		if m.Kind == runner.MountTmpfs {
			o.addTmpfs(m)
		} else {
			o.Binds = append(o.Binds, strings.TrimSuffix(m.Source+":"+m.Target+":"+mountMode(m), ":"))
		}
	}
	return o
}

func networkModeText(rec runner.Container) string {
	switch rec.Network.Kind {
	case runner.NetworkAttached:
		if len(rec.Endpoints) == 0 { // disconnected from all
			return string(runner.NetworkNone)
		}
		return rec.Endpoints[0].Network
	case runner.NetworkContainer, runner.NetworkPath:
		return string(rec.Network.Kind) + ":" + rec.Network.Target
	}
	return string(rec.Network.Kind)
}

func securityTexts(s runner.Security) []string {
	var out []string
	if s.NewPrivileges {
		out = append(out, "no-new-privileges=false")
	}
	if s.Seccomp != "" {
		out = append(out, "seccomp="+s.Seccomp)
	}
	return out
}

// addLimits adds those that are lists.
func (o *hostConfigObject) addLimits(l runner.Limits) {
	o.CpuPeriod, o.CpuQuota, o.CpusetMems = l.CPUPeriod, l.CPUQuota, l.MemoryNodes
	o.MemoryReservation, o.BlkioWeight = l.MemoryReservation, l.IOWeight
	for _, u := range l.Ulimits {
		o.Ulimits = append(o.Ulimits, ulimitObject{u.Name, u.Hard, u.Soft})
	}
	for _, d := range l.Devices {
		for _, kind := range []struct {
			list *[]throttleObject
			rate uint64
		}{
			{&o.BlkioDeviceReadBps, d.ReadBps}, {&o.BlkioDeviceWriteBps, d.WriteBps},
			{&o.BlkioDeviceReadIOps, d.ReadIOps}, {&o.BlkioDeviceWriteIOps, d.WriteIOps},
		} {
			if kind.rate > 0 {
				*kind.list = append(*kind.list, throttleObject{d.Path, kind.rate})
			}
		}
	}
}

func (o *hostConfigObject) addTmpfs(m runner.Mount) {
	if o.Tmpfs == nil {
		o.Tmpfs = map[string]string{}
	}
	o.Tmpfs[m.Target] = strings.Join(m.Options, ",")
}
