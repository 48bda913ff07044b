package resolvconf

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, text string
		want       Config
	}{
		{"nothing", "", Config{}},
		{"ordinary", "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a.example b.example\noptions ndots:2\n",
			Config{Servers: addrs("192.0.2.1", "2001:db8::1"), Search: []string{"a.example", "b.example"}}},
		{"comments and spaces", "# nameserver 1.1.1.1\n; nameserver 2.2.2.2\n\n  nameserver\t192.0.2.1   # mine\n#nameserver 3.3.3.3",
			Config{Servers: addrs("192.0.2.1")}},
		{"a zone", "nameserver fe80::1%eth0\n", Config{Servers: addrs("fe80::1%eth0")}},
		{"twice", "nameserver 192.0.2.1\nnameserver ::ffff:192.0.2.1\n", Config{Servers: addrs("192.0.2.1")}},
		{"this host", "nameserver 0.0.0.0\n", Config{Servers: addrs("127.0.0.1")}},
		{"nonsense", "nameserver\nnameserver x\nnameserver 1.2.3\nfoo bar\nnameserver 224.0.0.251\nnameserver 192.0.2.1\n",
			Config{Servers: addrs("192.0.2.1")}},
		{"the last one counts", "domain a.example\nsearch b.example c.example\n", Config{Search: []string{"b.example", "c.example"}}},
		{"windows", "nameserver 192.0.2.1\r\n", Config{Servers: addrs("192.0.2.1")}},
	}
	for _, test := range tests {
		if got := Parse([]byte(test.text)); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

// FuzzParse: nothing in a file breaks it, and what comes out can be used.
func FuzzParse(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nsearch a.example\ndomain b\nnameserver fe80::1%eth0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := Parse(text)
		for i, a := range c.Servers {
			if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
				t.Fatalf("server %s", a)
			}
			for _, b := range c.Servers[:i] {
				if a == b {
					t.Fatalf("%s twice", a)
				}
			}
		}
		for _, s := range c.Search {
			if s == "" || strings.ContainsAny(s, " \t\n") {
				t.Fatalf("domain %q", s)
			}
		}
	})
}

func write(t *testing.T, path, server string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("nameserver "+server+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestFollow changes the file in all the ways that are used, one after another.
func TestFollow(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "resolv.conf")
	in := func(name string) string { return filepath.Join(dir, name) }
	run := filepath.Join(other, "resolve") // as /run/systemd/resolve
	stub := filepath.Join(run, "stub-resolv.conf")
	steps := []struct {
		name, want string
		do         func()
	}{
		{"it appears", "192.0.2.1", func() { write(t, path, "192.0.2.1") }},
		{"it is written", "192.0.2.2", func() { write(t, path, "192.0.2.2") }},
		{"it is replaced", "192.0.2.3", func() { write(t, in("new"), "192.0.2.3"); rename(t, in("new"), path) }},
		{"it is removed", "", func() { os.Remove(path) }},
		{"it is a link to nothing yet", "", func() { os.Symlink(stub, path) }},
		{"the link's file appears", "192.0.2.4", func() {
			os.Mkdir(run, 0o755)
			write(t, stub, "192.0.2.4")
		}},
		{"the link's file is replaced", "192.0.2.5", func() {
			write(t, stub+".new", "192.0.2.5")
			rename(t, stub+".new", stub)
		}},
		{"the link leads elsewhere", "192.0.2.6", func() {
			write(t, filepath.Join(other, "third"), "192.0.2.6")
			os.Symlink(filepath.Join(other, "third"), in("link"))
			rename(t, in("link"), path)
		}},
		{"and that is written", "192.0.2.7", func() { write(t, filepath.Join(other, "third"), "192.0.2.7") }},
		{"a file again", "192.0.2.8", func() { write(t, in("new"), "192.0.2.8"); rename(t, in("new"), path) }},
	}
	f, err := Follow(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, step := range steps {
		step.do()
		var want []netip.Addr
		if step.want != "" {
			want = addrs(step.want)
		}
		start := time.Now()
		for !reflect.DeepEqual(f.Config().Servers, want) {
			if time.Since(start) > 30*time.Second { // the kernel tells of it; nothing polls
				t.Fatalf("%s: still %v, want %v", step.name, f.Config().Servers, want)
			}
			time.Sleep(time.Millisecond)
		}
	}
}
