package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// scripted is a connection that delivers given chunks, then the end.
type scripted struct {
	chunks [][]byte
	end    error
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.chunks) == 0 {
		return 0, c.end
	}
	n := copy(p, c.chunks[0])
	if c.chunks[0] = c.chunks[0][n:]; len(c.chunks[0]) == 0 {
		c.chunks = c.chunks[1:]
	}
	return n, nil
}

func (c *scripted) SetReadDeadline(time.Time) error { return nil }

func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

func message(n int) []byte {
	return bytes.Repeat([]byte{byte(n)}, n)
}

// split cuts bytes into pieces of n.
func split(b []byte, n int) (chunks [][]byte) {
	for len(b) > n {
		chunks, b = append(chunks, b[:n]), b[n:]
	}
	return append(chunks, b)
}

func TestReader(t *testing.T) {
	var all []byte
	sizes := []int{12, 100, 13, 65535, 40, 5000, 2046, 2047, 12, 12, 12}
	for _, n := range sizes {
		all = append(all, frame(message(n))...)
	}
	for _, piece := range []int{1, 2, 3, 7, 100, 1000, len(all)} {
		r := NewReader(&scripted{split(bytes.Clone(all), piece), io.EOF}, time.Second, time.Second)
		for i, n := range sizes {
			msg, err := r.Next()
			if err != nil || !bytes.Equal(msg, message(n)) {
				t.Fatalf("pieces of %d: message %d has %d bytes, want %d: %v", piece, i, len(msg), n, err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("pieces of %d: at the end: %v", piece, err)
		}
	}
}

func TestReaderEnds(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0}, io.ErrUnexpectedEOF},
		{"half a message", frame(message(40))[:20], io.ErrUnexpectedEOF},
		{"no length", []byte{0, 0}, ErrShort},
		{"less than a header", frame(message(11)), ErrShort},
	}
	for _, test := range tests {
		r := NewReader(&scripted{[][]byte{test.in}, io.EOF}, time.Second, time.Second)
		if _, err := r.Next(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// TestReaderPatience: a client that says nothing, and one that says it slowly.
func TestReaderPatience(t *testing.T) {
	const limit, never = 300 * time.Millisecond, time.Hour
	tests := []struct {
		name               string
		say                func(c net.Conn)
		ok                 int // messages before the end
		first, whole, idle time.Duration
	}{
		{"nothing at all", func(net.Conn) {}, 0, limit, never, never},
		{"nothing more", func(c net.Conn) { c.Write(frame(message(12))) }, 1, never, never, limit},
		{"the rest never comes", func(c net.Conn) { c.Write([]byte{0, 12, 1}) }, 0, never, limit, never},
		{"a byte now and then", func(c net.Conn) {
			for _, b := range frame(message(100)) {
				c.Write([]byte{b})
				time.Sleep(limit / 10)
			}
		}, 0, never, limit, never},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			go test.say(theirs)
			r := NewReader(ours, test.first, test.whole)
			start, n := time.Now(), 0
			for {
				if _, err := r.Next(); err != nil {
					break
				}
				n++
				r.SetIdle(test.idle)
			}
			if took := time.Since(start); n != test.ok || took < limit {
				t.Errorf("%d messages, ended after %s; want %d and %s", n, took, test.ok, limit)
			}
		})
	}
}

// FuzzReader: whatever the stream and however it is cut, the messages are
// those that the simplest reader finds.
func FuzzReader(f *testing.F) {
	f.Add(frame(message(20)), uint8(3))
	f.Add(append(frame(message(12)), frame(message(300))...), uint8(1))
	f.Add([]byte{0xff, 0xff, 1}, uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		r := NewReader(&scripted{split(bytes.Clone(in), int(piece)+1), io.EOF}, time.Second, time.Second)
		rest := in
		for {
			msg, err := r.Next()
			var n int
			if len(rest) >= 2 {
				n = int(binary.BigEndian.Uint16(rest))
			}
			whole := len(rest) >= 2 && n >= headerLen && len(rest) >= 2+n
			if (err == nil) != whole {
				t.Fatalf("at %d: %v", len(in)-len(rest), err)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(msg, rest[2:2+n]) {
				t.Fatalf("at %d: got %x", len(in)-len(rest), msg)
			}
			rest = rest[2+n:]
			if len(r.buf) > 2*(2+65535) {
				t.Fatalf("buffer of %d bytes", len(r.buf))
			}
		}
	})
}

// writes is a connection that keeps each write apart.
type writes struct {
	out    chan []byte
	closed chan struct{}
}

func (w writes) Write(p []byte) (int, error) {
	select {
	case w.out <- bytes.Clone(p):
		return len(p), nil
	case <-w.closed:
		return 0, io.ErrClosedPipe
	}
}

func (w writes) SetWriteDeadline(time.Time) error { return nil }
func (w writes) Close() error                     { close(w.closed); return nil }

// TestWriter: a message goes out in one write with its length, and those that
// come together go together.
func TestWriter(t *testing.T) {
	c := writes{make(chan []byte), make(chan struct{})}
	w := NewWriter(c, time.Second)
	a, b := message(12), message(13)
	if err := errors.Join(w.Queue(a), w.Queue(b)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.Flush() }()
	if got := <-c.out; !bytes.Equal(got, append(frame(a), frame(b)...)) {
		t.Errorf("first write: %x", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := w.Send(b); err != nil {
		t.Fatal(err)
	}
	if got := <-c.out; !bytes.Equal(got, frame(b)) {
		t.Errorf("second write: %x", got)
	}
}

// TestSlowPeer: the writer does not wait for who does not read, nor keep
// everything for him.
func TestSlowPeer(t *testing.T) {
	c := writes{make(chan []byte), make(chan struct{})}
	w := NewWriter(c, time.Second)
	msg := make([]byte, 65535)
	for i := range 10 {
		err := w.Send(msg)
		if i < 4 && err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if errors.Is(err, ErrBacklog) {
			select {
			case <-c.closed:
			case <-time.After(30 * time.Second):
				t.Error("the connection is still open")
			}
			return
		}
	}
	t.Error("ten of the longest messages wait for a peer that reads none")
}
