package plugins_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/netctl/netctl/test/programs"
)

// BenchmarkHostLocal is one ADD and one DEL, each a process, of our plugin and
// of the reference on a directory with so many reservations in it.
func BenchmarkHostLocal(b *testing.B) {
	dir := b.TempDir() // without the race detector, which our other tests' plugins have
	plain := filepath.Join(dir, "host-local")
	if err := errors.Join(programs.Install(dir, "cni/netctl-cni"), os.Symlink("cni/netctl-cni", plain)); err != nil {
		b.Fatal(err)
	}
	for _, used := range []int{0, 1000, 65000} {
		s := newStore(b, `[[{"subnet":"10.1.0.0/16"}]]`)
		s.ours = plain
		s.fill(used)
		for _, program := range []struct{ name, binary string }{{"ours", s.ours}, {"reference", s.theirs}} {
			b.Run(fmt.Sprintf("%d/%s", used, program.name), func(b *testing.B) {
				s.add(program.binary, "bench") // whoever comes new reads the files once
				s.del(program.binary, "bench")
				for b.Loop() {
					s.add(program.binary, "bench")
					s.del(program.binary, "bench")
				}
			})
		}
	}
}

func (s *store) fill(n int) {
	s.t.Helper()
	dir := filepath.Join(s.data, "testnet")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	a := netip.MustParseAddr("10.1.0.2")
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, a.String()), fmt.Appendf(nil, "%064x\r\neth0", i), 0o600); err != nil {
			s.t.Fatal(err)
		}
		a = a.Next()
	}
}
