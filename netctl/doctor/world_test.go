package doctor

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// fakeWorld is one in which everything is right, but for what a test sets.
type fakeWorld struct {
	World   // what no test asks for
	sysctls map[string]string
	sockets []Socket
	refused map[string]bool // network and address that can't be dialled
	drops   []Drop
	dialled []string
	// entries of the neighbour tables, of 1,024
	entries map[string]int
	lost    bool // there is no route to anywhere
}

func (w *fakeWorld) Routed(Namespace, netip.Addr) (string, bool, error) { return "eth0", !w.lost, nil }

func (w *fakeWorld) Neighbours(family string) (n, limit int, err error) {
	return w.entries[family], 1024, nil
}

func (w *fakeWorld) Sysctl(_ Namespace, key string) (string, error) {
	if v, ok := w.sysctls[key]; ok {
		return v, nil
	}
	if strings.Contains(key, "conntrack") { // the kernel has it as a module
		return "", nil
	}
	return "1", nil
}

func (w *fakeWorld) Sockets(Namespace) ([]Socket, error) { return w.sockets, nil }

func (w *fakeWorld) Dial(_ context.Context, _ Namespace, network string, to netip.AddrPort) error {
	attempt := network + " " + to.String()
	w.dialled = append(w.dialled, attempt)
	if w.refused[attempt] {
		return errors.New("dial: no answer")
	}
	return nil
}

func (w *fakeWorld) Drops(_ context.Context, _ Packet, attempt func()) ([]Drop, error) {
	attempt()
	return w.drops, nil
}

// dual is a container with both families on a bridge that publishes a port of each
// protocol.
func dual() *Container {
	return &Container{
		Name: "web", Status: "running", Kind: "attached", Namespace: "/ns/web",
		Attached: []Attachment{{
			Network:   Network{Name: "net", Driver: "bridge", Device: "nb0"},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24"), netip.MustParsePrefix("fd00::2/64")},
			Gateways:  []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("fd00::1")},
		}},
		Published: []Port{{Protocol: "tcp", Host: 8080, Container: 80}, {Protocol: "udp", Host: 5353, Container: 53}},
	}
}

func socketAt(protocol, at string) Socket {
	return Socket{Protocol: protocol, Local: netip.MustParseAddrPort(at)}
}

// What the host's own probes of a container find, for each family and protocol.
func TestFromHost(t *testing.T) {
	both := []Socket{socketAt("tcp", "[::]:80"), socketAt("udp", "[::]:53")}
	drop := []Drop{{Tool: "ip6tables", Chain: "OUTPUT", Rule: "-j DROP", Delete: "ip6tables -D OUTPUT -j DROP"}}
	for name, tt := range map[string]struct {
		world   fakeWorld
		cause   string // "" for none
		mend    string
		dialled string
	}{
		"healthy": {fakeWorld{sockets: both}, "", "", "tcp 10.1.0.2:80, udp 10.1.0.2:53, tcp [fd00::2]:80, udp [fd00::2]:53"},
		"IPv6 is dropped": {
			fakeWorld{sockets: both[:1], drops: drop, refused: map[string]bool{"tcp [fd00::2]:80": true}},
			"packets of the host to [fd00::2]:80 are dropped by ip6tables chain OUTPUT", "ip6tables -D OUTPUT -j DROP", "",
		},
		"IPv6 is refused": {
			fakeWorld{sockets: both, refused: map[string]bool{"tcp [fd00::2]:80": true}},
			"the host does not reach [fd00::2]:80 on bridge nb0", "netctl disconnect net web && netctl connect net web", "",
		},
		"UDP is dropped": {
			fakeWorld{sockets: both[1:], drops: drop}, "packets of the host to 10.1.0.2:53 are dropped", "ip6tables -D OUTPUT -j DROP", "",
		},
		"a program of IPv4 only is no fault": {
			fakeWorld{sockets: []Socket{socketAt("tcp", "0.0.0.0:80")}, refused: map[string]bool{"tcp [fd00::2]:80": true}}, "", "", "tcp 10.1.0.2:80",
		},
		"a program at one address is asked there": {
			fakeWorld{sockets: []Socket{socketAt("udp", "[fd00::2]:53")}}, "", "", "udp [fd00::2]:53",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := fromHost(context.Background(), &Case{World: &tt.world, Subject: dual()})
			wantFinding(t, f, err, tt.cause, tt.mend)
			if got := strings.Join(tt.world.dialled, ", "); tt.dialled != "" && got != tt.dialled {
				t.Errorf("dialled %s; want %s", got, tt.dialled)
			}
		})
	}
}

