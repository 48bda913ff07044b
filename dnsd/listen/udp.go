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
// Should one request bring us down, only that one, and the few that were read
// with it, go without an answer.
func (s *udpSocket) answerSome() (closed bool) {
	defer func() { recovered(s.log, recover()) }()
	b, err := newBatch(s.conn)
	if err != nil {
		return true
	}
	var scratch [batchSize]*resolver.Scratch
	for i := range scratch {
		scratch[i] = resolver.NewScratch()
	}
	peer := resolver.Peer{Listener: s.listener, Back: s}
	for {
		err := b.read()
		if errors.Is(err, net.ErrClosed) {
			return true
		}
		if err != nil {
			continue // an ICMP error for an earlier reply
		}
		for i := range b.n {
			peer.Addr = b.source(i)
			if reply, _ := s.handler.Handle(b.message(i), peer, scratch[i]); reply != nil {
				b.reply(i, reply)
			}
		}
		b.send()
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
