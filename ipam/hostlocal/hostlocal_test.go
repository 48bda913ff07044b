package hostlocal

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam/flock"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func newDir(t testing.TB) Dir {
	t.Helper()
	d, err := In(t.TempDir(), "net")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	return d
}

func begin(t testing.TB, d Dir) *Change {
	t.Helper()
	c, err := d.Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.End)
	return c
}

func write(t testing.TB, d Dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.path, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		want          Holder
		damaged       bool
	}{
		{"reference", "c1\r\neth0", Holder{"c1", "eth0"}, false},
		{"edited by hand", " c1\neth0\n", Holder{"c1", "eth0"}, false},
		{"old format", "c1", Holder{"c1", ""}, false},
		{"old format, newline", "c1\r\n", Holder{"c1", ""}, false},
		{"cut inside the line end", "c1\r", Holder{"c1", ""}, false},
		{"cut inside the interface", "c1\r\net", Holder{"c1", "et"}, false},
		{"interface with a dot", "c1\r\neth0.100", Holder{"c1", "eth0.100"}, false},
		{"empty", "", Holder{}, true},
		{"zeros after a power cut", "\x00\x00\x00\x00", Holder{}, true},
		{"a line", "\n", Holder{}, false},
		{"a note", "the printer on floor 2", Holder{}, false},
		{"a note of several lines", "printer\r\nfloor 2", Holder{}, false},
		{"no ID can begin so", "-c1\r\neth0", Holder{}, false},
		{"interface too long", "c1\r\neth0123456789012", Holder{}, false},
		{"three lines", "c1\r\neth0\r\nmore", Holder{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if h, damaged := parse([]byte(tt.content)); h != tt.want || damaged != tt.damaged {
				t.Errorf("got %+v, %t", h, damaged)
			}
		})
	}
}

