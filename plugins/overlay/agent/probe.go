package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/overlay/agent/plan"
)

// The probes' clock and numbers.
const (
	probeEvery = 5 * time.Second
	probeWait  = 400 * time.Millisecond
	probeTries = 3
	// probeMany: of so many peers and more, only a sample is probed each time.
	probeMany, probeSample = 200, 20
	// fullEvery is how often a peer with a narrow path is tried at full size.
	fullEvery = 12
	// rungs are the sizes that a search tries at once: three rounds find the
	// exact limit below 1500 bytes, four below 9000.
	rungs, rounds = 12, 4
	leastMTU      = 576 // RFC 791: what everybody can take
)

// Path is what probes know of the way to a peer; status shows it.
type Path struct {
	Peer string     `json:"peer"`
	VTEP netip.Addr `json:"vtep"`
	RTT  float64    `json:"rttMilliseconds,omitempty"`
	// MTU is the most that fits into the overlay on the way there; Full is what
	// should.
	MTU  int `json:"mtu,omitempty"`
	Full int `json:"full,omitempty"`
	// Heard is when the peer last answered; the zero time is never.
	Heard  time.Time `json:"heard,omitzero"`
	Lost   int       `json:"lost,omitempty"` // probes without answer in a row
	rounds int
}

// probe finds out how far each peer is, and how much fits on the way: the
// kernel learns of a narrow path only from routers that say so. It changes no
// route but for the MTU, and never takes one away.
func (a *Agent) probe(ctx context.Context) error {
	for ctx.Err() == nil {
		err := a.probeFrom(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Debug("no probes", "because", err)
		}
		select {
		case <-ctx.Done():
		case <-a.tunnel: // there is one now, or another
		case <-time.After(longWait):
		}
	}
	return ctx.Err()
}

// probeFrom probes from the tunnel's address until that changes.
func (a *Agent) probeFrom(ctx context.Context) error {
	var local netip.Addr
	var port uint16
	a.with(func(s *state) { local, port = s.plan.Tunnel.Local, s.plan.Tunnel.Port+1 })
	if !local.IsValid() {
		return errors.New("there is no tunnel yet")
	}
	p, err := openProber(netip.AddrPortFrom(local, port), a.isMember)
	if err != nil {
		return err
	}
	defer p.conn.Close()
	stop := context.AfterFunc(ctx, func() { p.conn.Close() })
	defer stop()
	go p.serve()
	if !a.cfg.Store.Can().Names {
		serving, end := context.WithCancel(ctx)
		defer end()
		go func() {
			if err := a.serveNames(serving, netip.AddrPortFrom(local, port)); err != nil && serving.Err() == nil {
				a.log.Error("other hosts can't have this one's names", "error", err)
			}
		}()
	}
	tick := time.NewTicker(probeEvery / 10)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		due, now := a.peersToProbe(time.Since(last) >= probeEvery), netip.Addr{}
		if time.Since(last) >= probeEvery {
			last = time.Now()
		}
		a.with(func(s *state) { now = s.plan.Tunnel.Local })
		if now != local {
			return nil
		}
		var wait sync.WaitGroup
		for _, path := range due {
			wait.Go(func() { a.noteProbe(p.look(ctx, path)) })
		}
		wait.Wait()
	}
}

func (a *Agent) isMember(addr netip.Addr) (found bool) {
	a.with(func(s *state) {
		for _, p := range s.plan.Mesh.Peers {
			found = found || p.VTEP == addr
		}
	})
	return found
}

// peersToProbe are those that were never probed, or whose record has changed,
// and when it is time all or a sample of the others.
func (a *Agent) peersToProbe(all bool) []Path {
	var due []Path
	a.with(func(s *state) {
		known := map[netip.Addr]*Path{}
		for _, n := range plan.Peers(s.view, s.self.ID, s.plan.Tunnel.Local) {
			vtep := plan.VTEP(n, s.plan.Tunnel.Local)
			full := s.plan.MTU
			if n.MTU != 0 {
				full = min(full, n.MTU)
			}
			path := s.peers[vtep]
			if path == nil || path.Full != full {
				path = &Path{Peer: n.Name, VTEP: vtep, Full: full}
				due = append(due, *path)
			}
			path.Peer, known[vtep] = n.Name, path
		}
		s.peers = known
		for vtep := range s.probed {
			if known[vtep] == nil {
				delete(s.probed, vtep)
			}
		}
		if all {
			due = due[:0]
			for _, path := range known {
				due = append(due, *path)
			}
		}
	})
	if len(due) >= probeMany {
		rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
		due = due[:probeSample]
	}
	return due
}

// noteProbe keeps what was found, and has a narrow path put into the route.
func (a *Agent) noteProbe(p Path) {
	a.with(func(s *state) {
		if s.peers[p.VTEP] == nil {
			return // gone meanwhile
		}
		s.peers[p.VTEP] = &p
		narrow := 0
		if p.MTU != 0 && p.MTU < p.Full {
			narrow = p.MTU
		}
		if s.probed[p.VTEP] == narrow {
			return
		}
		if narrow != 0 {
			s.probed[p.VTEP] = narrow
			a.log.Warn("narrow path", "peer", p.Peer, "mtu", narrow, "should be", p.Full)
		} else {
			delete(s.probed, p.VTEP)
			a.log.Info("path is wide again", "peer", p.Peer, "mtu", p.Full)
		}
		a.dirty.ring()
	})
}

