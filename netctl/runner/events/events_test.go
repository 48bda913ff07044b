package events

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func collect(t *testing.T, j Journal, since time.Time) []Event {
	t.Helper()
	var got []Event
	err := j.Read(context.Background(), since, false, func(e Event) bool { got = append(got, e); return true })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSince(t *testing.T) {
	j := Open(t.TempDir() + "/not/there")
	if got := collect(t, j, time.Time{}); got != nil {
		t.Errorf("events of nothing: %v", got)
	}
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 4 {
		e := Event{Time: base.Add(time.Duration(i) * time.Second), Kind: Container, Action: "start", ID: fmt.Sprint(i)}
		if err := j.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if got := collect(t, j, base.Add(2*time.Second)); len(got) != 2 || got[0].ID != "2" {
		t.Errorf("got %v", got)
	}
}

// Many processes append; the file is put aside on the way; a reader that follows
// misses nothing and sees nothing twice.
func TestFollowOverRotations(t *testing.T) {
	j := Open(t.TempDir())
	const writers, each = 8, 400
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := j.Append(Event{Action: "first"}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	started, read := make(chan struct{}), make(chan error, 1)
	go func() {
		read <- j.Read(ctx, time.Time{}, true, func(e Event) bool {
			if e.Action == "first" {
				close(started)
				return true
			}
			if seen[e.ID] {
				t.Errorf("%s twice", e.ID)
			}
			seen[e.ID] = true
			return len(seen) < writers*each
		})
	}()
	<-started
	var all sync.WaitGroup
	long := map[string]string{"name": strings.Repeat("x", 500)}
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if err := j.Append(Event{Kind: Network, Action: "create", ID: fmt.Sprintf("%d-%d", w, i), Attributes: long}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := <-read; err != nil || len(seen) != writers*each {
		t.Fatalf("%d of %d seen, %v", len(seen), writers*each, err)
	}
	if _, err := os.Stat(j.path + ".1"); err != nil {
		t.Errorf("never put aside: %v", err)
	}
}

// What was put aside before and while somebody reads comes in its order.
func TestReadOverRotations(t *testing.T) {
	j := Open(t.TempDir())
	write := func(path, action string) {
		if err := os.WriteFile(path, fmt.Appendf(nil, "{\"action\":%q}\n", action), 0o600); err != nil {
			t.Error(err)
		}
	}
	write(j.path+".1", "a")
	write(j.path, "b")
	if got := collect(t, j, time.Time{}); len(got) != 2 || got[0].Action != "a" || got[1].Action != "b" {
		t.Errorf("got %v", got)
	}
	var got []string
	err := j.Read(t.Context(), time.Time{}, false, func(e Event) bool {
		if got = append(got, e.Action); e.Action == "a" { // which is deleted now
			if err := os.Rename(j.path, j.path+".1"); err != nil {
				t.Error(err)
			}
			write(j.path, "c")
		}
		return true
	})
	if strings.Join(got, " ") != "a b c" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLinesOfOthersArePassedOver(t *testing.T) {
	j := Open(t.TempDir())
	if err := os.WriteFile(j.path, []byte("{\"action\":\"a\"}\nnonsense\n{\"action\":[]}\n{\"action\":\"b\"}\n{\"acti"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, j, time.Time{}); len(got) != 2 || got[1].Action != "b" {
		t.Errorf("got %v", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"action\":\"a\"}\n\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		j := Open(t.TempDir())
		if err := os.WriteFile(j.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		collect(t, j, time.Time{}) // must end, without a panic
	})
}
