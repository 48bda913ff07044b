package dnsd

import (
	"net"
	"runtime"
	"testing"
	"time"
)

// TestYield: on one processor, whoever has a packet goes first.
func TestYield(t *testing.T) {
	turns, err := newTurnTaker()
	if err != nil {
		t.Fatal(err)
	}
	defer turns.Close()
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	answered := make(chan struct{}, 100)
	go func() {
		buf := make([]byte, 10)
		for {
			if _, _, err := server.ReadFrom(buf); err != nil {
				close(answered)
				return
			}
			answered <- struct{}{}
		}
	}()
	time.Sleep(time.Millisecond) // the reader waits, or else has the packet at once
	first := 0
	for i := range cap(answered) {
		client.Write([]byte("?"))
		turns.yield()
		if len(answered) == i+1 {
			first++
		}
	}
	// Go's scheduler puts us first once in 61 times, to be fair to us.
	if first < cap(answered)/2 {
		t.Errorf("%d of %d packets were read in the turn after them", first, cap(answered))
	}
	server.Close()
	<-answered
	turns.Close()
	turns.yield() // keeps nobody waiting after the end
}
