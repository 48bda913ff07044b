package dnsd

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolver"
)

// fixedHandler gives every request the same fate.
type fixedHandler struct {
	reply []byte
	later bool
}

func (f fixedHandler) Handle(msg []byte, _ resolver.Peer, _ *resolver.Scratch) ([]byte, bool) {
	clear(msg) // a handler may
	return f.reply, f.later
}

// TestQueryLog: one request in so many, what it was and what became of it.
func TestQueryLog(t *testing.T) {
	peer := resolver.Peer{
		Listener: names.Listener{Device: "br0", Gateway: netip.MustParseAddr("10.88.0.1")},
		Addr:     netip.MustParseAddrPort("10.88.0.2:4000"),
	}
	overTCP := peer
	overTCP.Stream = true
	missing := raw(0x8183, [4]uint16{1, 0, 0, 0})
	for _, test := range []struct {
		name string
		msg  []byte
		next fixedHandler
		from resolver.Peer
		want string
	}{
		{"answered", ask1("web", dns.TypeAAAA), fixedHandler{reply: missing}, peer, "client=10.88.0.2 listener=10.88.0.1%br0 result=NXDOMAIN name=web type=AAAA"},
		{"forwarded", ask1("example.org", dns.TypeA), fixedHandler{later: true}, overTCP, "client=10.88.0.2 listener=10.88.0.1%br0 result=forwarded name=example.org type=A transport=tcp"},
		{"nonsense", []byte("x"), fixedHandler{}, peer, "client=10.88.0.2 listener=10.88.0.1%br0 result=dropped"},
		{"a name that would end the line", ask1("a\\010b", dns.TypeA), fixedHandler{later: true}, peer, `client=10.88.0.2 listener=10.88.0.1%br0 result=forwarded name=a\010b type=A`},
	} {
		var out bytes.Buffer
		q := &queryLog{next: test.next, log: slog.New(slog.NewTextHandler(&out, nil)), every: 3}
		for range 7 {
			reply, later := q.Handle(bytes.Clone(test.msg), test.from, nil)
			if !bytes.Equal(reply, test.next.reply) || later != test.next.later {
				t.Errorf("%s: the reply is changed", test.name)
			}
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Errorf("%s: %d lines for 7 requests, want 2", test.name, len(lines))
		}
		if _, got, _ := strings.Cut(lines[0], "msg=query "); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// TestQueryLogRate: no more than so many lines a second, and it says what is missing.
func TestQueryLogRate(t *testing.T) {
	var p perSecond
	passed := 0
	now := time.Unix(1000, 0)
	for range 500 {
		if left, ok := p.take(now); ok {
			passed++
			if left != 0 {
				t.Errorf("%d were left out before any", left)
			}
		}
	}
	if passed != queryLogRate {
		t.Errorf("%d passed in a second, want %d", passed, queryLogRate)
	}
	if left, ok := p.take(now.Add(time.Second)); !ok || left != 500-queryLogRate {
		t.Errorf("the next second: %v, %d left out", ok, left)
	}
}

// TestLogFile: it never grows beyond its size, and keeps what came last.
func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, bytes.Repeat([]byte("old\n"), maxLog/4), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := openLog(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	for range 3000 {
		if _, err := out.Write(line); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() > maxLog {
			t.Fatalf("the file has %d bytes, %v", info.Size(), err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || !bytes.HasSuffix(text, line) || bytes.Contains(text, []byte("old")) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
