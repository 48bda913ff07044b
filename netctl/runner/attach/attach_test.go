package attach

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"
)

// recorder is the container's side of a hub.
type recorder struct {
	mu      sync.Mutex
	stdin   bytes.Buffer
	closed  chan struct{}
	sizes   []Size
	signals chan unix.Signal
}

func newRecorder() *recorder {
	return &recorder{closed: make(chan struct{}, 10), signals: make(chan unix.Signal, 10)}
}

func (r *recorder) Stdin(p []byte)       { r.mu.Lock(); defer r.mu.Unlock(); r.stdin.Write(p) }
func (r *recorder) CloseStdin()          { r.closed <- struct{}{} }
func (r *recorder) Resize(s Size)        { r.mu.Lock(); defer r.mu.Unlock(); r.sizes = append(r.sizes, s) }
func (r *recorder) Signal(s unix.Signal) { r.signals <- s }
func (r *recorder) Change(request []byte) error {
	if string(request) == `"bad"` {
		return errors.New("no such thing")
	}
	_, err := r.stdin.Write(request)
	return err
}

// join makes a client of the hub as `run` does, by an inherited socket.
func join(t *testing.T, h *Hub) *Conn {
	t.Helper()
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := FromFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	h.Add(conn)
	t.Cleanup(func() { ours.Close() })
	return ours
}

func TestSession(t *testing.T) {
	in := newRecorder()
	h := NewHub(in)
	conn := join(t, h)
	var out, errs bytes.Buffer
	type result struct {
		code int
		err  error
	}
	done := make(chan result)
	go func() {
		code, err := Client{In: strings.NewReader("typed"), Out: &out, Err: &errs}.Run(context.Background(), conn)
		done <- result{code, err}
	}()
	<-in.closed // the input has arrived, and its end
	h.Output(Stdout, []byte("to stdout"))
	h.Output(Stderr, []byte("to stderr"))
	h.Exited(42)
	if r := <-done; r.code != 42 || r.err != nil {
		t.Errorf("got %+v", r)
	}
	if in.stdin.String() != "typed" || out.String() != "to stdout" || errs.String() != "to stderr" {
		t.Errorf("stdin %q, stdout %q, stderr %q", &in.stdin, &out, &errs)
	}
}

// All clients see the same, in whole messages, whatever their pace.
func TestManyClients(t *testing.T) {
	h := NewHub(newRecorder())
	const n, messages = 5, 200
	big := bytes.Repeat([]byte("x"), MaxPayload)
	var readers sync.WaitGroup
	for range n {
		conn := join(t, h)
		readers.Go(func() {
			buf := make([]byte, MaxPayload+1)
			for i := 0; ; i++ {
				kind, p, err := conn.Receive(buf)
				if err != nil {
					t.Error(err)
					return
				}
				if kind == Exit {
					if i != messages {
						t.Errorf("%d messages, want %d", i, messages)
					}
					return
				}
				if kind != Stdout || !bytes.Equal(p, big) {
					t.Errorf("message %d: kind %d, %d bytes", i, kind, len(p))
				}
			}
		})
	}
	for range messages {
		h.Output(Stdout, big)
	}
	h.Exited(0)
	readers.Wait()
}

func TestLateClientHearsTheEnd(t *testing.T) {
	h := NewHub(newRecorder())
	h.Exited(7)
	if code, err := Wait(context.Background(), join(t, h)); code != 7 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
}

func TestFailureIsTold(t *testing.T) {
	h := NewHub(newRecorder())
	conn := join(t, h)
	h.Failed(errors.New("no address left"))
	var failed *RunError
	if _, err := Wait(context.Background(), conn); !errors.As(err, &failed) || failed.Text != "no address left" {
		t.Errorf("got %v", err)
	}
}

// A client that has gone away must not hold the container up.
func TestGoneClientIsDropped(t *testing.T) {
	h := NewHub(newRecorder())
	join(t, h).Close()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for range 10 * queueLen {
			h.Output(Stdout, make([]byte, MaxPayload))
		}
		h.Exited(0)
	}()
	select {
	case <-finished:
	case <-time.After(patience / 2):
		t.Fatal("the hub waits for a client that is gone")
	}
}

// Nor may one that has stopped reading, at the end.
func TestStoppedClientDoesNotDelayTheEnd(t *testing.T) {
	h := NewHub(newRecorder())
	join(t, h) // never reads
	for range 4 {
		h.Output(Stdout, make([]byte, MaxPayload))
	}
	begin := time.Now()
	h.Exited(0)
	if took := time.Since(begin); took > 5*lastPatience {
		t.Errorf("the end took %v", took)
	}
}

