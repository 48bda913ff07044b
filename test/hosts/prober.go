package hosts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Prober sends a numbered datagram every two milliseconds from one container
// to another, which sends it back, and counts what does not return.
type Prober struct {
	sent, returned atomic.Int64
	mu             sync.Mutex
	back           []bool          // by number: it has come back
	refused        map[int64]error // by number: the kernel did not even take it
	elsewhere      int64           // what the machine had dropped at the start
	seen           int64           // up to here Outage has looked
	stop           chan struct{}
	done           chan struct{}
	conn           *net.UDPConn
	echo           *net.UDPConn
}

// Probe starts probing, when a first datagram has come back: until then the
// kernel is still making up its mind about the conversation (neighbours, connection
// tracking), and may drop one of two datagrams that meet.
func (c *Container) Probe(to *Container) (*Prober, error) {
	p := &Prober{stop: make(chan struct{}), done: make(chan struct{}), refused: map[int64]error{}}
	err := to.NS.Do(func() (err error) {
		p.echo, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr, EchoPort)))
		return err
	})
	if err != nil {
		return nil, err
	}
	err = c.NS.Do(func() (err error) {
		p.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr, EchoPort)))
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		buffer := make([]byte, 64)
		for {
			n, from, err := p.echo.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			_, _ = p.echo.WriteToUDPAddrPort(buffer[:n], from)
		}
	}()
	if err := p.first(); err != nil {
		return nil, errors.Join(err, p.conn.Close(), p.echo.Close())
	}
	if p.elsewhere, err = machineDrops(); err != nil {
		return nil, errors.Join(err, p.conn.Close(), p.echo.Close())
	}
	go p.receive()
	go p.send()
	return p, nil
}

// first sends a datagram of one byte until one comes back.
func (p *Prober) first() error {
	for deadline := time.Now().Add(Patience); ; {
		_, err := p.conn.Write([]byte{0})
		err = errors.Join(err, p.conn.SetReadDeadline(time.Now().Add(time.Second)))
		if err == nil {
			_, err = p.conn.Read(make([]byte, 1))
		}
		if err == nil {
			return p.conn.SetReadDeadline(time.Time{})
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("probe: no answer: %w", err)
		}
	}
}

func (p *Prober) receive() {
	buffer := make([]byte, 64)
	for {
		n, err := p.conn.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == probeSize { // not a late first one
			p.note(int(binary.BigEndian.Uint64(buffer)))
		}
	}
}

// note marks a number as back. One that comes twice counts once.
func (p *Prober) note(number int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.back) <= number {
		p.back = append(p.back, false)
	}
	if !p.back[number] {
		p.back[number] = true
		p.returned.Add(1)
	}
}

const (
	probeEvery = 2 * time.Millisecond
	probeSize  = 16
)

func (p *Prober) send() {
	defer close(p.done)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	packet := make([]byte, probeSize)
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		number := p.sent.Add(1)
		binary.BigEndian.PutUint64(packet, uint64(number))
		if _, err := p.conn.Write(packet); err != nil { // lost, too
			p.mu.Lock()
			p.refused[number] = err
			p.mu.Unlock()
		}
	}
}

// Sent is how many went out so far.
func (p *Prober) Sent() int64 { return p.sent.Load() }

// End stops, waits for the last ones, and tells how many of how many were lost.
func (p *Prober) End() (lost, sent int64) {
	close(p.stop)
	<-p.done
	for deadline := time.Now().Add(Patience); p.returned.Load() < p.sent.Load() && time.Now().Before(deadline); {
		before := p.returned.Load()
		time.Sleep(2 * time.Second)
		if p.returned.Load() == before {
			break
		}
	}
	p.conn.Close()
	p.echo.Close()
	return p.sent.Load() - p.returned.Load(), p.sent.Load()
}

// Elsewhere is how many packets the machine has dropped since the start that may
// have been anybody's in any namespace; what else runs there floods its queues.
func (p *Prober) Elsewhere() int64 {
	now, err := machineDrops()
	if err != nil {
		return 0
	}
	return now - p.elsewhere
}

// Missing tells which did not come back, by their numbers: the first and last of
// those in a row, and what the kernel said to them.
func (p *Prober) Missing() (runs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	is := func(n int64) bool { return n >= int64(len(p.back)) || !p.back[n] }
	for n, sent := int64(1), p.sent.Load(); n <= sent; n++ {
		if !is(n) {
			continue
		}
		first, said := n, p.refused[n]
		for n < sent && is(n+1) {
			n++
			said = errors.Join(said, p.refused[n])
		}
		run := fmt.Sprintf("%d to %d", first, n)
		if said != nil {
			run += fmt.Sprintf(" (%v)", said)
		}
		runs = append(runs, run)
	}
	return runs
}

// Outage waits until all of the newest answers are there again, or the patience
// is over, and tells how long there were none, at most, since the last call.
func (p *Prober) Outage() (longest time.Duration, over bool) {
	const calm = 25
	from := p.seen
	for deadline := time.Now().Add(Patience); !over && time.Now().Before(deadline); time.Sleep(5 * probeEvery) {
		now := p.sent.Load()
		over = now >= from+2*calm && p.longestRun(now-calm, now-5) == 0
		p.seen = now - 5
	}
	return time.Duration(p.longestRun(from, p.seen)) * probeEvery, over
}

// longestRun is how many in a row are missing, from one number to before
// another.
func (p *Prober) longestRun(from, to int64) (longest int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	run := int64(0)
	for n := max(from, 1); n < to; n++ {
		if n < int64(len(p.back)) && p.back[n] {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}