func TestVoid(t *testing.T) {
	boot := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	before, after := boot.Add(-time.Second), boot.Add(time.Second)
	held, old := Holder{"c1", "eth0"}, Holder{"c1", ""}
	for _, tt := range []struct {
		name string
		Reservation
		want bool
	}{
		{"of this boot", Reservation{Holder: held, Modified: after}, false},
		{"of an earlier one", Reservation{Holder: held, Modified: before}, true},
		{"at the very moment", Reservation{Holder: held, Modified: boot}, false},
		{"old format", Reservation{Holder: old, Modified: before}, true},
		{"manual", Reservation{Modified: before}, false},
		{"empty, of this boot", Reservation{Damaged: true, Modified: after}, false},
		{"empty, of an earlier one", Reservation{Damaged: true, Modified: before}, true},
		{"clock not set", Reservation{Holder: held, Modified: time.Unix(100, 0)}, false},
		{"clock of a flat battery", Reservation{Holder: held, Modified: time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.Void(boot); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestAddressOf(t *testing.T) {
	for name, want := range map[string]bool{
		"10.1.0.2": true, "fd00::2": true, "0.0.0.0": true,
		"lock": false, "last_reserved_ip.0": false, unfinished: false, "": false,
		"010.1.0.2": false, "FD00::2": false, "fd00:0::2": false, "fd00::2%eth0": false, "::ffff:10.1.0.2": false, "10.1.0.2.bak": false,
	} {
		if _, ok := addressOf(name); ok != want {
			t.Errorf("%q: got %t", name, ok)
		}
	}
}

// TestScan reads what may lie in such a directory; only addresses count, and
// what can't be read is reserved by hand.
func TestScan(t *testing.T) {
	d := newDir(t)
	write(t, d, "10.1.0.2", "c1\r\neth0")
	write(t, d, "fd00::2", "c1\r\neth0")
	write(t, d, "10.1.0.3", "old")
	write(t, d, "10.1.0.4", "")
	write(t, d, "10.1.0.5", "printer on floor 2\n")
	write(t, d, "last_reserved_ip.0", "10.1.0.4")
	write(t, d, "README", "c1\r\neth0")
	for name, make := range map[string]func(string) error{
		"10.1.0.6": func(p string) error { return os.Mkdir(p, 0o700) },
		"10.1.0.7": func(p string) error { return os.Symlink("10.1.0.2", p) },
		"10.1.0.8": func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		if err := make(filepath.Join(d.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := d.Scan()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range all {
		got[r.Addr.String()] = fmt.Sprintf("%s %s %t", r.Container, r.IfName, r.Damaged)
	}
	want := map[string]string{
		"10.1.0.2": "c1 eth0 false", "fd00::2": "c1 eth0 false", "10.1.0.3": "old  false",
		"10.1.0.4": "  true", "10.1.0.5": "  false", "10.1.0.6": "  false", "10.1.0.7": "  false", "10.1.0.8": "  false",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestNoDirectory(t *testing.T) {
	d, err := In(t.TempDir(), "net")
	if err != nil {
		t.Fatal(err)
	}
	if stamp, err := d.Stamp(); err != nil || !stamp.IsZero() {
		t.Errorf("stamp: %s, %v", stamp, err)
	}
	if all, err := d.Scan(); err != nil || len(all) > 0 {
		t.Errorf("scan: %v, %v", all, err)
	}
	if _, found := d.Read(addr("10.1.0.2")); found || d.Cursor(0).IsValid() {
		t.Error("read something")
	}
	if _, err := d.Begin(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("begin: %v", err)
	}
	if _, err := os.Stat(d.path); err == nil {
		t.Error("looking made the directory")
	}
}

// TestCreate writes what the reference writes, byte for byte.
func TestCreate(t *testing.T) {
	d := newDir(t)
	c := begin(t, d)
	a, h := addr("10.1.0.2"), Holder{"c1", "eth0"}
	if err := errors.Join(c.Create(a, h), c.SetCursor(1, a), c.SetCursor(1, addr("10.1.0.3"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"10.1.0.2": "c1\r\neth0", "last_reserved_ip.1": "10.1.0.3"} {
		content, err := os.ReadFile(filepath.Join(d.path, name))
		info, _ := os.Stat(filepath.Join(d.path, name))
		if err != nil || string(content) != want || info.Mode() != 0o600 {
			t.Errorf("%s: %q, %v, %v", name, content, info.Mode(), err)
		}
	}
	if err := c.Create(a, Holder{"c2", "eth0"}); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a second time: %v", err)
	}
	if r, found := d.Read(a); !found || r.Holder != h {
		t.Errorf("the first has become %+v", r)
	}
	if got := d.Cursor(1); got != addr("10.1.0.3") {
		t.Errorf("cursor: %s", got)
	}
	wantFiles(t, d, "10.1.0.2", "last_reserved_ip.1", "lock")
}

func TestUndo(t *testing.T) {
	d := newDir(t)
	c := begin(t, d)
	write(t, d, "10.1.0.9", "other\r\neth0")
	for _, text := range []string{"10.1.0.2", "fd00::2"} {
		if err := c.Create(addr(text), Holder{"c1", "eth0"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, d, "10.1.0.9", "lock")
}

func TestRemove(t *testing.T) {
	d := newDir(t)
	c := begin(t, d)
	h := Holder{"c1", "eth0"}
	write(t, d, "10.1.0.2", "c1\r\neth0")
	write(t, d, "10.1.0.3", "c1\r\neth1")
	write(t, d, "10.1.0.4", "")
	for text, want := range map[string]bool{"10.1.0.2": true, "10.1.0.3": false, "10.1.0.4": false, "10.1.0.5": true} {
		if gone, err := c.Remove(addr(text), h); err != nil || gone != want {
			t.Errorf("%s: %t, %v", text, gone, err)
		}
	}
	wantFiles(t, d, "10.1.0.3", "10.1.0.4", "lock")
}

// TestBeginClearsAway what a killed process left.
func TestBeginClearsAway(t *testing.T) {
	d := newDir(t)
	write(t, d, unfinished, "c1\r\n")
	begin(t, d)
	wantFiles(t, d, "lock")
}

func TestOneChangeAtATime(t *testing.T) {
	d := newDir(t)
	c := begin(t, d)
	waited := make(chan error)
	go func() {
		second, err := d.Begin()
		if err == nil {
			second.End()
		}
		waited <- err
	}()
	select {
	case err := <-waited:
		t.Fatalf("two at the same time: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	c.End()
	if err := <-waited; err != nil && !errors.Is(err, flock.ErrBusy) {
		t.Fatal(err)
	}
}

// TestMark finds every change by somebody else, however soon it comes.
func TestMark(t *testing.T) {
	d := newDir(t)
	c := begin(t, d)
	seen := map[time.Time]bool{}
	for i := range 200 {
		stamp := c.Mark()
		if stamp.IsZero() || seen[stamp] {
			t.Fatalf("stamp %s: none, or a second time", stamp)
		}
		seen[stamp] = true
		if now, err := d.Stamp(); err != nil || !now.Equal(stamp) {
			t.Fatalf("the directory has %s, not %s: %v", now, stamp, err)
		}
		if i%2 == 0 {
			write(t, d, fmt.Sprintf("10.1.0.%d", i), "")
		} else if err := os.Remove(filepath.Join(d.path, fmt.Sprintf("10.1.0.%d", i-1))); err != nil {
			t.Fatal(err)
		}
		if now, _ := d.Stamp(); now.Equal(stamp) {
			t.Fatalf("change %d left no trace", i)
		}
	}
}

func TestBoot(t *testing.T) {
	boot, err := Boot()
	if err != nil || boot.After(time.Now()) || !plausible(boot) {
		t.Fatalf("got %s, %v", boot, err)
	}
	now := time.Now()
	if got := earliest(now, []string{"/no/such", t.TempDir()}); !got.Equal(now) && !got.Before(now) {
		t.Errorf("without witness: %s", got)
	}
	if got := earliest(now, []string{"/dev/null"}); !got.Before(now) {
		t.Errorf("/dev/null of this boot says %s", got)
	}
	if got := earliest(time.Unix(1e9, 0), []string{"/dev/null"}); !got.Equal(time.Unix(1e9, 0)) {
		t.Errorf("a witness made boot later: %s", got)
	}
}

// TestFullDisk has a file system without room.
func TestFullDisk(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mount("small", root, "tmpfs", 0, "size=64k,nr_inodes=64"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, 0) })
	d, err := In(root, "net")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	c, err := d.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer c.End()
	if err := os.WriteFile(filepath.Join(root, "filler"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill: %v", err)
	}
	if err := c.Create(addr("10.1.0.2"), Holder{"c1", "eth0"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("create: %v", err)
	}
	if err := c.SetCursor(0, addr("10.1.0.2")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("cursor: %v", err)
	}
	wantFiles(t, d, "lock")
}

func wantFiles(t *testing.T, d Dir, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "c1", "c1\r\neth0", "c1\neth0\n", "\x00", "a b", "c1\r\n\r\neth0"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		h, damaged := parse(content)
		if h.Container == "" {
			if h.IfName != "" {
				t.Fatalf("interface without container: %+v", h)
			}
			return
		}
		if damaged {
			t.Fatalf("damaged, and %+v", h)
		}
		if h.IfName == "" { // written anew it is still the old format
			again, _ := parse([]byte(h.Container))
			if again != h {
				t.Fatalf("%+v became %+v", h, again)
			}
			return
		}
		if again, _ := parse(h.content()); again != h {
			t.Fatalf("%+v became %+v", h, again)
		}
	})
}

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "10.1.0.2", "fd00::2", "10.1.0.2\n", "fe80::1%eth0", "::ffff:10.1.0.2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		a := parseCursor(content)
		if a.IsValid() && parseCursor([]byte(a.String())) != a {
			t.Fatalf("%q: %s does not come back", content, a)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	d := newDir(b)
	a := addr("10.1.0.2")
	for range 65000 {
		write(b, d, a.String(), "0123456789abcdef0123456789abcdef\r\neth0")
		a = a.Next()
	}
	for b.Loop() {
		if all, err := d.Scan(); err != nil || len(all) != 65000 {
			b.Fatal(len(all), err)
		}
	}
}
