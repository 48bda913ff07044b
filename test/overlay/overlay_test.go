// Package overlay tests the overlay on several hosts made of namespaces, with
// the built programs: the rows of the specification's table of tests.
package overlay

import (
	"os"
	"runtime"
	"testing"

	"github.com/netctl/netctl/test/hosts"
	"github.com/netctl/netctl/test/tidy"
)

var binaries string

// The first thread is kept out of other namespaces: /proc/net shows that
// thread's, and a network is refused where its range has a route already.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	os.Exit(tidy.Run(func() int {
		dir, err := os.MkdirTemp("", "netctl-overlay-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if err := hosts.Install(dir, false); err != nil {
			panic(err)
		}
		binaries = dir
		return m.Run()
	}))
}

// staticWorld is n hosts with a peers file and their overlayd ready.
func staticWorld(t *testing.T, n int) *hosts.World {
	t.Helper()
	w := hosts.New(t, binaries, n)
	startWithPeersFile(t, w)
	return w
}

// startWithPeersFile starts all hosts of a world, with network blue.
func startWithPeersFile(t *testing.T, w *hosts.World) {
	t.Helper()
	n := len(w.Hosts)
	w.WritePeers(w.Peers())
	for _, h := range w.Hosts {
		h.Start("--peers", h.PeersFile())
	}
	for _, h := range w.Hosts {
		h.Ready(n - 1)
		awaitUsable(h, "blue", n)
	}
}

func TestContainersOfTwoHostsReachEachOther(t *testing.T) {
	w := staticWorld(t, 2)
	a, b := w.Hosts[0].Add("blue"), w.Hosts[1].Add("blue")
	if _, err := a.Await(b.Addr); err != nil {
		t.Error(err)
	}
	if _, err := b.Await(a.Addr); err != nil {
		t.Error(err)
	}
	if err := hosts.ReachFrom(w.Hosts[0].NS, b.Addr, hosts.Patience); err != nil {
		t.Errorf("from the host itself: %v", err)
	}
	for _, h := range w.Hosts {
		if err := h.Status("blue"); err != nil {
			t.Errorf("STATUS on %s: %v", h.Name, err)
		}
	}
}
