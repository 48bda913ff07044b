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
	if l.NanoCPUs > 0 || l.CPUShares > 0 || l.CPUSet != "" {
		r.CPU = cpu(l)
	}
	var err error
	r.BlockIO, err = blockIO(l.Devices, h.Device)
	return r, err
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
	if l.Memory == 0 {
		return nil
	}
	m := &specs.LinuxMemory{Limit: &l.Memory}
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
	c := &specs.LinuxCPU{Cpus: l.CPUSet}
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