func TestSignalsAndSizesArrive(t *testing.T) {
	in := newRecorder()
	h := NewHub(in)
	conn := join(t, h)
	for _, m := range []struct {
		kind    Kind
		payload []byte
	}{
		{Resize, Size{120, 40}.encode()}, {Resize, []byte{1}}, {Kind(99), []byte("from the future")},
		{Signal, nil}, {Signal, []byte{byte(unix.SIGHUP)}},
	} {
		if err := conn.Send(m.kind, m.payload); err != nil {
			t.Fatal(err)
		}
	}
	if s := <-in.signals; s != unix.SIGHUP {
		t.Errorf("signal %v", s)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if !slices.Equal(in.sizes, []Size{{120, 40}}) {
		t.Errorf("sizes %v", in.sizes)
	}
}

func TestMonitorThatDied(t *testing.T) {
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	if _, err := Wait(context.Background(), ours); !errors.Is(err, ErrLost) {
		t.Errorf("got %v", err)
	}
}

// State directories may be deeper than a socket address is long.
func TestListenAtALongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "attach.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	h := NewHub(newRecorder())
	go h.Serve(l)
	conn, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	h.Exited(3)
	if code, err := Wait(context.Background(), conn); code != 3 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
	if _, err := Listen(path); err != nil {
		t.Errorf("over an old socket: %v", err)
	}
}

func TestTooLongMessage(t *testing.T) {
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer ours.Close()
	if err := ours.Send(Stdout, make([]byte, MaxPayload+1)); err == nil {
		t.Error("sent")
	}
}

func TestDetacher(t *testing.T) {
	keys := []byte{0x10, 0x11} // ctrl-p ctrl-q
	for _, c := range []struct {
		in, out  string
		detached bool
	}{
		{"hello", "hello", false},
		{"ab\x10\x11cd", "ab", true},
		{"\x10x", "\x10x", false},
		{"\x10\x10\x11", "\x10", true},
		{"\x11\x10", "\x11", false}, // keys that have begun stay held back
		{"", "", false},
	} {
		for _, slow := range []bool{false, true} {
			var r io.Reader = strings.NewReader(c.in)
			if slow {
				r = iotest.OneByteReader(r)
			}
			got, err := io.ReadAll(NewDetacher(r, keys))
			if errors.Is(err, ErrDetached) != c.detached {
				t.Errorf("%q: %v", c.in, err)
			}
			// Bytes before the keys, read together with them, may be lost: the
			// session is over.
			if slow && string(got) != c.out || !c.detached && string(got) != c.out {
				t.Errorf("%q: got %q, want %q", c.in, got, c.out)
			}
		}
	}
	if r := strings.NewReader("x"); NewDetacher(r, nil) != io.Reader(r) {
		t.Error("no keys, and yet a detacher")
	}
}

func FuzzHandle(f *testing.F) {
	f.Add(byte(Resize), []byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		NewHub(newRecorder()).handle(Kind(kind), payload) // must not panic
		decodeExit(payload)
	})
}

// A client asks for changes and is answered in between the output; one that
// asks while the container ends hears of that.
func TestAsk(t *testing.T) {
	in := newRecorder()
	h := NewHub(in)
	conn := join(t, h)
	h.Output(Stdout, []byte("noise"))
	if err := conn.AskFor("good"); err != nil || in.stdin.String() != `"good"` {
		t.Errorf("%v, got %q", err, in.stdin.String())
	}
	var refused *AnswerError
	if err := conn.AskFor("bad"); !errors.As(err, &refused) || refused.Text != "no such thing" {
		t.Errorf("%v", err)
	}
	h.Exited(0)
	if err := conn.AskFor("late"); !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
}

// After Ended the hub goes on for later clients.
func TestEndedIsNotTheLast(t *testing.T) {
	h := NewHub(newRecorder())
	first := join(t, h)
	h.Ended(3)
	if code, err := Wait(context.Background(), first); code != 3 || err != nil {
		t.Errorf("first: %d, %v", code, err)
	}
	second := join(t, h)
	h.Output(Stdout, []byte("again"))
	h.Exited(0)
	var out bytes.Buffer
	if code, err := (Client{Out: &out}).Run(context.Background(), second); code != 0 || err != nil || out.String() != "again" {
		t.Errorf("second: %d, %v, %q", code, err, out.String())
	}
}

// A signal that came before there was anybody to pass it to is passed on with the
// session.
func TestSignalBeforeTheSession(t *testing.T) {
	in := newRecorder()
	h := NewHub(in)
	conn := join(t, h)
	signals := CatchSignals()
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := Client{Out: io.Discard, Err: io.Discard, Signals: signals}.Run(context.Background(), conn)
		ended <- err
	}()
	if got := <-in.signals; got != unix.SIGUSR1 {
		t.Errorf("got %v", got)
	}
	h.Exited(0)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	signals.Stop() // again
}