// A prober asks, and answers others.
type prober struct {
	conn  *net.UDPConn
	port  uint16
	knows func(netip.Addr) bool

	mu      sync.Mutex
	waiting map[uint64]chan<- uint64
}

// A probe is magic, kind and a number, and as many zeros as the size needs. An
// answer is as short as it can be.
const (
	probeMagic  = 0x6e6f7631 // "nov1"
	probeAsk    = 1
	probeAnswer = 2
	probeHeader = 16
	// beyond is what a probe of the outer packet's size carries more than the
	// overlay's MTU: Ethernet (14) and VXLAN (8).
	beyond = 22
)

// openProber opens a socket whose packets are never fragmented, and whose size
// only the link bounds (IP_PMTUDISC_PROBE, ip(7)).
func openProber(local netip.AddrPort, knows func(netip.Addr) bool) (*prober, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, fmt.Errorf("probes: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	err = raw.Control(func(fd uintptr) {
		if local.Addr().Is4() {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		}
	})
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("probes: %w", err)
	}
	return &prober{conn: conn, port: local.Port(), knows: knows, waiting: map[uint64]chan<- uint64{}}, nil
}

// serve answers, and hands answers to who waits for them.
func (p *prober) serve() {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < probeHeader || binary.BigEndian.Uint32(buffer) != probeMagic {
			continue
		}
		number := binary.BigEndian.Uint64(buffer[8:])
		switch buffer[4] {
		case probeAsk:
			if p.knows(from.Addr().Unmap()) {
				_, _ = p.conn.WriteToUDPAddrPort(probePacket(probeAnswer, number, 0), from)
			}
		case probeAnswer:
			p.mu.Lock()
			if c := p.waiting[number]; c != nil {
				select {
				case c <- number:
				default:
				}
			}
			p.mu.Unlock()
		}
	}
}

func probePacket(kind byte, number uint64, size int) []byte {
	b := make([]byte, max(size, probeHeader))
	binary.BigEndian.PutUint32(b, probeMagic)
	b[4] = kind
	binary.BigEndian.PutUint64(b[8:], number)
	return b
}

// look probes one peer: is it there, and does what should fit still fit?
func (p *prober) look(ctx context.Context, path Path) Path {
	path.rounds++
	expect := path.Full
	if path.MTU != 0 && path.MTU < path.Full && path.rounds%fullEvery != 0 {
		expect = path.MTU
	}
	for range probeTries {
		began := time.Now()
		answered := p.ask(ctx, path.VTEP, []int{0, expect})
		if answered[0] {
			path.Heard, path.Lost = time.Now(), 0
			path.RTT = float64(time.Since(began).Microseconds()) / 1000
		}
		if answered[1] {
			path.MTU = expect
			return path
		}
		if !answered[0] {
			path.Lost++
		}
	}
	if path.Lost > 0 {
		return path // nobody is there: that says nothing of sizes
	}
	path.MTU = p.search(ctx, path.VTEP, path.Full)
	return path
}

// search finds the largest size that arrives.
func (p *prober) search(ctx context.Context, to netip.Addr, full int) int {
	low, high := leastMTU, full // low fits, high does not
	for range rounds {
		step := max((high-low)/(rungs+1), 1)
		var sizes []int
		for size := low + step; size < high; size += step {
			sizes = append(sizes, size)
		}
		if len(sizes) == 0 {
			break
		}
		next := high
		for i, ok := range p.ask(ctx, to, append(sizes, sizes...)) {
			size := append(sizes, sizes...)[i]
			if ok {
				low = max(low, size)
			}
		}
		for _, size := range sizes {
			if size > low {
				next = min(next, size)
			}
		}
		high = next
	}
	return low
}

// ask sends probes of these overlay sizes, 0 for the shortest, and tells which
// were answered in time.
func (p *prober) ask(ctx context.Context, to netip.Addr, sizes []int) []bool {
	answers := make(chan uint64, len(sizes))
	index := map[uint64]int{}
	p.mu.Lock()
	for i := range sizes {
		number := rand.Uint64()
		index[number], p.waiting[number] = i, answers
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for number := range index {
			delete(p.waiting, number)
		}
	}()
	for number, i := range index {
		size := 0
		if sizes[i] != 0 {
			size = sizes[i] + beyond
		}
		// A size that the link itself can't carry fails here, and counts as lost.
		_, _ = p.conn.WriteToUDPAddrPort(probePacket(probeAsk, number, size), netip.AddrPortFrom(to, p.port))
	}
	answered := make([]bool, len(sizes))
	deadline := time.After(probeWait)
	for missing := len(sizes); missing > 0; missing-- {
		select {
		case <-ctx.Done():
			return answered
		case <-deadline:
			return answered
		case number := <-answers:
			answered[index[number]] = true
		}
	}
	return answered
}
