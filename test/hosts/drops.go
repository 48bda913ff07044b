package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// machineDrops is how many packets the kernel has dropped so far for want of
// room that all namespaces of the machine share: in the queue between two ends
// of a link (net.core.netdev_max_backlog, for each processor) and in the table
// of neighbours (gc_thresh3). Nobody in a namespace can do anything about these.
func machineDrops() (total int64, err error) {
	// The thread's: the process's first thread may have ended. Neighbours are
	// counted in the machine's first namespace only.
	for file, column := range map[string]int{"thread-self/net/softnet_stat": 1, "1/net/stat/arp_cache": 12, "1/net/stat/ndisc_cache": 12} {
		data, err := os.ReadFile("/proc/" + file)
		if errors.Is(err, fs.ErrNotExist) && column > 1 {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("what the machine has dropped: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) <= column {
				return 0, fmt.Errorf("what the machine has dropped: %s: %q has no column %d", file, line, column+1)
			}
			if n, err := strconv.ParseInt(fields[column], 16, 64); err == nil { // or a heading
				total += n
			}
		}
	}
	return total, nil
}
