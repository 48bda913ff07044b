package runner

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DeviceLimit bounds what a container reads from and writes to a block device.
// Zero is no limit.
type DeviceLimit struct {
	Path                string // of the device on the host
	ReadBps, WriteBps   uint64 `json:",omitempty"` // bytes a second
	ReadIOps, WriteIOps uint64 `json:",omitempty"` // operations a second
}

// DeviceNumber is how the kernel counts a device.
type DeviceNumber struct{ Major, Minor int64 }

// Number looks the device up: numbers may change with a boot, names stay.
func (d DeviceLimit) Number() (DeviceNumber, error) {
	var st unix.Stat_t
	if err := unix.Stat(d.Path, &st); err != nil {
		return DeviceNumber{}, fmt.Errorf("device %s: %w", d.Path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return DeviceNumber{}, fmt.Errorf("%s is not a block device", d.Path)
	}
	return DeviceNumber{int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))}, nil
}
