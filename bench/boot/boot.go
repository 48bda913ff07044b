// Package boot makes folders for what belongs to a boot. On a host these are
// below /run, which is in memory; a machine that runs benchmarks may have /run on
// a disk, where writing costs several times as much.
package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memory is a tmpfs wherever there is shared memory, shm_overview(7).
const memory = "/dev/shm"

// Dir makes a new folder in memory, which the caller removes.
func Dir(pattern string) (string, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err != nil {
		return "", fmt.Errorf("look for a folder in memory: %s: %w", memory, err)
	}
	if fs.Type != unix.TMPFS_MAGIC {
		return "", fmt.Errorf("look for a folder in memory: %s is no tmpfs: mount one there", memory)
	}
	return os.MkdirTemp(memory, pattern)
}
