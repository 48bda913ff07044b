package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// opaqueAttribute on a directory keeps overlayfs from merging it with those
// below (kernel documentation, filesystems/overlayfs).
const opaqueAttribute = "trusted.overlay.opaque"

// xattrPrefix is where pax headers keep extended attributes.
const xattrPrefix = "SCHILY.xattr."

// setAttributes sets the extended attributes that mean the same on every host:
// file capabilities, access control lists, and the users' own. Labels of
// security modules are the host's business and are left out, as by docker.
func setAttributes(dir *os.File, base string, h *tar.Header) error {
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok {
			continue
		}
		switch {
		case strings.Contains(name, "overlay."):
			return fmt.Errorf("attribute %s, which steers overlayfs", name)
		case name == "security.capability", strings.HasPrefix(name, "user."), strings.HasPrefix(name, "system.posix_acl_"):
		default:
			continue
		}
		if h.Typeflag == tar.TypeSymlink && strings.HasPrefix(name, "user.") {
			continue // the kernel has none there
		}
		err := setAttribute(dir, base, name, []byte(value))
		if errors.Is(err, unix.ENOTSUP) {
			continue // the file system has none; docker goes on as well
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setAttribute sets an attribute of base in dir, or of dir if base is ".". The
// way over /proc leads to the open directory whatever its name is by now; the
// last step does not follow links.
func setAttribute(dir *os.File, base, name string, value []byte) error {
	path := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + base
	if err := unix.Lsetxattr(path, name, value, 0); err != nil {
		return fmt.Errorf("attribute %s: %w", name, err)
	}
	return nil
}

func hasAttribute(dir *os.File, name string) bool {
	_, err := unix.Fgetxattr(int(dir.Fd()), name, nil)
	return err == nil
}
