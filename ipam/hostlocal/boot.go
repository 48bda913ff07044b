package hostlocal

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Boot is an instant at or before the machine's start, by the clock that file
// times are taken from: what was written before it was written in an earlier
// boot.
//
// The kernel's own answer, the present less the time since boot, is right only
// if the clock has never been set in between. Where it has been set forward, a
// machine without a battery clock after its first NTP answer, a virtual machine
// that was paused or restored from a snapshot, files of this very boot would
// look older than it, and living containers would lose their addresses. So
// there are witnesses: objects that exist only in memory, made early in this
// boot by the clock of that moment. The earliest instant that any of them names
// is taken. A clock that was set back makes files look younger, which keeps
// them: they go when the machine starts again, or by GC.
func Boot() (time.Time, error) {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}, fmt.Errorf("time since boot: %w", err)
	}
	witnesses, _ := filepath.Glob("/run/*")
	witnesses = append(witnesses, "/dev", "/dev/null", "/run")
	return earliest(time.Now().Add(-time.Duration(since.Nano())), witnesses), nil
}

// earliest gives the earliest of an instant and the times at which objects of
// this boot were made.
func earliest(boot time.Time, witnesses []string) time.Time {
	for _, path := range witnesses {
		if made, ok := madeInMemory(path); ok && made.Before(boot) {
			boot = made
		}
	}
	return boot
}

// madeInMemory tells when an object of a file system in memory was made. Older
// kernels don't keep that for tmpfs; the time of the last change, which nobody
// can set, is of this boot as well.
func madeInMemory(path string) (time.Time, bool) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return time.Time{}, false
	}
	defer unix.Close(fd)
	var system unix.Statfs_t
	if unix.Fstatfs(fd, &system) != nil || !inMemory(system.Type) {
		return time.Time{}, false
	}
	var object unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME|unix.STATX_CTIME, &object) != nil {
		return time.Time{}, false
	}
	made := object.Ctime
	if object.Mask&unix.STATX_BTIME != 0 {
		made = object.Btime
	}
	t := time.Unix(made.Sec, int64(made.Nsec))
	return t, plausible(t)
}

// inMemory tells file systems that don't outlive a boot. That of /dev
// (devtmpfs) has tmpfs's number.
func inMemory(kind int64) bool { return kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC }
