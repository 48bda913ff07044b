package netctl

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// minMemory is docker's: with less a container can't even be started.
const minMemory = 6 << 20

func (f *containerFlags) fillLimits(cfg *runner.Config) error {
	l := &cfg.Limits
	l.CPUShares, l.CPUSet, l.MemoryNodes, l.Pids = f.cpuShares, f.cpuSet, f.memoryNodes, f.pids
	for _, size := range []struct {
		flag, text string
		into       *int64
	}{
		{"--memory", f.memory, &l.Memory}, {"--memory-swap", f.memorySwap, &l.MemorySwap},
		{"--memory-reservation", f.memoryReservation, &l.MemoryReservation}, {"--shm-size", f.shmSize, &l.ShmSize},
	} {
		if err := parseSize(size.flag, size.text, size.into); err != nil {
			return err
		}
	}
	if f.pids < -1 {
		return usageError("--pids-limit %d: want a number, or -1 for no limit", f.pids)
	}
	if l.Memory != 0 && l.Memory < minMemory {
		return usageError("--memory %s: at least 6m is needed", f.memory)
	}
	if l.MemorySwap > 0 && l.Memory == 0 {
		return usageError("--memory-swap %s: is memory and swap together, so --memory is needed too", f.memorySwap)
	}
	if l.MemorySwap > 0 && l.MemorySwap < l.Memory {
		return usageError("--memory-swap %s: is memory and swap together, so at least --memory %s", f.memorySwap, f.memory)
	}
	if l.Memory != 0 && l.MemoryReservation > l.Memory {
		return usageError("--memory-reservation %s: want no more than --memory %s", f.memoryReservation, f.memory)
	}
	if err := f.fillCPU(l); err != nil {
		return err
	}
	if f.ioWeight != 0 && (f.ioWeight < 10 || f.ioWeight > 1000) {
		return usageError("--blkio-weight %d: want 10 to 1000", f.ioWeight)
	}
	l.IOWeight = f.ioWeight
	for _, text := range f.ulimits {
		u, err := parseUlimit(text)
		if err != nil {
			return err
		}
		l.Ulimits = append(l.Ulimits, u)
	}
	return f.devices.fill(l)
}

// fillCPU reads how much CPU, and which.
func (f *containerFlags) fillCPU(l *runner.Limits) error {
	if err := checkCPUSet(f.cpuSet); err != nil {
		return err
	}
	if f.memoryNodes != "" {
		if _, err := parseCPUSet(f.memoryNodes); err != nil {
			return usageError("--cpuset-mems %s: want numbers and ranges of memory nodes such as 0-1", f.memoryNodes)
		}
	}
	// The kernel's own bounds (sched-bwc).
	if p := f.cpuPeriod; p != 0 && (p < 1000 || p > 1000000) {
		return usageError("--cpu-period %d: want 1000 to 1000000 microseconds", p)
	}
	if q := f.cpuQuota; q != 0 && (q < 1000 || q > 1e12) {
		return usageError("--cpu-quota %d: want at least 1000 microseconds", q)
	}
	if f.cpus != "" && f.cpuPeriod+f.cpuQuota != 0 {
		return usageError("--cpus %s can't be combined with --cpu-period and --cpu-quota: it is their quotient", f.cpus)
	}
	l.CPUPeriod, l.CPUQuota = f.cpuPeriod, int64(f.cpuQuota)
	var err error
	l.NanoCPUs, err = parseCPUs(f.cpus)
	return err
}

func parseSize(flag, text string, into *int64) error {
	if text == "" {
		return nil
	}
	if flag == "--memory-swap" && text == "-1" {
		*into = -1
		return nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil || n <= 0 {
		return usageError("%s %s: want a number with b, k, m or g", flag, text)
	}
	*into = n
	return nil
}

func parseCPUs(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0.01) || n > 1e4 { // not-a-number is neither
		return 0, usageError("--cpus %s: want a number of CPUs such as 1.5, at least 0.01", text)
	}
	return int64(math.Round(n * 1e9)), nil
}

func parseUlimit(text string) (runner.Ulimit, error) {
	name, values, _ := strings.Cut(text, "=")
	soft, hard, given := strings.Cut(values, ":")
	if !given {
		hard = soft
	}
	u := runner.Ulimit{Name: strings.ToLower(name)}
	var err1, err2 error
	u.Soft, err1 = parseLimit(soft)
	u.Hard, err2 = parseLimit(hard)
	if !slices.Contains(ulimitNames(), u.Name) || err1 != nil || err2 != nil || u.Soft > u.Hard {
		return u, usageError("--ulimit %s: want NAME=SOFT[:HARD] with one of %s", text, strings.Join(ulimitNames(), ", "))
	}
	return u, nil
}

// parseLimit: -1 means none.
func parseLimit(text string) (uint64, error) {
	if text == "-1" || text == "unlimited" {
		return unix.RLIM_INFINITY, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

func ulimitNames() []string {
	return []string{
		"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
		"rtprio", "rttime", "sigpending", "stack",
	}
}

// checkCapabilities refuses names the kernel doesn't know.
func checkCapabilities(flag string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	known, err := capability.ListSupported()
	if err != nil {
		return fmt.Errorf("list capabilities: %w", err)
	}
	var all []string
	for _, c := range known {
		all = append(all, "CAP_"+strings.ToUpper(c.String()))
	}
	for _, n := range names {
		if err := spec.CheckCapability(n, all); err != nil {
			return usageError("%s: %w", flag, err)
		}
	}
	return nil
}

// parseSignal reads a name with or without SIG, or a number.
func parseSignal(text string) (unix.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("invalid signal: %s", text)
}
