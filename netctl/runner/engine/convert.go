//go:build linux && cgo && seccomp

package engine

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func capabilities(c *specs.LinuxCapabilities) *configs.Capabilities {
	if c == nil {
		return nil
	}
	return &configs.Capabilities{
		Bounding:    c.Bounding,
		Effective:   c.Effective,
		Permitted:   c.Permitted,
		Inheritable: c.Inheritable,
		Ambient:     c.Ambient,
	}
}

// rlimitNumbers: the kernel counts where the specification spells.
func rlimitNumber(name string) (int, error) {
	numbers := map[string]int{
		"AS": unix.RLIMIT_AS, "CORE": unix.RLIMIT_CORE, "CPU": unix.RLIMIT_CPU, "DATA": unix.RLIMIT_DATA,
		"FSIZE": unix.RLIMIT_FSIZE, "LOCKS": unix.RLIMIT_LOCKS, "MEMLOCK": unix.RLIMIT_MEMLOCK,
		"MSGQUEUE": unix.RLIMIT_MSGQUEUE, "NICE": unix.RLIMIT_NICE, "NOFILE": unix.RLIMIT_NOFILE,
		"NPROC": unix.RLIMIT_NPROC, "RSS": unix.RLIMIT_RSS, "RTPRIO": unix.RLIMIT_RTPRIO,
		"RTTIME": unix.RLIMIT_RTTIME, "SIGPENDING": unix.RLIMIT_SIGPENDING, "STACK": unix.RLIMIT_STACK,
	}
	n, ok := numbers[strings.TrimPrefix(name, "RLIMIT_")]
	if !ok {
		return 0, fmt.Errorf("unknown resource limit %q", name)
	}
	return n, nil
}

func rlimits(list []specs.POSIXRlimit) ([]configs.Rlimit, error) {
	var out []configs.Rlimit
	for _, l := range list {
		n, err := rlimitNumber(l.Type)
		if err != nil {
			return nil, err
		}
		out = append(out, configs.Rlimit{Type: n, Soft: l.Soft, Hard: l.Hard})
	}
	return out, nil
}

// exitCode follows the shell: 128 plus the signal.
func exitCode(state *os.ProcessState) int {
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
