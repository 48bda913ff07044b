package netctl

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// dockerInfo is what scripts ask `docker info --format` for, in docker's words.
type dockerInfo struct {
	ServerVersion    string
	ContainersPaused int
	Images           int
	Driver           string // of layers
	LoggingDriver    string
	CgroupDriver     string
	OSType           string
	OperatingSystem  string // as /etc/os-release names it
	Architecture     string // the kernel's word, such as x86_64
	NCPU             int
	MemTotal         int64 // bytes
	DockerRootDir    string
}

func newDockerInfo(app *App, name *unix.Utsname) (dockerInfo, error) {
	info := dockerInfo{
		ServerVersion: version(), Driver: "overlay", LoggingDriver: logFormat, CgroupDriver: "cgroupfs",
		OSType: runtime.GOOS, OperatingSystem: operatingSystem(), Architecture: unix.ByteSliceToString(name.Machine[:]),
		NCPU: runtime.NumCPU(), DockerRootDir: app.DataDir,
	}
	var memory unix.Sysinfo_t
	if err := unix.Sysinfo(&memory); err != nil {
		return info, fmt.Errorf("sysinfo: %w", err)
	}
	info.MemTotal = int64(memory.Totalram) * int64(memory.Unit)
	all, err := images{app}.store().List()
	info.Images = len(all)
	return info, err
}

// operatingSystem is the host's name for itself, or empty.
func operatingSystem() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}
