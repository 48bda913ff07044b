package firewall

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel tells nobody of changes made by iptables-legacy, so its tables are
// looked at in turn: what they hold is not read, only how many rules there are
// and where the hooks' begin.

// legacyInterval is how often that happens.
const legacyInterval = time.Second

// legacyInfo is struct ipt_getinfo (linux/netfilter_ipv4/ip_tables.h), the same
// in both families.
type legacyInfo struct {
	name       [32]byte
	validHooks uint32
	hookEntry  [5]uint32
	underflow  [5]uint32
	entries    uint32
	size       uint32
}

// getInfo is IPT_SO_GET_INFO and IP6T_SO_GET_INFO.
const getInfo = 64

// watchLegacy signals changes in the calling thread's network namespace until
// ctx ends. Our own are among them.
func watchLegacy(ctx context.Context, changed chan<- struct{}) error {
	namespace, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("watch iptables-legacy: %w", err)
	}
	last := legacyTables()
	go func() {
		defer namespace.Close()
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		if unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET) != nil {
			return
		}
		tick := time.NewTicker(legacyInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := legacyTables()
			if !slices.Equal(last, now) {
				signal(changed)
			}
			last = now
		}
	}()
	return nil
}

// legacyTables describes the tables of iptables-legacy that are in use in the
// calling thread's namespace. Asking the kernel for one that is not would
// make it.
func legacyTables() (all []legacyInfo) {
	for _, f := range []struct {
		names         string
		domain, level int
	}{{"ip_tables_names", unix.AF_INET, unix.IPPROTO_IP}, {"ip6_tables_names", unix.AF_INET6, unix.IPPROTO_IPV6}} {
		names, err := os.ReadFile("/proc/thread-self/net/" + f.names)
		if err != nil || len(names) == 0 {
			continue
		}
		socket, err := unix.Socket(f.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			continue
		}
		tables := strings.Fields(string(names))
		slices.Sort(tables)
		for _, table := range tables {
			info := legacyInfo{}
			copy(info.name[:len(info.name)-1], table)
			length := uint32(unsafe.Sizeof(info))
			_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(f.level), getInfo,
				uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&length)), 0)
			if errno == 0 {
				all = append(all, info)
			}
		}
		_ = unix.Close(socket)
	}
	return all
}
