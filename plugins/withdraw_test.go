package plugins_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/dnsd/client"
)

// TestTheReservationOutlivesTheNames: DEL takes the link away while the resolver is
// about to forget the names, and keeps the address until it has: no answer leads to
// an address that is free.
func TestTheReservationOutlivesTheNames(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := h.container()
	h.must(named("ADD", "web", web, "", ""))
	asked, reply := slowResolver(t, h)
	deleted := make(chan answer, 1)
	go func() { deleted <- h.run(named("DEL", "web", web, "", "")) }()
	<-asked
	begun := time.Now()
	for ; h.hasVeth() && time.Since(begun) < client.Patience; time.Sleep(5 * time.Millisecond) {
	}
	records := h.records()
	// DEL does not wait for a resolver longer than that; on a machine so busy there is
	// nothing to see.
	if inTime := time.Since(begun) < client.Patience; inTime && (h.hasVeth() || len(records) != 1) {
		t.Errorf("while the resolver has not answered: link %v, want none; reservations %v, want that of web", h.hasVeth(), records)
	}
	close(reply)
	if a := <-deleted; a.status != 0 {
		t.Errorf("DEL: status %d\n%s%s", a.status, a.out, a.stderr)
	}
	if records := h.records(); len(records) != 0 {
		t.Errorf("after DEL: reservations %v", records)
	}
}

func (h *host) hasVeth() bool {
	h.t.Helper()
	out, err := h.ns.Output("ip", "-o", "link")
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Contains(out, "veth")
}

// slowResolver stands in for the host's. It tells that it was asked, and answers when
// reply is closed.
func slowResolver(t *testing.T, h *host) (asked <-chan struct{}, reply chan struct{}) {
	t.Helper()
	socket := client.Socket(h.state)
	if err := os.Rename(socket, socket+".real"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		if err := os.Rename(socket+".real", socket); err != nil {
			t.Error(err)
		}
	})
	was, reply := make(chan struct{}), make(chan struct{})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		close(was)
		<-reply
		fmt.Fprintln(conn, "ok", strings.TrimPrefix(strings.TrimSpace(line), "sync "))
	}()
	return was, reply
}
