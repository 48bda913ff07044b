package plugins_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestKilled kills ADD at system calls spread over its whole life, and then
// DEL in the same way; the DEL that follows must find and remove everything.
// strace puts the signal in at the exact call. NETCTL_TEST_KILLS is the number
// of places; `make test-kill` tries every one.
func TestKilled(t *testing.T) {
	places := 24
	if text := os.Getenv("NETCTL_TEST_KILLS"); text != "" {
		if _, err := fmt.Sscan(text, &places); err != nil {
			t.Fatal(err)
		}
	}
	const keys = `,"names":true,"runtimeConfig":{"aliases":["web"],"bandwidth":{` + bothLimits + `},"portMappings":[{"hostPort":8080,"containerPort":80},{"hostPort":8081,"containerPort":81,"protocol":"udp"}]}`
	for _, verb := range []string{"ADD", "DEL"} {
		h := newHost(t)
		h.must(bridgeCall("ADD", "peer", h.container(), "1.1.0", `,"names":true`)) // the network stays in use
		before := h.residue()
		total := h.systemCalls(verb, keys)
		places := min(places, total)
		for i := range places {
			at := 1 + i*total/places
			ns := h.container()
			if verb == "DEL" {
				h.must(bridgeCall("ADD", "victim", ns, "1.1.0", keys))
			}
			c := bridgeCall(verb, "victim", ns, "1.1.0", keys)
			c.prefix = []string{"strace", "-qq", "-f", "-o", os.DevNull, "-e", fmt.Sprintf("inject=all:signal=SIGKILL:when=%d", at)}
			h.run(c)
			h.must(bridgeCall("DEL", "victim", nil, "1.1.0", ""))
			if after := h.residue(); after != before {
				t.Fatalf("%s killed at system call %d of %d: left\n%s\nwas\n%s", verb, at, total, after, before)
			}
			h.must(bridgeCall("ADD", "victim", ns, "1.1.0", keys)) // and it can be done again
			h.must(bridgeCall("DEL", "victim", ns, "1.1.0", ""))
		}
	}
}

// systemCalls counts what the busiest thread makes: strace counts "when" for
// each thread by itself.
func (h *host) systemCalls(verb, keys string) int {
	h.t.Helper()
	ns := h.container()
	if verb == "DEL" {
		h.must(bridgeCall("ADD", "count", ns, "1.1.0", keys))
	}
	trace := h.t.TempDir() + "/trace"
	c := bridgeCall(verb, "count", ns, "1.1.0", keys)
	c.prefix = []string{"strace", "-qq", "-f", "-o", trace}
	h.must(c)
	if verb == "ADD" {
		h.must(bridgeCall("DEL", "count", ns, "1.1.0", ""))
	}
	return busiestThread(h.t, trace)
}

// busiestThread counts the system calls of the thread that makes most of them.
func busiestThread(t testing.TB, trace string) int {
	t.Helper()
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int{}
	most := 0
	for line := range strings.Lines(string(data)) {
		thread, _, _ := strings.Cut(line, " ")
		calls[thread]++
		most = max(most, calls[thread])
	}
	return most
}
