package listen

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolver"
)

// Handler answers requests; see resolver.Resolver.
type Handler interface {
	Handle(msg []byte, from resolver.Peer, scratch *resolver.Scratch) (reply []byte, later bool)
}

// maxRequest in bytes is the longest request over UDP. Real ones have some
// hundred; what is cut off here is malformed.
const maxRequest = 1500

// udpSocket is one of a listener's UDP sockets.
type udpSocket struct {
	listener names.Listener
	conn     *net.UDPConn
	handler  Handler
	log      *slog.Logger

	batch   *batch
	next    int // of the batch, to be answered
	scratch *resolver.Scratch
}

// serve answers until the socket is closed.
func (s *udpSocket) serve() {
	var err error
	if s.batch, err = newBatch(s.conn); err != nil {
		s.log.Error("serve", "listener", s.listener, "err", err)
		return
	}
	s.scratch = resolver.NewScratch()
	for !s.answer() {
	}
}

// answer answers until the socket is closed, which it reports with true.
// Should one request bring us down, only that one goes without an answer.
func (s *udpSocket) answer() (closed bool) {
	defer func() { recovered(s.log, recover()) }()
	peer := resolver.Peer{Listener: s.listener, Back: s}
	for {
		for s.next < s.batch.n {
			i := s.next
			s.next++
			peer.Addr = s.batch.source(i)
			if reply, _ := s.handler.Handle(s.batch.message(i), peer, s.scratch); reply != nil {
				s.batch.reply(i, reply)
			}
		}
		s.batch.send()
		s.next = 0
		err := s.batch.read()
		if errors.Is(err, net.ErrClosed) {
			return true
		}
		if err != nil {
			// Of an earlier reply's ICMP message, or of the device; should
			// it stay, it must not keep a processor busy.
			time.Sleep(time.Millisecond)
		}
	}
}

// SendReply sends a reply from the address that was asked. A client that is
// gone by now is no error of ours.
func (s *udpSocket) SendReply(reply []byte, to netip.AddrPort) {
	s.conn.WriteToUDPAddrPort(reply, to) //nolint:errcheck // see above
}

// plain is an address without a zone, as it stands in the ledger.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func recovered(log *slog.Logger, cause any) {
	if cause != nil {
		log.Error("a request caused a panic", "panic", cause, "stack", stack())
	}
}
