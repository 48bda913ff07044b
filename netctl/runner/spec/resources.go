package spec

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
)

const (
	defaultPids = 2048   // a fork bomb is the cheapest attack there is
	cpuPeriod   = 100000 // microseconds
	maxFiles    = 524288 // hard limit; the soft one is 1024, as systemd gives it
	softFiles   = 1024
)

func resources(l runner.Limits, h Host) (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{
		// Everything is denied; the engine allows the usual nodes again.
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
		Pids:    pids(l.Pids),
		Memory:  memory(l, h.SwapLimit),
	}
	if l.NanoCPUs > 0 || l.CPUPeriod > 0 || l.CPUQuota > 0 || l.CPUShares > 0 || l.CPUSet+l.MemoryNodes != "" {
		r.CPU = cpu(l)
	}
	var err error
	r.BlockIO, err = blockIO(l.Devices, h.Device)
	if err == nil && l.IOWeight > 0 {
		if r.BlockIO == nil {
			r.BlockIO = &specs.LinuxBlockIO{}
		}
		r.BlockIO.Weight = &l.IOWeight
	}
	return r, err
}

// addDevices makes device files and allows to open them.
func addDevices(to *specs.Linux, devices []runner.Device, look func(runner.Device) ([]runner.DeviceNode, error)) error {
	for _, d := range devices {
		nodes, err := look(d)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			kind := "c"
			if n.Block {
				kind = "b"
			}
			to.Devices = append(to.Devices, specs.LinuxDevice{
				Path: n.Path, Type: kind, Major: n.Major, Minor: n.Minor, FileMode: &n.Mode, UID: &n.UID, GID: &n.GID,
			})
			to.Resources.Devices = append(to.Resources.Devices, specs.LinuxDeviceCgroup{
				Allow: true, Type: kind, Major: &n.Major, Minor: &n.Minor, Access: d.Access,
			})
		}
	}
	return nil
}

// blockIO are the rates of devices: blkio.throttle.* or io.max.
func blockIO(limits []runner.DeviceLimit, number func(runner.DeviceLimit) (runner.DeviceNumber, error)) (*specs.LinuxBlockIO, error) {
	if len(limits) == 0 {
		return nil, nil
	}
	b := &specs.LinuxBlockIO{}
	for _, l := range limits {
		n, err := number(l)
		if err != nil {
			return nil, err
		}
		for _, kind := range []struct {
			rate uint64
			into *[]specs.LinuxThrottleDevice
		}{
			{l.ReadBps, &b.ThrottleReadBpsDevice}, {l.WriteBps, &b.ThrottleWriteBpsDevice},
			{l.ReadIOps, &b.ThrottleReadIOPSDevice}, {l.WriteIOps, &b.ThrottleWriteIOPSDevice},
		} {
			if kind.rate == 0 {
				continue
			}
			d := specs.LinuxThrottleDevice{Rate: kind.rate}
			d.Major, d.Minor = n.Major, n.Minor
			*kind.into = append(*kind.into, d)
		}
	}
	return b, nil
}

func pids(limit int64) *specs.LinuxPids {
	if limit == 0 {
		limit = defaultPids
	}
	return &specs.LinuxPids{Limit: &limit}
}

func memory(l runner.Limits, swapLimit bool) *specs.LinuxMemory {
	if l.Memory == 0 && l.MemoryReservation == 0 {
		return nil
	}
	m := &specs.LinuxMemory{}
	if l.MemoryReservation > 0 {
		m.Reservation = &l.MemoryReservation
	}
	if l.Memory == 0 {
		return m
	}
	m.Limit = &l.Memory
	if swapLimit {
		// The specification counts memory and swap together. As much swap
		// again as memory is docker's default.
		swap := l.MemorySwap
		if swap == 0 {
			swap = 2 * l.Memory
		}
		m.Swap = &swap
	}
	return m
}

func cpu(l runner.Limits) *specs.LinuxCPU {
	c := &specs.LinuxCPU{Cpus: l.CPUSet, Mems: l.MemoryNodes}
	if l.CPUPeriod > 0 {
		c.Period = &l.CPUPeriod
	}
	if l.CPUQuota > 0 {
		c.Quota = &l.CPUQuota
	}
	if l.NanoCPUs > 0 {
		quota, period := l.NanoCPUs*cpuPeriod/1e9, uint64(cpuPeriod)
		c.Quota, c.Period = &quota, &period
	}
	if l.CPUShares > 0 {
		c.Shares = &l.CPUShares
	}
	return c
}

// rlimits starts with nofile, clamped to what we have ourselves.
func rlimits(asked []runner.Ulimit, hostMax uint64) []specs.POSIXRlimit {
	hard := min(maxFiles, hostMax)
	out := []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: min(softFiles, hard), Hard: hard}}
	for _, u := range asked {
		l := specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: u.Soft, Hard: u.Hard}
		if l.Type == "RLIMIT_NOFILE" {
			out[0] = specs.POSIXRlimit{Type: l.Type, Soft: min(l.Soft, hostMax), Hard: min(l.Hard, hostMax)}
			continue
		}
		out = append(out, l)
	}
	return out
}
