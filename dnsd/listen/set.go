package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/netctl/netctl/dnsd/names"
)

// Port is where questions arrive.
const Port = 53

// A Set has the sockets of all listeners. It is safe for concurrent use.
type Set struct {
	handler Handler
	log     *slog.Logger
	port    uint16
	conns   *connections

	mu     sync.Mutex
	wanted map[names.Listener]bool
	open   map[names.Listener]*listener
	errs   map[names.Listener]error
}

// NewSet makes an empty set.
func NewSet(h Handler, log *slog.Logger) *Set {
	return &Set{
		handler: h, log: log, port: Port, conns: newConnections(),
		open: make(map[names.Listener]*listener), errs: make(map[names.Listener]error),
	}
}

// listener is one listener's sockets.
type listener struct {
	index int // of the device that they are bound to
	udp   []*net.UDPConn
	tcp   *tcpListener
}

// Ensure makes the set equal to what is wanted: it opens what is missing and
// closes what is too much. What fails is tried again by the next Ensure or
// Refresh; until then Err tells why.
func (s *Set) Ensure(ctx context.Context, wanted []names.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = make(map[names.Listener]bool, len(wanted))
	for _, l := range wanted {
		s.wanted[l] = true
	}
	for l, o := range s.open {
		if !s.wanted[l] {
			s.close(l, o)
		}
	}
	clear(s.errs)
	s.refresh(ctx, wanted)
}

// Refresh looks after some of what is wanted, and after all that failed
// before: a device may have come back as another of the same name, which the
// sockets do not follow.
func (s *Set) Refresh(ctx context.Context, some []names.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh(ctx, slices.Concat(some, slices.Collect(maps.Keys(s.errs))))
}

// On are the wanted listeners on a device.
func (s *Set) On(device string) []names.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []names.Listener
	for l := range s.wanted {
		if l.Device == device {
			list = append(list, l)
		}
	}
	return list
}

func (s *Set) refresh(ctx context.Context, list []names.Listener) {
	for _, l := range list {
		if !s.wanted[l] {
			continue
		}
		delete(s.errs, l)
		if err := s.ensure(ctx, l); err != nil {
			s.errs[l] = err
		}
	}
}

// Err tells why a listener is not open, or nil if it is or nobody wants it.
func (s *Set) Err(l names.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs[l]
}

// Close closes everything.
func (s *Set) Close() { s.Ensure(context.Background(), nil) }

// Connections is the number of TCP connections.
func (s *Set) Connections() int { return s.conns.len() }

// Open are the listeners that are open.
func (s *Set) Open() []names.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]names.Listener, 0, len(s.open))
	for l := range s.open {
		list = append(list, l)
	}
	return list
}

func (s *Set) ensure(ctx context.Context, l names.Listener) error {
	index, err := deviceIndex(l.Device)
	if err != nil {
		if o := s.open[l]; o != nil {
			s.close(l, o)
		}
		return fmt.Errorf("listen on %s: device %s in %s: %w", l.Gateway, l.Device, namespace(), err)
	}
	if o := s.open[l]; o != nil {
		if o.index == index {
			return nil
		}
		s.close(l, o)
	}
	o, err := s.listen(ctx, l)
	if err != nil {
		return explain(l, err)
	}
	o.index = index
	s.open[l] = o
	s.log.Info("listening", "address", l.Gateway, "device", l.Device)
	return nil
}

// listen opens a listener's sockets, all or none, and serves them.
func (s *Set) listen(ctx context.Context, l names.Listener) (*listener, error) {
	tcp, err := openTCP(ctx, l, s.port)
	if err != nil {
		return nil, err
	}
	o := &listener{tcp: &tcpListener{listener: l, l: tcp, handler: s.handler, conns: s.conns, log: s.log}}
	for range sockets() {
		udp, err := openUDP(ctx, l, s.port)
		if err != nil {
			o.close()
			return nil, err
		}
		o.udp = append(o.udp, udp)
	}
	go o.tcp.serve()
	for _, conn := range o.udp {
		go (&udpSocket{listener: l, conn: conn, handler: s.handler, log: s.log}).serve()
	}
	return o, nil
}

// sockets is how many UDP sockets an address gets. One answers some 100,000
// questions a second; the second one is for when a processor is busy otherwise.
func sockets() int { return min(runtime.GOMAXPROCS(0), 2) }

func (s *Set) close(l names.Listener, o *listener) {
	delete(s.open, l)
	o.close()
	s.conns.closeAll(o.tcp)
	s.log.Info("no longer listening", "address", l.Gateway, "device", l.Device)
}

func (o *listener) close() {
	o.tcp.l.Close() //nolint:errcheck // closed for good either way
	for _, c := range o.udp {
		c.Close() //nolint:errcheck // as above
	}
}

// explain says what to do about an error.
func explain(l names.Listener, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s port %d: another server has the port on all addresses (find it with `ss -lnptu sport = :%d`): %w", l.Gateway, Port, Port, err)
	}
	return fmt.Errorf("listen on %s: %w", l, err)
}

// namespace names the network namespace we are in, for errors that come of
// being in the wrong one.
func namespace() string {
	name, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return "this network namespace"
	}
	return "network namespace " + name
}
