package hostnet

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// patience is longer than anything takes on the slowest machine.
const patience = 30 * time.Second

// TestMonitor: addresses and devices that come and go in the namespace. The
// process is put in a namespace of its own, because reading the addresses
// happens on any of Go's threads.
func TestMonitor(t *testing.T) {
	if os.Getenv("HOSTNET_INSIDE") == "" {
		n, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		err = n.Do(func() error {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestMonitor$", "-test.v")
			cmd.Env = append(os.Environ(), "HOSTNET_INSIDE=1")
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	links := make(chan string, 100)
	m, err := Watch(func(device string) { links <- device })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	addr, addr6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("fd00::7")
	if !m.Contains(netip.MustParseAddr("127.0.0.1")) || m.Contains(addr) {
		t.Error("at first there is 127.0.0.1 and nothing else")
	}
	ip(t, "link add br9 type bridge")
	awaitLink(t, links, "br9")
	ip(t, "addr add 192.0.2.7/24 dev br9")
	ip(t, "addr add fd00::7/64 dev br9")
	awaitThat(t, "both addresses are there", func() bool { return m.Contains(addr) && m.Contains(addr6) })
	ip(t, "addr del 192.0.2.7/24 dev br9")
	awaitThat(t, "the address is gone", func() bool { return !m.Contains(addr) })
	ip(t, "link del br9")
	awaitLink(t, links, "br9")
	awaitThat(t, "all is gone", func() bool { return !m.Contains(addr6) })
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func awaitLink(t *testing.T, links <-chan string, want string) {
	t.Helper()
	for {
		select {
		case got := <-links:
			if got == want {
				return
			}
		case <-time.After(patience):
			t.Fatalf("nothing is heard of %s", want)
		}
	}
}

func awaitThat(t *testing.T, what string, so func() bool) {
	t.Helper()
	for start := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("not so: %s", what)
		}
	}
}
