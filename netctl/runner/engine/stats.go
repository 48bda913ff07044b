//go:build linux && cgo && seccomp

package engine

import (
	"time"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

func (c container) Stats() (*Stats, error) {
	s, err := c.c.Stats()
	if err != nil {
		return nil, err
	}
	cg := s.CgroupStats
	out := &Stats{
		Read:        time.Now(),
		CPU:         time.Duration(cg.CpuStats.CpuUsage.TotalUsage),
		Memory:      memoryInUse(&cg.MemoryStats),
		MemoryLimit: memoryLimit(cg.MemoryStats.Usage.Limit),
		Pids:        cg.PidsStats.Current,
	}
	for _, e := range cg.BlkioStats.IoServiceBytesRecursive {
		switch e.Op {
		case "Read", "read":
			out.BlockRead += e.Value
		case "Write", "write":
			out.BlockWrite += e.Value
		}
	}
	return out, nil
}

// memoryInUse leaves out the inactive file cache, as docker does: it is what
// the kernel takes back first.
func memoryInUse(m *cgroups.MemoryStats) uint64 {
	inactive := m.Stats["total_inactive_file"] // v1
	if v2, ok := m.Stats["inactive_file"]; ok && inactive == 0 {
		inactive = v2
	}
	if inactive > m.Usage.Usage {
		return m.Usage.Usage
	}
	return m.Usage.Usage - inactive
}

func memoryLimit(limit uint64) uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return limit
	}
	return min(limit, info.Totalram*uint64(info.Unit))
}
