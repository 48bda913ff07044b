package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Patience is how long a question waits for its answer. Everything is on one
// machine: an answer that takes longer was lost.
const Patience = 700 * time.Millisecond

// Serve answers on a TCP or UDP port of the namespace until stop is called:
// whoever asks is told the token and the address it was seen as. The network
// is "tcp" or "udp".
func (n *Netns) Serve(network string, at netip.AddrPort, token string) (stop func(), err error) {
	n.cannot("servers answer in " + n.Name + ", and questions are put to them")
	if network == "udp" {
		return n.serveUDP(at, token)
	}
	var listener net.Listener
	err = n.Do(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(context.Background(), sized("tcp", at.Addr()), at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", n.Name, err)
	}
	n.holds(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "%s %s\n", token, conn.RemoteAddr())
			conn.Close()
		}
	}()
	return func() { listener.Close() }, nil
}

func (n *Netns) serveUDP(at netip.AddrPort, token string) (func(), error) {
	var conn net.PacketConn
	err := n.Do(func() (err error) {
		conn, err = (&net.ListenConfig{}).ListenPacket(context.Background(), sized("udp", at.Addr()), at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", n.Name, err)
	}
	n.holds(func() { conn.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(replyTo{conn, from}, "%s %s\n", token, from)
		}
	}()
	return func() { conn.Close() }, nil
}

// replyTo writes datagrams to one peer.
type replyTo struct {
	conn net.PacketConn
	peer net.Addr
}

func (r replyTo) Write(b []byte) (int, error) { return r.conn.WriteTo(b, r.peer) }

// Answer is what a server said.
type Answer struct {
	Token  string
	SeenAs netip.AddrPort // the asker's address as the server saw it
}

// Ask puts a question to a server from inside the namespace. from may be the
// zero value; otherwise it is the local address and port to ask from.
func (n *Netns) Ask(network string, to, from netip.AddrPort) (Answer, error) {
	var text string
	err := n.Do(func() (err error) { text, err = ask(network, to, from); return err })
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s %s from %s: %w", network, to, n.Name, err)
	}
	token, seen, _ := strings.Cut(strings.TrimSpace(text), " ")
	addr, err := netip.ParseAddrPort(seen)
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s %s from %s: odd answer %q", network, to, n.Name, text)
	}
	return Answer{token, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}, nil
}

// ask runs on the namespace's thread. Dialling a literal address stays on it:
// there is nothing to resolve and no second family to race.
func ask(network string, to, from netip.AddrPort) (string, error) {
	d := net.Dialer{Timeout: Patience}
	if from.IsValid() {
		d.LocalAddr = local(network, from)
	}
	conn, err := d.Dial(sized(network, to.Addr()), to.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(Patience))
	if network == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	buf := make([]byte, 512)
	got, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	return string(buf[:got]), nil
}

func local(network string, from netip.AddrPort) net.Addr {
	if network == "udp" {
		return net.UDPAddrFromAddrPort(from)
	}
	return net.TCPAddrFromAddrPort(from)
}

// sized is "tcp4", "udp6" and so on, so that nothing dual-stack happens.
func sized(network string, addr netip.Addr) string {
	if addr.Is4() {
		return network + "4"
	}
	return network + "6"
}

// Hear listens for a datagram on a UDP port without ever answering. Within
// tells whether one has come by the end of a time.
func (n *Netns) Hear(at netip.AddrPort) (within func(time.Duration) bool, err error) {
	n.cannot("a server listens in " + n.Name)
	var conn net.PacketConn
	err = n.Do(func() (err error) {
		conn, err = (&net.ListenConfig{}).ListenPacket(context.Background(), sized("udp", at.Addr()), at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", n.Name, err)
	}
	n.holds(func() { conn.Close() })
	return func(wait time.Duration) bool {
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(wait))
		_, _, err := conn.ReadFrom(make([]byte, 512))
		return err == nil
	}, nil
}
