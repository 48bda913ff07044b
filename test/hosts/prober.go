package hosts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// A Prober sends a numbered datagram every two milliseconds from one container
// to another, which sends it back, and counts what does not return.
type Prober struct {
	sent, returned atomic.Int64
	stop           chan struct{}
	done           chan struct{}
	conn           *net.UDPConn
	echo           *net.UDPConn
}

// Probe starts probing, when a first datagram has come back: until then the
// kernel is still making up its mind about the conversation (neighbours, connection
// tracking), and may drop one of two datagrams that meet.
func (c *Container) Probe(to *Container) (*Prober, error) {
	p := &Prober{stop: make(chan struct{}), done: make(chan struct{})}
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
	go func() {
		buffer := make([]byte, 64)
		for {
			n, err := p.conn.Read(buffer)
			if err != nil {
				return
			}
			if n > 1 { // not a late first one
				p.returned.Add(1)
			}
		}
	}()
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

func (p *Prober) send() {
	defer close(p.done)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	packet := make([]byte, 16)
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		binary.BigEndian.PutUint64(packet, uint64(p.sent.Add(1)))
		_, _ = p.conn.Write(packet) // an error is a lost one too
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

func (p *Prober) String() string {
	return fmt.Sprintf("%d of %d returned", p.returned.Load(), p.sent.Load())
}