// Connections are counted, where they are tracked.
func TestConnections(t *testing.T) {
	const key = "net.netfilter.nf_conntrack_"
	for _, tt := range []struct{ count, limit, cause string }{
		{"", "", ""}, {"949", "1000", ""}, {"0", "0", ""},
		{"950", "1000", "the kernel tracks 950 connections and takes no more than 1000"},
	} {
		w := &fakeWorld{sysctls: map[string]string{key + "count": tt.count, key + "max": tt.limit}}
		mend := ""
		if tt.cause != "" {
			mend = "sysctl -w " + key + "max=4000"
		}
		f, err := connections(context.Background(), &Case{World: w})
		wantFinding(t, f, err, tt.cause, mend)
	}
}

// Forwarding is asked about in the families that the question has to do with.
func TestForwarding(t *testing.T) {
	const four, six = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
	only4 := dual()
	only4.Attached[0].Gateways = only4.Attached[0].Gateways[:1]
	for name, tt := range map[string]struct {
		off     string
		subject *Container
		to      string
		wanted  bool
	}{
		"IPv4 off":                                {four, dual(), "", true},
		"IPv6 off":                                {six, dual(), "", true},
		"IPv6 off, a container without":           {six, only4, "", false},
		"IPv6 off, asked about IPv4":              {six, dual(), "192.0.2.1", false},
		"IPv4 off, asked about IPv6":              {four, dual(), "2001:db8::1", false},
		"IPv6 off, asked about IPv6":              {six, dual(), "2001:db8::1", true},
		"off, and no container that would notice": {four, nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Case{World: &fakeWorld{sysctls: map[string]string{tt.off: "0"}}, Subject: tt.subject}
			if tt.to != "" {
				c.Address = netip.MustParseAddr(tt.to)
			}
			f, err := forwarding(context.Background(), c)
			if !tt.wanted {
				wantFinding(t, f, err, "", "")
				return
			}
			wantFinding(t, f, err, tt.off+" is 0", "sysctl -w "+tt.off+"=1")
		})
	}
}

// A neighbour table that is full is found, whichever it is, and one with room is not.
func TestNeighbours(t *testing.T) {
	for name, tt := range map[string]struct {
		entries     map[string]int
		cause, mend string
	}{
		"room":  {map[string]int{"ipv4": 900, "ipv6": 900}, "", ""},
		"IPv4":  {map[string]int{"ipv4": 1000}, "(ipv4) has 1000 of 1024 entries", "sysctl -w net.ipv4.neigh.default.gc_thresh3=8192"},
		"IPv6":  {map[string]int{"ipv6": 1024}, "(ipv6) has 1024 of 1024 entries", "sysctl -w net.ipv6.neigh.default.gc_thresh3=8192"},
		"empty": {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := neighbours(context.Background(), &Case{World: &fakeWorld{entries: tt.entries}})
			wantFinding(t, f, err, tt.cause, tt.mend)
		})
	}
}

func wantFinding(t *testing.T, f *Finding, err error, cause, mend string) {
	t.Helper()
	switch {
	case err != nil:
		t.Error(err)
	case cause == "" && f != nil:
		t.Errorf("found %+v; nothing is wrong", *f)
	case cause != "" && (f == nil || !strings.Contains(f.Cause, cause) || f.Mend != mend):
		t.Errorf("found %+v; want %q and %q", f, cause, mend)
	}
}

// What leaves the container the host has to know where to send to.
func TestHostRoute(t *testing.T) {
	for _, lost := range []bool{false, true} {
		c := &Case{World: &fakeWorld{lost: lost}, Subject: dual(), Address: netip.MustParseAddr("192.0.2.1")}
		f, err := hostRoute(context.Background(), c)
		if !lost {
			wantFinding(t, f, err, "", "")
			continue
		}
		wantFinding(t, f, err, "the host itself has no route to 192.0.2.1", "ip route add 192.0.2.1/32 via GATEWAY")
	}
}
