package plugins_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAnAddressThatChangesHandsIsAnnounced: a neighbour that remembers where an
// address was learns at once where it is now. An address that nobody has had is
// not announced, for IPv4: on a large network that would reach a thousand ports for
// nothing.
func TestAnAddressThatChangesHandsIsAnnounced(t *testing.T) {
	h := newHost(t)
	peer, second := h.container(), h.container()
	h.must(bridgeCall("ADD", "peer", peer, "1.1.0", ""))
	const (
		keys = `,"runtimeConfig":{"ips":["10.88.7.7/16","fd00:88::77/64"]}`
		old  = "02:00:00:00:00:77"
	)
	remember := func() {
		for _, address := range []string{"10.88.7.7", "fd00:88::77"} {
			on(t, peer, fmt.Sprintf("ip neigh replace %s lladdr %s dev eth0 nud reachable", address, old))
		}
	}
	known := func() string {
		out, err := peer.Output("sh", "-c", "ip neigh show 10.88.7.7 dev eth0; ip neigh show fd00:88::77 dev eth0")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	remember()
	h.must(bridgeCall("ADD", "first", h.container(), "1.1.0", keys))
	time.Sleep(200 * time.Millisecond) // an announcement would be here long since
	if got := known(); !strings.Contains(got, "10.88.7.7 lladdr "+old) {
		t.Errorf("an address that nobody has had was announced:\n%s", got)
	}
	h.must(bridgeCall("DEL", "first", nil, "1.1.0", ""))
	remember()
	mac := h.must(bridgeCall("ADD", "second", second, "1.1.0", keys)).Interfaces[2].Mac
	for deadline := time.Now().Add(30 * time.Second); strings.Count(known(), mac) != 2; {
		if time.Now().After(deadline) {
			t.Fatalf("the neighbour knows, instead of %s:\n%s", mac, known())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestThePortForwardsWhenADDReturns: the kernel enables a port whose link has
// got a carrier some time later, unless it is asked.
func TestThePortForwardsWhenADDReturns(t *testing.T) {
	h := newHost(t)
	for i := range 10 {
		r := h.must(bridgeCall("ADD", fmt.Sprint("c", i), h.container(), "1.1.0", ""))
		out, err := h.ns.Output("bridge", "link", "show", "dev", r.Interfaces[1].Name)
		if err != nil || !strings.Contains(out, "state forwarding") {
			t.Errorf("%s, %v", out, err)
		}
	}
}
