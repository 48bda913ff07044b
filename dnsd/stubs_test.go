package dnsd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// lookupC asks the C library, whichever it is linked with.
const lookupC = `
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *r;
	int e = getaddrinfo(argv[1], 0, &hints, &r);
	if (e) { fprintf(stderr, "%s\n", gai_strerror(e)); return 1; }
	for (; r; r = r->ai_next) {
		char text[64];
		void *a = r->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)r->ai_addr)->sin_addr
			: (void *)&((struct sockaddr_in6 *)r->ai_addr)->sin6_addr;
		puts(inet_ntop(r->ai_family, a, text, sizeof text));
	}
	return 0;
}
`

const lookupPython = `import socket, sys
for a in socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM): print(a[4][0])`

// lookupGo is what this test does when it is called by that name.
func lookupGo(name string) int {
	r := net.Resolver{PreferGo: true}
	addrs, err := r.LookupNetIP(context.Background(), "ip", name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, a := range addrs {
		fmt.Println(a.Unmap())
	}
	return 0
}

// stubs are the resolver libraries of programs in containers, as command lines.
func stubs(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "lookup.c")
	if err := os.WriteFile(source, []byte(lookupC), 0o644); err != nil {
		t.Fatal(err)
	}
	compile := func(compiler ...string) string {
		program := filepath.Join(dir, compiler[0])
		if out, err := exec.Command(compiler[0], append(compiler[1:], "-o", program, source)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", compiler, err, out)
		}
		return program
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	goLookup := filepath.Join(dir, "lookup-go")
	if err := os.Symlink(self, goLookup); err != nil {
		t.Fatal(err)
	}
	return map[string][]string{
		"glibc":  {compile("gcc")},
		"musl":   {compile("musl-gcc", "-static")},
		"Go":     {goLookup},
		"Python": {"python3", "-c", lookupPython},
	}
}

// lookup runs a stub in a container that has the resolv.conf of our containers.
func (c *container) lookup(stub []string, name string) string {
	c.w.t.Helper()
	conf := filepath.Join(c.w.t.TempDir(), "resolv.conf")
	text := fmt.Sprintf("nameserver %s\nsearch netctl.internal corp.example\n", c.w.networks[c.key.Network].gateways[0].Addr())
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		c.w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", "-ec",
		`mount --bind "$0" /etc/resolv.conf; exec "$@"`, conf}, append(stub, name)...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	start := time.Now()
	if err := c.Do(cmd.Run); err != nil {
		if complaints.Len() == 0 || time.Since(start) > patience {
			return fmt.Sprintf("%v after %s", err, time.Since(start))
		}
		return "no such name"
	}
	addrs := strings.Fields(out.String())
	slices.SortFunc(addrs, func(a, b string) int { return netip.MustParseAddr(a).Compare(netip.MustParseAddr(b)) })
	return strings.Join(slices.Compact(addrs), " ")
}

// company is an upstream server that knows a few names.
func company(w dns.ResponseWriter, req *dns.Msg) {
	known := map[string]string{"intranet.corp.example.": "192.0.2.80", "www.example.org.": "192.0.2.81"}
	m := new(dns.Msg).SetReply(req)
	q := req.Question[0]
	addr, ok := known[strings.ToLower(q.Name)]
	switch {
	case !ok:
		m.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeA:
		m.Answer = []dns.RR{rr(q.Name + " 30 A " + addr)}
	}
	w.WriteMsg(m)
}

// TestStubs: what programs in containers get from their libraries, with the
// resolv.conf that our containers have.
func TestStubs(t *testing.T) {
	w := newWorld(t)
	w.network("front", "10.88.0.1/24", "fd00:88::1/64")
	web := w.container("front", "web", "www")
	four, six := w.bare("front", "10.88.0.9/24", "four"), w.bare("front", "fd00:88::9/64", "six")
	w.put(four)
	w.put(six)
	w.network("six-only", "fd00:99::1/64")
	lone := w.container("six-only", "lone")
	serveIn(t, w.host, "127.0.0.53", dns.HandlerFunc(company))
	w.setUpstream("127.0.0.53")
	w.serve()
	for library, stub := range stubs(t) {
		for name, want := range map[string]string{
			"web":                       "10.88.0.2 fd00:88::2",
			"WWW":                       "10.88.0.2 fd00:88::2",
			"web.front":                 "10.88.0.2 fd00:88::2",
			"web.front.netctl.internal": "10.88.0.2 fd00:88::2",
			"four":                      "10.88.0.9",
			"six":                       "fd00:88::9",
			"intranet":                  "192.0.2.80",
			"www.example.org":           "192.0.2.81",
			"nosuch":                    "no such name",
			"nosuch.netctl.internal":    "no such name",
		} {
			if got := web.lookup(stub, name); got != want {
				t.Errorf("%s: %s: got %s, want %s", library, name, got, want)
			}
		}
		if got := lone.lookup(stub, "lone"); got != "fd00:99::2" {
			t.Errorf("%s without IPv4: %s", library, got)
		}
	}
}
