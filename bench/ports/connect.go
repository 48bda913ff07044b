package main

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A path is a way to the container whose connections are counted.
type path struct {
	name  string
	world *world
	to    netip.AddrPort
	rates []float64 // connections per second, a round each
}

// rates are the paths of one implementation: through the only port, through
// the last of many, and to the container itself beside these many.
type rates struct {
	name               string
	published          int
	only, last, direct *path
}

// connectionRates measures all paths in turn. The filled worlds get one port
// more, which leads to the real container and is their last; the only port is
// in a world of its own.
func connectionRates(o options, filled []*world) ([]rates, error) {
	if o.connections == 0 {
		return nil, nil
	}
	var all []rates
	var paths []*path
	for _, w := range filled {
		single, err := newWorld(w.implementation)
		if err != nil {
			return nil, err
		}
		defer single.close()
		r := rates{name: w.name, published: w.filled + 1}
		if r.only, err = single.publish("only"); err != nil {
			return nil, err
		}
		if r.last, err = w.publish("last"); err != nil {
			return nil, err
		}
		r.direct = &path{name: "direct", world: w, to: netip.AddrPortFrom(netip.MustParseAddr(served), 80)}
		all, paths = append(all, r), append(paths, r.only, r.last, r.direct)
	}
	const warmUp = 1
	for round := range warmUp + o.rounds {
		for _, p := range paths {
			rate, err := p.connect(o.connections)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", p.world.name, p.name, err)
			}
			if round >= warmUp {
				p.rates = append(p.rates, rate)
			}
		}
	}
	return all, nil
}

// publish leads a port of the host to the world's container and has it listen.
func (w *world) publish(name string) (*path, error) {
	c := container{id: "served", address: netip.MustParseAddr(served), hostPort: 29999}
	if _, err := w.call("ADD", c, 1); err != nil {
		return nil, err
	}
	p := &path{name: name, world: w, to: netip.AddrPortFrom(netip.MustParseAddr(hostAddress), uint16(c.hostPort))}
	return p, w.container.Do(func() error {
		listener, err := net.Listen("tcp4", ":80")
		if err != nil {
			return err
		}
		go serve(listener)
		return nil
	})
}

// serve takes connections off the queue until the program ends.
func serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

// connect makes connections one after the other, each reset at once so that no
// port waits behind, and gives their rate.
func (p *path) connect(count int) (rate float64, err error) {
	err = p.world.client.Do(func() error {
		to := &unix.SockaddrInet4{Port: int(p.to.Port()), Addr: p.to.Addr().As4()}
		start := time.Now()
		for range count {
			if err := connectOnce(to); err != nil {
				return err
			}
		}
		rate = float64(count) / time.Since(start).Seconds()
		return nil
	})
	return rate, err
}

func connectOnce(to unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	for err = unix.Connect(fd, to); err == unix.EINTR; {
		// The connection goes on; a socket that is connected says so.
		if err = unix.Connect(fd, to); err == unix.EISCONN {
			err = nil
		}
	}
	return err
}
