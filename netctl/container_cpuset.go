package netctl

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// onlineCPUs is the kernel's list of processors (sysfs-devices-system-cpu), in the
// same notation as --cpuset-cpus.
const onlineCPUs = "/sys/devices/system/cpu/online"

// checkCPUSet refuses a list that can't be read, or with processors that this host
// has not: the kernel would answer with "invalid argument" alone.
func checkCPUSet(text string) error {
	if text == "" {
		return nil
	}
	wanted, err := parseCPUSet(text)
	if err != nil {
		return usageError("--cpuset-cpus %s: want numbers and ranges of CPUs such as 0-2,7", text)
	}
	online, err := os.ReadFile(onlineCPUs)
	if err != nil {
		return nil // the kernel has the last word anyway
	}
	has := strings.TrimSpace(string(online))
	known, err := parseCPUSet(has)
	if err != nil {
		return fmt.Errorf("%s: %w", onlineCPUs, err)
	}
	for _, n := range wanted {
		if !slices.Contains(known, n) {
			return usageError("--cpuset-cpus %s: this host has no CPU %d (it has %s)", text, n, has)
		}
	}
	return nil
}

// parseCPUSet reads the kernel's list format (cpuset(7)) without strides.
func parseCPUSet(text string) ([]uint64, error) {
	const most = 1 << 13 // more than any kernel is built for
	var list []uint64
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			return nil, err
		}
		last, err := strconv.ParseUint(to, 10, 16)
		if err != nil {
			return nil, err
		}
		if last < first || last > most {
			return nil, fmt.Errorf("invalid range %s", part)
		}
		for n := first; n <= last; n++ {
			list = append(list, n)
		}
	}
	return list, nil
}
