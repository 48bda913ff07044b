package handover

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
)

func network(name string, pools ...Pool) Network {
	return Network{Network: name, Group: 7, MTU: 1450, Pools: pools, Inside: []netip.Prefix{netip.MustParsePrefix("10.100.0.0/16")}}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir, "blue"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before anything is written: %v", err)
	}
	if names, err := List(dir); err != nil || len(names) != 0 {
		t.Errorf("before anything is written there is %q, %v", names, err)
	}
	want := network("blue", Pool{Prefix: netip.MustParsePrefix("10.100.1.0/24"), Lost: true},
		Pool{Prefix: netip.MustParsePrefix("10.100.2.0/24")}, Pool{Prefix: netip.MustParsePrefix("fd00:1::/80")})
	for _, change := range []bool{true, false} {
		if changed, err := Write(dir, want); err != nil || changed != change {
			t.Errorf("changed %v, %v; want %v", changed, err, change)
		}
	}
	got, err := Read(dir, "blue")
	if err != nil || got.Group != 7 || got.MTU != 1450 || !slices.Equal(got.Pools, want.Pools) || !slices.Equal(got.Inside, want.Inside) {
		t.Errorf("got %+v, %v", got, err)
	}
	if usable := got.Usable(true); !slices.Equal(usable, []netip.Prefix{netip.MustParsePrefix("10.100.2.0/24")}) {
		t.Errorf("usable are %v: a lost pool is not, nor one of the other family", usable)
	}
	if _, err := Write(dir, network("amber")); err != nil {
		t.Fatal(err)
	}
	// What a killed overlayd leaves is no network.
	if err := os.WriteFile(filepath.Join(Dir(dir), ".draft-1.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := List(dir); err != nil || !slices.Equal(names, []string{"amber", "blue"}) {
		t.Errorf("there are %q, %v", names, err)
	}
	for range 2 {
		if err := Remove(dir, "blue"); err != nil {
			t.Error(err)
		}
	}
	if _, err := Read(dir, "blue"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was removed: %v", err)
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	for text, want := range map[string]string{`{`: "blue.json: ", `{"schema":2}`: "blue.json has schema 2, and this program knows 1"} {
		dir := t.TempDir()
		if _, err := Replace(file(dir, "blue"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir, "blue"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// Await is woken by the file, and knows when nobody would write it.
func TestAwait(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(dir, network("blue")); err != nil {
		t.Fatal(err)
	}
	has := func(n Network) bool { return len(n.Pools) > 0 }
	if _, err := Await(t.Context(), dir, "blue", has); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without overlayd: %v", err)
	}
	running, err := flock.Open(Lock(dir), unix.LOCK_EX, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Await(short, dir, "blue", has); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing came: %v", err)
	}
	waiting := make(chan struct{})
	go func() {
		<-waiting
		if _, err := Write(dir, network("blue", Pool{Prefix: netip.MustParsePrefix("10.100.2.0/24")})); err != nil {
			t.Error(err)
		}
	}()
	first := true
	n, err := Await(t.Context(), dir, "blue", func(n Network) bool {
		if first {
			close(waiting) // after the watch has begun
			first = false
		}
		return has(n)
	})
	if err != nil || len(n.Pools) != 1 {
		t.Errorf("got %+v, %v", n, err)
	}
}
