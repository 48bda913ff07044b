package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Where things are on a lab host.
const (
	netnsDir  = "/run/netns"
	DoubleDir = "/run/cni-conformance/bin" // the programmable delegate, see package double
	StateDir  = "/run/cni-conformance/state"
)

// private are the directories a plugin may keep state in. Each that exists on
// the machine is covered by an empty memory file system.
func private() []string { return []string{"/run", "/var/lib", "/etc/cni"} }

// Host is a lab machine with its uplink, its containers, and a record of what
// was done to it as shell lines.
type Host struct {
	*Netns
	Outside *Netns // the network beyond the uplink
	Script  Script

	uplink     string
	self       string
	keep       []string
	containers []*Container
}

// Options choose what a host looks like.
type Options struct {
	Uplink string   // name of the interface to the outside; "" is eth0
	Keep   []string // directories that must stay visible although a private one covers them
	Self   string   // the executable that plays the delegate
}

// NewHost makes a host with an uplink and a default route.
func NewHost(o Options) (*Host, error) {
	h := &Host{uplink: o.Uplink, self: o.Self, keep: o.Keep}
	if h.uplink == "" {
		h.uplink = "eth0"
	}
	var err error
	h.Netns, err = newNetns("host", func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			return err
		}
		return cover(o)
	})
	if err != nil {
		return nil, err
	}
	if err := h.connect(); err != nil {
		h.Close()
		return nil, err
	}
	h.Netns.recordTo(&h.Script, "")
	h.Outside.recordTo(&h.Script, "ip netns exec outside ")
	return h, nil
}

// cover mounts the private file systems. It runs on the host's thread.
func cover(o Options) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	keep, err := openDirs(append([]string{filepath.Dir(o.Self)}, o.Keep...))
	if err != nil {
		return err
	}
	defer closeDirs(keep)
	for _, dir := range private() {
		if err := coverDir(dir); err != nil {
			return err
		}
	}
	for dir, fd := range keep {
		if err := restore(dir, fd); err != nil {
			return err
		}
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	return furnish(o.Self)
}

func coverDir(dir string) error {
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cover %s: %w", dir, err)
	}
	return nil
}

// openDirs holds on to those directories that a private one would hide.
func openDirs(dirs []string) (map[string]int, error) {
	held := map[string]int{}
	for _, dir := range dirs {
		if !hidden(dir) {
			continue
		}
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			closeDirs(held)
			return nil, fmt.Errorf("keep %s visible: %w", dir, err)
		}
		held[dir] = fd
	}
	return held, nil
}

func hidden(dir string) bool {
	for _, p := range private() {
		if dir == p || strings.HasPrefix(dir, p+"/") {
			return true
		}
	}
	return false
}

func closeDirs(held map[string]int) {
	for _, fd := range held {
		unix.Close(fd)
	}
}

func restore(dir string, fd int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/thread-self/fd/%d", fd), dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keep %s visible: %w", dir, err)
	}
	return nil
}

// furnish makes the directories plugins and the delegate expect.
func furnish(self string) error {
	for _, dir := range []string{netnsDir, DoubleDir, StateDir, "/var/lib/cni"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if self == "" {
		return nil
	}
	return os.Symlink(self, filepath.Join(DoubleDir, "conformance-ipam"))
}

// Reboot makes the host this one would be after a power cut: what is on disk
// is still there; /run, links, rules and namespaces are gone; the boot has
// another identifier. The old host is closed.
func (h *Host) Reboot() (*Host, error) {
	disk, err := h.disk()
	if err != nil {
		return nil, fmt.Errorf("read the disk: %w", err)
	}
	h.Close()
	again, err := NewHost(Options{Uplink: h.uplink, Self: h.self, Keep: h.keep})
	if err != nil {
		return nil, err
	}
	again.Script.Cannot("before the last steps, the host is rebooted")
	if err := again.Do(func() error { return boot(disk) }); err != nil {
		again.Close()
		return nil, fmt.Errorf("boot again: %w", err)
	}
	return again, nil
}

// Close ends the host, its containers and the outside.
func (h *Host) Close() {
	for _, c := range h.containers {
		c.Close()
	}
	if h.Outside != nil {
		h.Outside.Close()
	}
	h.Netns.Close()
}

// ReadFile reads a file as the host sees it.
func (h *Host) ReadFile(path string) ([]byte, error) {
	var b []byte
	err := h.Do(func() (err error) { b, err = os.ReadFile(path); return err })
	return b, err
}

// WriteFile writes a file on the host, making its directory.
func (h *Host) WriteFile(path string, content []byte, mode os.FileMode) error {
	h.Script.Addf("mkdir -p %s; printf %%s %s > %s; chmod %o %s", q(filepath.Dir(path)), q(string(content)), q(path), mode, q(path))
	return h.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, content, mode)
	})
}

// trimmed is the text of a file of one line.
func trimmed(b []byte) string { return string(bytes.TrimSpace(b)) }
