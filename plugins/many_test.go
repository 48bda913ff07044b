package plugins_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/netctl/netctl/test/netns"
)

// TestManyContainersOnOneNetwork attaches them eight at a time, over the limit
// of the bridge's ports, has each reach the gateway and another one, and takes
// all away. NETCTL_TEST_CONTAINERS is their number (`make test-2000`); by
// default there are few, and all but the last ports are taken already.
func TestManyContainersOnOneNetwork(t *testing.T) {
	n, parallel := 40, 8
	if text := os.Getenv("NETCTL_TEST_CONTAINERS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	h := newHost(t)
	if n < 1024 {
		on(t, h.ns, "ip link add br0 type bridge")
		h.ports(1, 1000)
	}
	namespaces := make([]*netns.Namespace, n)
	for i := range namespaces {
		namespaces[i] = h.container()
	}
	each := func(what string, fn func(int) error) {
		t.Helper()
		defer func(start time.Time) { t.Logf("%s: %s", what, time.Since(start).Round(time.Second)) }(time.Now())
		var g errgroup.Group
		g.SetLimit(parallel)
		for i := range n {
			g.Go(func() error { return fn(i) })
		}
		if err := g.Wait(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	run := func(verb string) func(int) error {
		return func(i int) error {
			a := h.run(bridgeCall(verb, fmt.Sprintf("c%d", i), namespaces[i], "1.1.0", ""))
			if a.status != 0 {
				return fmt.Errorf("container %d: %s%s", i, a.out, a.stderr)
			}
			return nil
		}
	}
	addresses := make([]string, n)
	each("ADD", run("ADD"))
	each("serve", func(i int) error {
		out, err := namespaces[i].Output("ip", "-4", "-o", "addr", "show", "eth0")
		if err != nil {
			return err
		}
		addresses[i], _, _ = strings.Cut(strings.Fields(out)[3], "/")
		serve(t, namespaces[i], ":80", fmt.Sprint(i))
		return nil
	})
	behind := 0
	for i := range namespaces {
		if out, err := namespaces[i].Output("ip", "-d", "link", "show", "eth0"); err != nil {
			t.Fatal(err)
		} else if strings.Contains(out, "macvlan") {
			behind++
		}
	}
	uplinks, err := h.ns.Output("sh", "-c", "ip -o link show master br0 | grep -c ': nupl'")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d containers, %d of them behind %s uplinks", n, behind, strings.TrimSpace(uplinks))
	if behind == 0 || behind == n {
		t.Errorf("%d of %d containers are behind an uplink: want some", behind, n)
	}
	// Behind a single one with more than 1,000 nobody reaches the gateway.
	if strings.TrimSpace(uplinks) == "1" {
		t.Error("all of them are behind one uplink")
	}
	serve(t, h.ns, "10.88.0.1:90", "gateway")
	// A question for an address is flooded to every port, and the kernel queues
	// no more than net.core.netdev_max_backlog (1,000) packets at a time: not
	// many may ask at once.
	parallel = 2
	each("reach", func(i int) error {
		peer := (i + n/2) % n
		defer forget(h.ns, "br0")
		defer forget(namespaces[i], "eth0")
		defer forget(namespaces[peer], "eth0")
		for address, want := range map[string]string{"10.88.0.1:90": "gateway", addresses[peer] + ":80": fmt.Sprint(peer)} {
			if err := reach(namespaces[i], address, want); err != nil {
				return fmt.Errorf("container %d: %w", i, err)
			}
		}
		return nil
	})
	h.must(call{verb: "STATUS", plugin: "bridge", conf: bridgeConf("1.1.0", "")})
	each("DEL", run("DEL"))
	each("eth0 is gone", func(i int) error {
		if err := namespaces[i].Run("ip", "link", "show", "eth0"); err == nil {
			return fmt.Errorf("container %d has eth0 after DEL", i)
		}
		return nil
	})
	h.wantClean()
}

// forget takes the neighbours of a link out of the kernel's table, which all
// namespaces of the machine share and where they stay for half a minute and more:
// it has room for 1,024 by default, and other tests want some of it.
func forget(ns *netns.Namespace, link string) {
	_ = ns.Run("ip", "neigh", "flush", "dev", link) // a courtesy
}

// reach asks until the answer comes: a broadcast on this segment goes to
// thousands, and the kernel drops what it has no room to queue; and the machine's
// neighbour table may be full for some seconds.
func reach(from *netns.Namespace, address, want string) error {
	for deadline := time.Now().Add(time.Minute); ; {
		got, err := askFor(from, address, 2*time.Second)
		if err == nil && got == want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %q, want %q (%v)", address, got, want, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
