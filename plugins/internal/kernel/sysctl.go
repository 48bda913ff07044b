package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// SetSysctls sets parameters of the host's namespace.
func (h *Host) SetSysctls(sysctls []wire.Sysctl) error {
	for _, s := range sysctls {
		if err := setSysctl(s); err != nil && !noIPv6(err) {
			return err
		}
	}
	return nil
}

// setSysctl writes a parameter of the namespace of the calling thread, unless
// it has the value already: in nested and rootless containers the tree may be
// read-only, and a parameter that is right needs no writing (netavark#825).
func setSysctl(s wire.Sysctl) error {
	path := filepath.Join("/proc/sys", s.Path)
	have, err := os.ReadFile(path)
	if err == nil && string(bytes.TrimSpace(have)) == s.Value {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, []byte(s.Value), 0o644)
	}
	if err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", strings.ReplaceAll(s.Path, "/", "."), s.Value, err)
	}
	return nil
}

// noIPv6 tells that a parameter is absent. The kernel may have been booted
// without IPv6; nothing that needs such a parameter can then happen.
func noIPv6(err error) bool { return errors.Is(err, fs.ErrNotExist) }
