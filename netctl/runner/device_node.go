package runner

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Device is a device of the host, or a directory of such, that a container may open
// (--device).
type Device struct {
	Path   string `json:"path"`   // on the host
	Target string `json:"target"` // in the container
	// Access is what it may do: letters of "rwm", read, write and make the node.
	Access string `json:"access"`
}

// DeviceNode is a device file as the kernel and the container's root see it.
type DeviceNode struct {
	DeviceNumber
	Path     string // in the container
	Block    bool   // or a character device
	Mode     fs.FileMode
	UID, GID uint32
}

// Nodes looks up what is at the path at the moment: one device, or all below a
// directory (as /dev/snd), where what is no device is passed over.
func (d Device) Nodes() ([]DeviceNode, error) {
	node, err := deviceNode(d.Path, d.Target)
	if err == nil {
		return []DeviceNode{node}, nil
	}
	var st unix.Stat_t
	if statErr := unix.Stat(d.Path, &st); statErr != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, err
	}
	var nodes []DeviceNode
	walkErr := filepath.WalkDir(d.Path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		below, err := filepath.Rel(d.Path, path)
		if err != nil {
			return err
		}
		if node, err := deviceNode(path, filepath.Join(d.Target, below)); err == nil {
			nodes = append(nodes, node)
		}
		return nil
	})
	if walkErr == nil && len(nodes) == 0 {
		walkErr = fmt.Errorf("there is no device below %s", d.Path)
	}
	return nodes, walkErr
}

func deviceNode(path, target string) (DeviceNode, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return DeviceNode{}, fmt.Errorf("device %s: %w", path, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFBLK && kind != unix.S_IFCHR {
		return DeviceNode{}, fmt.Errorf("%s is not a device", path)
	}
	return DeviceNode{
		DeviceNumber: DeviceNumber{int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))},
		Path:         target, Block: kind == unix.S_IFBLK, Mode: fs.FileMode(st.Mode & 0o777), UID: st.Uid, GID: st.Gid,
	}, nil
}
