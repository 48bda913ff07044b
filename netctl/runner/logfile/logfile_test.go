package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func moment(s int) time.Time { return time.Date(2026, 1, 2, 15, 4, s, 5, time.UTC) }

func create(t *testing.T, maxSize int64, maxFiles int) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	w, err := Create(path, maxSize, maxFiles)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, path
}

func put(t *testing.T, s *Stream, at time.Time, text string) {
	t.Helper()
	if err := s.Write(at, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// text joins entries as logs prints them.
func text(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.Write(e.Text)
		if !e.Partial {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func read(t *testing.T, path string, q Query) []Entry {
	t.Helper()
	var out []Entry
	err := Read(context.Background(), path, q, func(e Entry) error {
		e.Text = bytes.Clone(e.Text)
		out = append(out, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFormat(t *testing.T) {
	w, path := create(t, 1<<20, 3)
	out, errs := w.Stream(Stdout, false), w.Stream(Stderr, false)
	put(t, out, moment(1), "one\ntwo\nthr")
	put(t, errs, moment(2), "bad\n")
	put(t, out, moment(3), "ee\n\nlast")
	if err := out.Close(moment(4)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `2026-01-02T15:04:01.000000005Z stdout F one
2026-01-02T15:04:01.000000005Z stdout F two
2026-01-02T15:04:02.000000005Z stderr F bad
2026-01-02T15:04:03.000000005Z stdout F three
2026-01-02T15:04:03.000000005Z stdout F 
2026-01-02T15:04:04.000000005Z stdout P last
`
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTerminalIsWrittenAtOnce(t *testing.T) {
	w, path := create(t, 1<<20, 3)
	s := w.Stream(Stdout, true)
	put(t, s, moment(1), "$ ")
	put(t, s, moment(2), "ls\r\n")
	if got := text(read(t, path, Query{Tail: -1})); got != "$ ls\r\n" {
		t.Errorf("got %q", got)
	}
}

// Whatever the pieces, what is read is what was written, and no line of the file
// is longer than the format allows.
func TestAnyPiecesComeBack(t *testing.T) {
	long := strings.Repeat("x", 3*maxLine+17)
	input := "short\n" + long + "\n\n" + long[:maxLine] + "\nend"
	for _, piece := range []int{1, 7, 4096, maxLine, 32 << 10, len(input)} {
		w, path := create(t, 1<<30, 3)
		s := w.Stream(Stdout, false)
		for i := 0; i < len(input); i += piece {
			put(t, s, moment(1), input[i:min(i+piece, len(input))])
		}
		if err := s.Close(moment(2)); err != nil {
			t.Fatal(err)
		}
		entries := read(t, path, Query{Tail: -1})
		if text(entries) != input {
			t.Errorf("pieces of %d: differs", piece)
		}
		for _, e := range entries {
			if len(e.Text) > maxLine {
				t.Errorf("pieces of %d: line of %d bytes", piece, len(e.Text))
			}
		}
	}
}

func TestRotation(t *testing.T) {
	w, path := create(t, 1000, 3)
	s := w.Stream(Stdout, false)
	for i := range 200 {
		put(t, s, moment(1), fmt.Sprintf("line %03d\n", i))
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	entries := read(t, path, Query{Tail: -1})
	if len(entries) < 40 || string(entries[len(entries)-1].Text) != "line 199" {
		t.Fatalf("%d entries, the last %q", len(entries), entries[len(entries)-1].Text)
	}
	for i, e := range entries {
		if want := fmt.Sprintf("line %03d", 200-len(entries)+i); string(e.Text) != want {
			t.Fatalf("entry %d is %q, want %q", i, e.Text, want)
		}
	}
}

func TestOneFileRotates(t *testing.T) {
	w, path := create(t, 100, 1)
	s := w.Stream(Stdout, false)
	for i := range 20 {
		put(t, s, moment(1), fmt.Sprintf("line %03d\n", i))
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 1 {
		t.Errorf("files %v", files)
	}
}

func TestReopenAppends(t *testing.T) {
	w, path := create(t, 1<<20, 3)
	put(t, w.Stream(Stdout, false), moment(1), "first\n")
	w.Close()
	again, err := Create(path, 1<<20, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	put(t, again.Stream(Stdout, false), moment(2), "second\n")
	if got := text(read(t, path, Query{Tail: -1})); got != "first\nsecond\n" {
		t.Errorf("got %q", got)
	}
}

func TestQueries(t *testing.T) {
	w, path := create(t, 1<<20, 3)
	s := w.Stream(Stdout, false)
	for i := range 10 {
		put(t, s, moment(i), fmt.Sprintf("%d\n", i))
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Tail: 0}, ""},
		{Query{Tail: 2}, "8\n9\n"},
		{Query{Tail: 100}, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"},
		{Query{Tail: -1, Since: moment(7)}, "7\n8\n9\n"},
		{Query{Tail: -1, Until: moment(1)}, "0\n1\n"},
		{Query{Tail: 1, Since: moment(2), Until: moment(5)}, "5\n"},
	} {
		if got := text(read(t, path, c.q)); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.q, got, c.want)
		}
	}
}

// A tail counts lines, not entries, and does not tear lines of two streams.
func TestTailOfLongLines(t *testing.T) {
	w, path := create(t, 1<<30, 3)
	out, errs := w.Stream(Stdout, true), w.Stream(Stderr, true)
	put(t, out, moment(1), "first\n")
	put(t, out, moment(1), "a")
	put(t, errs, moment(1), "x")
	put(t, out, moment(1), "b\n")
	put(t, errs, moment(1), "y\n")
	if got := text(read(t, path, Query{Tail: 2})); got != "ab\nxy\n" {
		t.Errorf("got %q", got)
	}
}

func TestNoLogYet(t *testing.T) {
	if got := read(t, filepath.Join(t.TempDir(), "log"), Query{Tail: -1}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestBrokenLinesArePassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	content := "2026-01-02T15:04:05Z stdout F good\nnonsense\n2026-01-02T15:04:05Z stdin F x\n2026-01-02T15:04:05Z stdout F:tag also good\n2026-01-02T15:0"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := text(read(t, path, Query{Tail: -1})); got != "good\nalso good\n" {
		t.Errorf("got %q", got)
	}
}

// Following sees every line once and in order, over rotations, and ends when
// the container has.
func TestFollow(t *testing.T) {
	w, path := create(t, 4000, 3)
	s := w.Stream(Stdout, false)
	put(t, s, moment(1), "before\n")
	ended := make(chan struct{})
	seen := make(chan string, 10000)
	finished := make(chan error, 1)
	go func() {
		finished <- Read(context.Background(), path, Query{Tail: -1, Follow: true, Ended: ended}, func(e Entry) error {
			seen <- string(e.Text)
			return nil
		})
	}()
	if got := <-seen; got != "before" {
		t.Fatalf("got %q", got)
	}
	for i := range 500 {
		line := fmt.Sprintf("line %d", i)
		put(t, s, moment(2), line+"\n")
		if got := <-seen; got != line { // by event: there is no timeout to hide a poll behind
			t.Fatalf("got %q, want %q", got, line)
		}
	}
	put(t, s, moment(3), "last\n")
	close(ended)
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "last" {
		t.Errorf("got %q", got)
	}
}

func TestFollowBeginsBeforeTheLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	ended := make(chan struct{})
	seen := make(chan string, 1)
	finished := make(chan error, 1)
	go func() {
		finished <- Read(context.Background(), path, Query{Tail: -1, Follow: true, Ended: ended}, func(e Entry) error {
			seen <- string(e.Text)
			return nil
		})
	}()
	w, err := Create(path, 1<<20, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	put(t, w.Stream(Stdout, false), moment(1), "hello\n")
	if got := <-seen; got != "hello" {
		t.Errorf("got %q", got)
	}
	close(ended)
	if err := <-finished; err != nil {
		t.Error(err)
	}
}

// Following ends when the time is past that was asked for, now or later.
func TestFollowEndsAtItsUntil(t *testing.T) {
	w, path := create(t, 1<<20, 3)
	put(t, w.Stream(Stdout, false), moment(1), "early\n")
	for _, until := range []time.Time{moment(2), time.Now().Add(50 * time.Millisecond)} {
		var got []string
		err := Read(t.Context(), path, Query{Tail: -1, Until: until, Follow: true, Ended: make(chan struct{})}, func(e Entry) error {
			got = append(got, string(e.Text))
			return nil
		})
		if err != nil || !slices.Equal(got, []string{"early"}) {
			t.Errorf("until %v: got %q, %v", until, got, err)
		}
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	_, path := create(t, 1<<20, 3)
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() {
		finished <- Read(ctx, path, Query{Tail: -1, Follow: true}, func(Entry) error { return nil })
	}()
	cancel()
	if err := <-finished; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("2026-01-02T15:04:05.000000000Z stdout F text"))
	f.Add([]byte("2026-01-02T15:04:05Z stderr P:x "))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := Parse(line)
		if err != nil {
			return
		}
		again, err := Parse(bytes.TrimSuffix(e.append(nil), []byte("\n")))
		if err != nil || !again.Time.Equal(e.Time) || again.Stream != e.Stream || again.Partial != e.Partial || !slices.Equal(again.Text, e.Text) {
			t.Errorf("%q became %+v, %v", line, again, err)
		}
	})
}
