package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// SetSysctls sets parameters of the host's namespace.
func (h *Host) SetSysctls(sysctls []wire.Sysctl) error {
	var different []wire.Sysctl
	for _, s := range sysctls {
		if have, known := h.current(s.Path); !known || have != s.Value {
			different = append(different, s)
		}
	}
	return setAvailable(different)
}

// setSysctls sets parameters of the container's namespace.
func (c *Container) setSysctls(sysctls []wire.Sysctl) error {
	if len(sysctls) == 0 {
		return nil
	}
	return c.do(func() error { return setAvailable(sysctls) })
}

// setAvailable sets parameters of the calling thread's namespace. Those of an
// IPv6 that the kernel was booted without are passed over, and so are optional
// ones in a tree that can't be written.
func setAvailable(sysctls []wire.Sysctl) error {
	for _, s := range sysctls {
		err := setSysctl(s)
		if err != nil && !noIPv6(err) && !(s.Optional && unwritable(err)) {
			return err
		}
	}
	return nil
}

// setSysctl writes a parameter of the namespace of the calling thread, unless
// it has the value already: in nested and rootless containers the tree may be
// read-only, and a parameter that is right needs no writing (netavark#825).
func setSysctl(s wire.Sysctl) error {
	have, err := readSysctl(s.Path)
	if err == nil && sameValue(have, s.Value) {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) { // some can be written only
		err = writeSysctl(s.Path, s.Value)
	}
	if err != nil {
		return fmt.Errorf("set sysctl %s: %w", s, err)
	}
	return nil
}

// readSysctl and writeSysctl spare the runtime's poller, with which package os
// would register each file: an attachment has several.
func readSysctl(path string) (string, error) {
	fd, err := openSysctl(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var value []byte
	for buffer := make([]byte, 512); ; {
		n, err := unix.Read(fd, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return string(bytes.TrimSpace(value)), nil
		default:
			value = append(value, buffer[:n]...)
		}
	}
}

func writeSysctl(path, value string) error {
	fd, err := openSysctl(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

func openSysctl(path string, mode int) (int, error) {
	path = filepath.Join("/proc/sys", path)
	fd, err := unix.Open(path, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return fd, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// sameValue compares without regard to the white space between several numbers,
// which the kernel writes in its own way.
func sameValue(a, b string) bool {
	return slices.Equal(strings.Fields(a), strings.Fields(b))
}

// checkSysctls compares parameters of the container's namespace.
func (c *Container) checkSysctls(sysctls []wire.Sysctl) error {
	if len(sysctls) == 0 {
		return nil
	}
	return c.do(func() error {
		for _, s := range sysctls {
			have, err := readSysctl(s.Path)
			switch {
			case errors.Is(err, fs.ErrPermission): // one that can be written only
			case err != nil:
				return fmt.Errorf("read sysctl %s: %w", s, err)
			case !sameValue(have, s.Value):
				return fmt.Errorf("sysctl %s has the value %q now", s, have)
			}
		}
		return nil
	})
}

// noIPv6 tells that a parameter is absent. The kernel may have been booted
// without IPv6; nothing that needs such a parameter can then happen.
func noIPv6(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// unwritable tells that a parameter is there and can't be set.
func unwritable(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)
}
