package attach

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/cni"
)

func TestParseResolvConf(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"empty", "", "{[]  [] []}"},
		{"all", "nameserver 10.1.0.1\nnameserver fd00::1\ndomain a.example\nsearch b.example c.example\noptions ndots:2 rotate\n",
			"{[10.1.0.1 fd00::1] a.example [b.example c.example] [ndots:2 rotate]}"},
		{"comments and space", "# nameserver 1.1.1.1\n; search x\n\n  nameserver\t10.1.0.1  # that one\n", "{[10.1.0.1]  [] []}"},
		{"keys without value", "nameserver\nsearch\ndomain\n", "{[]  [] []}"},
		{"the last domain, all searches", "domain a\ndomain b\nsearch c\nsearch d\n", "{[] b [c d] []}"},
		{"no newline at the end", "nameserver 10.1.0.1", "{[10.1.0.1]  [] []}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dns, err := parseResolvConf(strings.NewReader(tt.file))
			if got := fmt.Sprint(dns); err != nil || got != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestResolvConfInResult(t *testing.T) {
	m := newMachine(t)
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 10.1.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := call{kind: HostLocalIPAM, container: "c1", keys: `,"subnet":"10.1.0.0/24","resolvConf":"` + file + `"`}
	got, err := m.IPAM(HostLocalIPAM).Add(t.Context(), m.request(cni.Add, c))
	if err != nil || fmt.Sprint(got.DNS.Nameservers) != "[10.1.0.1]" {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	c.container = "c2"
	_, err = m.add(c)
	want(t, err, 7, "key ipam.resolvConf: open "+file)
	want(t, m.check(call{kind: HostLocalIPAM, container: "c1", keys: c.keys}, "10.1.0.2/24"), 0, "")
	c.container = "c1"
	m.mustDel(c)
}
