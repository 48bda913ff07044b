package store

import (
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/netctl/netctl/netctl/runner"
)

// Usage is the bytes on disk that a container's own changes and its logs take.
func (s *Store) Usage(id runner.ID) int64 {
	return DiskUsage(s.WorkDir(id)) + DiskUsage(s.LogPath(id)) + DiskUsage(s.LogPath(id)+".1") + DiskUsage(s.LogPath(id)+".2")
}

// DiskUsage is the bytes on disk of a tree: what is there when it is looked at,
// hard links once, other file systems not. What can't be read counts nothing.
func DiskUsage(path string) int64 {
	type inode struct{ dev, ino uint64 }
	var total int64
	var device uint64
	seen := map[inode]bool{}
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it has gone, or is not ours to read
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if device == 0 {
			device = uint64(st.Dev)
		}
		if uint64(st.Dev) != device {
			if d.IsDir() {
				return fs.SkipDir // of a file it would leave out those behind it
			}
			return nil
		}
		if key := (inode{uint64(st.Dev), st.Ino}); st.Nlink > 1 && !d.IsDir() {
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		total += st.Blocks * 512 // stat(2): whatever the file system's blocks are
		return nil
	})
	return total
}
