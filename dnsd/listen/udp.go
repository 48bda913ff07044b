package listen

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolver"
)

// Handler answers requests; see resolver.Resolver.
type Handler interface {
	Handle(msg []byte, from resolver.Peer, scratch *resolver.Scratch) (reply []byte, later bool)
}

// maxRequest is the longest request over UDP. Real ones have some hundred
// bytes; what is cut off here is malformed.
const maxRequest = 4096

// udpSocket is one of a listener's UDP sockets.
type udpSocket struct {
	listener names.Listener
	conn     *net.UDPConn
	handler  Handler
	log      *slog.Logger
}

// serve answers until the socket is closed.
func (s *udpSocket) serve() {
	for !s.answerSome() {
	}
}

// answerSome answers until the socket is closed, which it reports with true.
// Should one request bring us down, only that one goes without an answer.
func (s *udpSocket) answerSome() (closed bool) {
	defer func() { recovered(s.log, recover()) }()
	buf := make([]byte, maxRequest)
	scratch := resolver.NewScratch()
	peer := resolver.Peer{Listener: s.listener, Back: s}
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return true
		}
		if err != nil {
			continue // an ICMP error for an earlier reply
		}
		peer.Addr = plain(from)
		if reply, _ := s.handler.Handle(buf[:n], peer, scratch); reply != nil {
			s.SendReply(reply, from)
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
