package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// onDisk are the private directories that survive a reboot.
func onDisk() []string { return []string{"/var/lib", "/etc/cni"} }

// file is a file or directory of the disk.
type file struct {
	path    string
	mode    fs.FileMode
	content []byte
}

// disk reads what survives a reboot.
func (h *Host) disk() ([]file, error) {
	var out []file
	err := h.Do(func() error {
		for _, dir := range onDisk() {
			filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
				if err != nil {
					return nil
				}
				info, err := entry.Info()
				if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
					return err
				}
				content, _ := os.ReadFile(path)
				out = append(out, file{path, info.Mode(), content})
				return nil
			})
		}
		return nil
	})
	return out, err
}

// boot puts the disk back and gives the boot an identifier of its own. It runs
// on the new host's thread.
func boot(disk []file) error {
	for _, f := range disk {
		var err error
		if f.mode.IsDir() {
			err = os.MkdirAll(f.path, f.mode.Perm())
		} else {
			err = os.WriteFile(f.path, f.content, f.mode.Perm())
			// It was written before the power cut: long enough ago to be
			// older than the machine's start, however that is found out.
			before := time.Now().AddDate(-1, 0, 0)
			err = errors.Join(err, os.Chtimes(f.path, before, before))
		}
		if err != nil {
			return err
		}
	}
	id := filepath.Join(StateDir, "boot_id")
	if err := os.WriteFile(id, []byte("c0f0c0f0-0000-4000-8000-000000000001\n"), 0o444); err != nil {
		return err
	}
	return unix.Mount(id, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, "")
}

// Private lists the directories that are empty at first on a lab host, where
// a plugin can keep state.
func Private() []string { return private() }

// Truncate cuts every regular file a plugin keeps below dir to the given share
// of its length (0 empties them).
func (h *Host) Truncate(dir string, share float64) (cut []string, err error) {
	files, err := h.Files(func(path string) bool { return strings.HasPrefix(path, dir+"/") })
	if err != nil {
		return nil, err
	}
	err = h.Do(func() error {
		for _, path := range files {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			length := int64(float64(info.Size()) * share)
			h.Script.Addf("truncate -s %d %s", length, q(path))
			if err := os.Truncate(path, length); err != nil {
				return err
			}
		}
		return nil
	})
	return files, err
}

// FillDisk leaves no room in any private file system until empty is called.
func (h *Host) FillDisk() (empty func() error, err error) {
	var fillers []string
	err = h.Do(func() error {
		for _, dir := range private() {
			if _, err := os.Stat(dir); err != nil {
				continue
			}
			filler := filepath.Join(dir, "conformance-filler")
			fillers = append(fillers, filler)
			h.Script.Addf("mount -o remount,size=4M %s; dd if=/dev/zero of=%s bs=4k 2>/dev/null", dir, filler)
			if err := fill(dir, filler); err != nil {
				return err
			}
		}
		return nil
	})
	return func() error {
		h.Script.Addf("rm -f /run/conformance-filler /var/lib/conformance-filler")
		return h.Do(func() error {
			var errs []error
			for _, filler := range fillers {
				errs = append(errs, os.Remove(filler))
			}
			return errors.Join(errs...)
		})
	}, err
}

func fill(dir, filler string) error {
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=4M"); err != nil {
		return fmt.Errorf("limit %s: %w", dir, err)
	}
	f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
