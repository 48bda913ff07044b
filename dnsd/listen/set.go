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

	"github.com/netctl/netctl/dnsd/inside"
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
	wanted map[names.Listener]names.Place
	open   map[names.Listener]*listener
	errs   map[names.Listener]error
	// adopted are sockets in containers that somebody made for us.
	adopted map[names.Listener]inside.Sockets
}

// NewSet makes an empty set.
func NewSet(h Handler, log *slog.Logger) *Set {
	return &Set{
		handler: h, log: log, port: Port, conns: newConnections(),
		open: make(map[names.Listener]*listener), errs: make(map[names.Listener]error),
		adopted: make(map[names.Listener]inside.Sockets),
	}
}

// listener is one listener's sockets.
type listener struct {
	index int // of the device that they are bound to
	port  uint16
	place names.Place // inside of a container
	udp   []*net.UDPConn
	tcp   *tcpListener
}

// Ensure makes the set equal to what is wanted: it opens what is missing and
// closes what is too much. What fails is tried again by the next Ensure or
// Refresh; until then Err tells why.
func (s *Set) Ensure(ctx context.Context, wanted map[names.Listener]names.Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = wanted
	for l, o := range s.open {
		if _, ok := wanted[l]; !ok {
			s.close(l, o)
		}
	}
	clear(s.errs)
	s.refresh(ctx, slices.Collect(maps.Keys(wanted)))
}

// Adopt offers sockets in a container's namespace for a listener that is going
// to be wanted, until Disown is called. They stay the caller's to close.
func (s *Set) Adopt(l names.Listener, sockets inside.Sockets) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopted[l] = sockets
}

// Disown ends the offer.
func (s *Set) Disown(l names.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.adopted, l)
}

// Port is where a listener is open, 0 where it is not.
func (s *Set) Port(l names.Listener) uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.open[l]; o != nil {
		return o.port
	}
	return 0
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
		if _, ok := s.wanted[l]; !ok {
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
	if l.Container != "" {
		return s.ensureInside(l)
	}
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
	s.log.Info("listening", "address", l.Gateway, "port", o.port, "device", l.Device)
	return nil
}

// listen opens a listener's sockets where the rules lead, or at port 53, or
// where another server has that at a port of our own.
func (s *Set) listen(ctx context.Context, l names.Listener) (o *listener, err error) {
	for _, port := range s.ports(s.wanted[l]) {
		if o, err = s.listenAt(ctx, l, port); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err == nil {
		s.serve(l, o)
	}
	return o, err
}

// Ports of our own are below those that the kernel hands out to clients.
const (
	firstOwnPort = 10053
	lastOwnPort  = 11053
	ownPortStep  = 100
)

// ports are those to try, in this order. As long as rules lead to one, 53 is of
// no use.
func (s *Set) ports(place names.Place) []uint16 {
	list := []uint16{s.port}
	if place.Port != 0 {
		list = []uint16{place.Port}
	}
	for port := uint16(firstOwnPort); port <= lastOwnPort; port += ownPortStep {
		if port != place.Port {
			list = append(list, port)
		}
	}
	return list
}

// listenAt opens a listener's sockets at a port, all or none.
func (s *Set) listenAt(ctx context.Context, l names.Listener, port uint16) (*listener, error) {
	tcp, err := openTCP(ctx, l, port)
	if err != nil {
		return nil, err
	}
	o := &listener{port: port, tcp: s.tcpListener(l, tcp)}
	for range sockets() {
		udp, err := openUDP(ctx, l, port)
		if err != nil {
			o.close()
			return nil, err
		}
		o.udp = append(o.udp, udp)
	}
	return o, nil
}

func (s *Set) tcpListener(l names.Listener, tcp *net.TCPListener) *tcpListener {
	return &tcpListener{listener: l, l: tcp, handler: s.handler, conns: s.conns, log: s.log}
}

// serve begins to answer.
func (s *Set) serve(l names.Listener, o *listener) {
	go o.tcp.serve()
	for _, conn := range o.udp {
		go (&udpSocket{listener: l, conn: conn, handler: s.handler, log: s.log}).serve()
	}
}

// ensureInside has the sockets in a container, which it adopted, or makes them
// if it still may.
func (s *Set) ensureInside(l names.Listener) error {
	place := s.wanted[l]
	if o := s.open[l]; o != nil {
		if o.place == place {
			return nil
		}
		s.close(l, o) // another namespace, of a container of the same ID
	}
	sockets, ok := s.adopted[l]
	if !ok {
		var err error
		if sockets, err = inside.OpenAt(place.Netns, place.Port); err != nil {
			return fmt.Errorf("listen on %s: %w", l, err)
		}
		defer sockets.Close()
	}
	o, err := s.adopt(l, sockets)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", l, err)
	}
	o.place, s.open[l] = place, o
	s.serve(l, o)
	s.log.Info("listening", "container", l.Container, "port", o.port)
	return nil
}

func (s *Set) adopt(l names.Listener, sockets inside.Sockets) (*listener, error) {
	// The connections get descriptors of their own.
	udp, err := net.FilePacketConn(sockets.UDP)
	if err != nil {
		return nil, err
	}
	tcp, err := net.FileListener(sockets.TCP)
	if err != nil {
		udp.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	u, isUDP := udp.(*net.UDPConn)
	t, isTCP := tcp.(*net.TCPListener)
	if !isUDP || !isTCP {
		return nil, errors.Join(errors.New("the sockets are not UDP and TCP"), udp.Close(), tcp.Close())
	}
	if err := prepareUDP(u); err != nil {
		return nil, errors.Join(err, udp.Close(), tcp.Close())
	}
	return &listener{port: t.Addr().(*net.TCPAddr).AddrPort().Port(), udp: []*net.UDPConn{u}, tcp: s.tcpListener(l, t)}, nil
}

// sockets is how many UDP sockets an address gets. One answers some 100,000
// questions a second; the second one is for when a processor is busy otherwise.
func sockets() int { return min(runtime.GOMAXPROCS(0), 2) }

func (s *Set) close(l names.Listener, o *listener) {
	delete(s.open, l)
	o.close()
	s.conns.closeAll(o.tcp)
	s.log.Info("no longer listening", "listener", l)
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
		return fmt.Errorf("listen on %s: other servers have port %d and our own %d to %d on all addresses (find them with `ss -lnptu`): %w", l.Gateway, Port, firstOwnPort, lastOwnPort, err)
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
