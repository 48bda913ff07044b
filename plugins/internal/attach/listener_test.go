package attach

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The line of an endpoint is what the kernel's sctp_eps_seq_show prints.
func TestEndpointsOfSCTP(t *testing.T) {
	table := filepath.Join(t.TempDir(), "eps")
	const text = ` ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS
ffff8881 ffff8882 2   10  23   36412     0 43210 0.0.0.0
ffff8883 ffff8884 2   10  24   36413     0 43211 127.0.0.1 ::1
`
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	collectEndpoints(table, 36412, got)
	if want := map[string]bool{"43210": true}; !maps.Equal(got, want) {
		t.Errorf("inodes at 36412: %v, want %v", got, want)
	}
}

// A kernel without SCTP has nobody who listens; one that has it refuses a port
// that is taken, for an address and for all.
func TestBindOfSCTP(t *testing.T) {
	host := netip.MustParseAddr("127.0.0.1")
	if !hasSCTP() {
		if err := bindOnce("sctp", host, 1); err != nil {
			t.Errorf("without SCTP: %v", err)
		}
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: host.As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(own.(*unix.SockaddrInet4).Port)
	for _, at := range []netip.Addr{host, {}} {
		if err := bindOnce("sctp", at, port); err != unix.EADDRINUSE {
			t.Errorf("bind at %v:%d: %v, want %v", at, port, err, unix.EADDRINUSE)
		}
	}
}
