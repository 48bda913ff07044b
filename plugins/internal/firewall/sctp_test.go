package firewall

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"testing"
	"time"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// Published SCTP ports lead to the container, in both families. Kernels
// without SCTP sockets still translate it, so the association's first packet is
// made and looked for by hand.
func TestSCTPIsPublished(t *testing.T) {
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := newWorld(t, b)
		r := publishing("web", 2, 8080, 80)
		for i := range r.Publish {
			r.Publish[i].Protocol = wire.SCTP
		}
		w.apply(t, b, r)
		for network, to := range map[string]string{"ip4:132": "192.0.2.1", "ip6:132": "2001:db8::1"} {
			arrived := w.web.sctpPorts(t, network)
			for sent, deadline := false, time.Now().Add(answered); !sent; {
				w.outside.do(t, func() {
					conn, err := net.Dial(network, to)
					check(t, err)
					defer conn.Close()
					_, err = conn.Write(sctpInit(4000, 8080))
					check(t, err)
				})
				select {
				case port := <-arrived:
					if sent = true; port != 80 {
						t.Errorf("%s: arrived at port %d, want 80", to, port)
					}
				case <-time.After(time.Second): // the neighbour was not known yet
					if time.Now().After(deadline) {
						t.Fatalf("%s: nothing arrived", to)
					}
				}
			}
		}
	})
}

// sctpPorts gives the destination ports of SCTP packets that arrive.
func (s *space) sctpPorts(t *testing.T, network string) <-chan uint16 {
	t.Helper()
	arrived := make(chan uint16, 8)
	s.do(t, func() {
		conn, err := net.ListenPacket(network, "")
		check(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		go func() {
			for buffer := make([]byte, 1500); ; {
				n, _, err := conn.ReadFrom(buffer)
				if err != nil {
					return
				}
				if n >= 12 {
					select {
					case arrived <- binary.BigEndian.Uint16(buffer[2:]):
					default:
					}
				}
			}
		}()
	})
	return arrived
}

// sctpInit is a packet with one INIT chunk (RFC 9260, 3.1 and 3.3.2). Its
// checksum is CRC32c, least significant byte first.
func sctpInit(from, to uint16) []byte {
	p := make([]byte, 12+20)
	binary.BigEndian.PutUint16(p[0:], from)
	binary.BigEndian.PutUint16(p[2:], to)
	p[12] = 1
	binary.BigEndian.PutUint16(p[14:], 20)
	binary.BigEndian.PutUint32(p[16:], 1)     // initiate tag
	binary.BigEndian.PutUint32(p[20:], 65536) // window
	binary.BigEndian.PutUint16(p[24:], 1)     // streams out
	binary.BigEndian.PutUint16(p[26:], 1)     // streams in
	binary.BigEndian.PutUint32(p[28:], 1)     // transmission sequence number
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}
