package firewall

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// insideAt is a resolver's place in a container.
func insideAt(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.11"), port)
}

// The rules lead questions to the resolver and answers back, over both
// transports, while the container has a server of its own on port 53; nothing
// is tracked; and they come and go as often as one likes.
func TestLeadInside(t *testing.T) {
	web := newSpace(t, "web")
	web.do(t, func() { check(t, LeaveInside()) })
	for _, port := range []uint16{40053, 40054} {
		web.do(t, func() {
			check(t, LeadInside(insideAt(port)))
			check(t, CheckInside(insideAt(port)))
			udp, err := net.ListenPacket("udp4", insideAt(port).String())
			check(t, err)
			t.Cleanup(func() { udp.Close() })
			go echoPackets(udp)
			tcp, err := net.Listen("tcp4", insideAt(port).String())
			check(t, err)
			t.Cleanup(func() { tcp.Close() })
			go echoStreams(tcp)
			own, err := net.ListenPacket("udp4", "0.0.0.0:53")
			check(t, err)
			defer own.Close()
			ownTCP, err := net.Listen("tcp4", "0.0.0.0:53")
			check(t, err)
			defer ownTCP.Close()
			for _, network := range []string{"udp4", "tcp4"} {
				c, err := net.Dial(network, insideAt(53).String())
				check(t, err)
				defer c.Close()
				check(t, c.SetDeadline(time.Now().Add(30*time.Second)))
				_, err = c.Write([]byte("question"))
				check(t, err)
				buf := make([]byte, 8)
				if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "question" {
					t.Errorf("%s at port %d: %q, %v", network, port, buf, err)
				}
			}
		})
	}
	if out := web.sh(t, "conntrack -C"); out != "0\n" {
		t.Errorf("tracked: %s", out)
	}
	web.do(t, func() {
		check(t, LeaveInside())
		if err := CheckInside(insideAt(40054)); err == nil {
			t.Error("CheckInside misses nothing when all is gone")
		}
	})
	if out := web.sh(t, "nft list ruleset"); out != "" {
		t.Errorf("left: %s", out)
	}
}

func echoPackets(c net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteTo(buf[:n], from)
	}
}

func echoStreams(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(c, c); c.Close() }()
	}
}

var insideRounds = flag.Int("inside.rounds", 11, "rounds of BenchmarkInside")

// BenchmarkInside measures what the rules in a container cost the rest of its
// traffic: processor time of this process for sending small packets, and for a
// bulk of TCP, with and without the rules, in turns.
//
//	go test -run '^$' -bench Inside -benchtime 1x ./plugins/internal/firewall
func BenchmarkInside(b *testing.B) {
	web, peer := newSpace(b, "web"), newSpace(b, "peer")
	web.sh(b, "ip link add eth0 type veth peer name eth0 netns "+peer.path()+"; ip addr add 10.1.0.1/24 dev eth0; ip link set eth0 up")
	peer.sh(b, "ip addr add 10.1.0.2/24 dev eth0; ip link set eth0 up")
	kinds := map[string]func(net.Conn){
		"small packets": func(c net.Conn) {
			for range 200_000 {
				_, _ = c.Write(make([]byte, 64))
			}
		},
		"bulk": func(c net.Conn) {
			buf := make([]byte, 128<<10)
			for range 8000 {
				_, _ = c.Write(buf)
			}
		},
	}
	for name, network := range map[string]string{"small packets": "udp4", "bulk": "tcp4"} {
		conn := insideTraffic(b, web, peer, network)
		took := map[bool][]float64{}
		for range *insideRounds {
			for _, with := range []bool{false, true} {
				web.do(b, func() {
					if with {
						check(b, LeadInside(insideAt(40053)))
					} else {
						check(b, LeaveInside())
					}
				})
				before := processorTime()
				kinds[name](conn)
				took[with] = append(took[with], (processorTime() - before).Seconds())
			}
		}
		for _, with := range []bool{false, true} {
			slices.Sort(took[with])
		}
		median := func(with bool) float64 { return took[with][len(took[with])/2] }
		fmt.Printf("%-14s without %.3f s (%.3f to %.3f), with %.3f s (%.3f to %.3f): %+.1f %%\n", name,
			median(false), took[false][0], took[false][len(took[false])-1], median(true), took[true][0], took[true][len(took[true])-1],
			100*(median(true)/median(false)-1))
	}
}

// insideTraffic connects the container to a peer that takes all it gets.
func insideTraffic(b *testing.B, web, peer *space, network string) (conn net.Conn) {
	peer.do(b, func() {
		if network == "udp4" {
			c, err := net.ListenPacket(network, "10.1.0.2:7")
			check(b, err)
			b.Cleanup(func() { c.Close() })
			return // nobody reads: what counts is the way there
		}
		l, err := net.Listen(network, "10.1.0.2:7")
		check(b, err)
		b.Cleanup(func() { l.Close() })
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = io.Copy(io.Discard, c)
			}
		}()
	})
	web.do(b, func() {
		var err error
		conn, err = net.Dial(network, "10.1.0.2:7")
		check(b, err)
		b.Cleanup(func() { conn.Close() })
	})
	return conn
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
