package etcdtest

import (
	"net"
	"sync"
	"testing"
)

// A Path is a way to a server that can be broken.
type Path struct {
	listener net.Listener
	server   *Server

	mu     sync.Mutex
	whole  *sync.Cond
	state  state
	epoch  int // of the connections that can still pass anything
	conns  map[net.Conn]bool
	closed bool
}

type state int

const (
	whole  state = iota
	cut          // connections end, and new ones end at once
	frozen       // connections stay, and nothing passes: a half-open path
)

// Path makes a way to the server, until the test ends.
func (s *Server) Path(t testing.TB) *Path {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Path{listener: listener, server: s, conns: map[net.Conn]bool{}}
	p.whole = sync.NewCond(&p.mu)
	var running sync.WaitGroup
	running.Go(func() { p.accept(&running) })
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = listener.Close()
		p.set(cut)
		running.Wait()
	})
	return p
}

// Endpoint is what a client connects to.
func (p *Path) Endpoint() string {
	if p.server.tls != nil {
		return "https://" + p.listener.Addr().String()
	}
	return "http://" + p.listener.Addr().String()
}

// Cut ends all connections and lets none through.
func (p *Path) Cut() { p.set(cut) }

// Freeze stops all bytes; both ends believe in their connections.
func (p *Path) Freeze() { p.set(frozen) }

// Heal lets everything through again. What was frozen goes on.
func (p *Path) Heal() { p.set(whole) }

// Forget heals the path for new connections only: those that were frozen stay
// so, as after the loss of a middle box.
func (p *Path) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	p.state = whole
}

func (p *Path) set(s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	if s == cut {
		for conn := range p.conns {
			_ = conn.Close()
		}
	}
	p.whole.Broadcast()
}

func (p *Path) accept(running *sync.WaitGroup) {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() { p.serve(near) })
	}
}

func (p *Path) serve(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("unix", p.server.Socket())
	if err != nil {
		return
	}
	defer far.Close()
	epoch, ok := p.admit(near, far)
	if !ok {
		return
	}
	defer p.forget(near, far)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.copy(near, far, epoch)
	}()
	p.copy(far, near, epoch)
	<-done
}

func (p *Path) admit(conns ...net.Conn) (epoch int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == cut || p.closed {
		return 0, false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return p.epoch, true
}

func (p *Path) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// copy passes bytes on while the path is whole, and closes both ends at the end.
func (p *Path) copy(to, from net.Conn, epoch int) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.wait(epoch)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Path) wait(epoch int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && (p.state == frozen || p.epoch != epoch) {
		p.whole.Wait()
	}
}
