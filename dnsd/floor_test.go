package dnsd

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/miekg/dns"
)

// floor is the least that a server made with the library does: look the name
// up in a map, make a message, write it.
func floor(args []string) {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	table := make(map[string]net.IP, n)
	for i := range n {
		table[fmt.Sprintf("web%d.", i)] = net.IPv4(10, 1, byte(i>>8), byte(i))
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, req *dns.Msg) {
		m := new(dns.Msg).SetReply(req)
		if ip := table[req.Question[0].Name]; ip != nil {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: req.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: ip}}
		}
		w.WriteMsg(m)
	})
	go func() {
		fmt.Fprintln(os.Stderr, (&dns.Server{Addr: "10.0.0.1:53", Net: "tcp", Handler: handler, MaxTCPQueries: -1}).ListenAndServe())
	}()
	fmt.Fprintln(os.Stderr, (&dns.Server{Addr: "10.0.0.1:53", Net: "udp", Handler: handler}).ListenAndServe())
}

// quickUpstream answers every question with one address, as fast as it can.
func quickUpstream() {
	conn, err := net.ListenPacket("udp4", "127.0.0.53:53")
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.(*net.UDPConn).ReadFromUDPAddrPort(buf)
		if err != nil {
			panic(err)
		}
		buf[2] |= 0x80
		buf[7] = 1 // one answer
		reply := append(buf[:n], 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1)
		conn.(*net.UDPConn).WriteToUDPAddrPort(reply, from)
	}
}
