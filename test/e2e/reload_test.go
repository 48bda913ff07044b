package e2e

import (
	"bufio"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds what a busy machine may need for something that must happen.
const patience = 40 * time.Second

// get asks for a page from the host until there is an answer, and returns its
// status: a server that has just been started needs a while.
func (h *host) get(url string) string {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, err := h.ns.Output("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", url)
		if err == nil {
			return strings.TrimSpace(out)
		}
		if time.Now().After(deadline) {
			return "no answer"
		}
	}
}

// answers asks once, for what must not answer.
func (h *host) answers(url string) bool {
	return h.ns.Run("curl", "-s", "-o", "/dev/null", "--max-time", "1", url) == nil
}

// TestReloadAfterAFlush: somebody flushes the packet filter under a running
// container; reload brings its port back, and changes the mechanism over.
func TestReloadAfterAFlush(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.netctl("create", "net", "--subnet", "10.88.0.0/16")
	h.netctl("run", "-d", "--name", "web", "--network", "net", "-p", "8080:80", "host", "/usr/bin/python3", "-m", "http.server", "80")
	const url = "http://127.0.0.1:8080/"
	if got := h.get(url); got != "200" {
		t.Fatalf("before: %s", got)
	}
	if err := h.ns.Run("sh", "-c", "iptables -t nat -F; iptables -t nat -X; iptables -F; iptables -X; nft flush ruleset"); err != nil {
		t.Fatal(err)
	}
	if h.answers(url) {
		t.Fatal("the flush did nothing: this test tests nothing")
	}
	if got := h.netctl("reload"); got != "1 attachments" {
		t.Errorf("reload said %q", got)
	}
	if got := h.get(url); got != "200" {
		t.Errorf("after reload: %s", got)
	}
	for _, backend := range []string{"nftables", "iptables"} {
		h.netctl("--firewall", backend, "reload")
		if got := h.get(url); got != "200" {
			t.Errorf("after the change to %s: %s", backend, got)
		}
		// Whoever comes now does not fall back to what the host had.
		h.netctl("run", "-d", "--name", "next", "--network", "net", "-p", "8081:80", "host", "/usr/bin/sleep", "300")
		out, err := h.ns.Output("iptables-save")
		for _, port := range []string{"--dport 8080", "--dport 8081"} {
			if err != nil || strings.Contains(out, port) != (backend == "iptables") {
				t.Errorf("%s, rules of iptables after the change to %s: %v\n%s", port, backend, err, out)
			}
		}
		h.netctl("rm", "-f", "next")
	}
	h.netctl("rm", "-f", "web")
	h.netctl("network", "rm", "net")
	if _, said, status := h.try("--firewall", "ipfw", "reload"); status == 0 || !strings.Contains(said, `unknown firewall backend "ipfw"`) {
		t.Errorf("reload with an unknown mechanism: %q, status %d", said, status)
	}
	if left := h.residue(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// TestReloadWatches: whatever flushes the rules, and with whatever mechanism,
// published ports answer again without anybody asking; SIGINT ends the watch.
func TestReloadWatches(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.netctl("create", "net", "--subnet", "10.88.0.0/16")
			h.netctl("--firewall", backend, "run", "-d", "--name", "web", "--network", "net", "-p", "8080:80",
				"host", "/usr/bin/python3", "-m", "http.server", "80")
			watch := h.command("reload", "--watch")
			out, err := watch.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.ns.Do(watch.Start); err != nil {
				t.Fatal(err)
			}
			defer watch.Process.Kill()
			said := bufio.NewReader(out)
			if line, err := said.ReadString('\n'); line != "1 attachments\n" {
				t.Fatalf("said %q, %v", line, err)
			}
			for _, flush := range []string{
				"iptables -F; iptables -t nat -F; iptables -t nat -X; nft delete table ip netctl || true",
				"nft flush ruleset",
				"nft flush map ip netctl publish-any || iptables -t nat -F NETCTL-TCP",
			} {
				h.run("{ " + flush + "; } 2>/dev/null")
				if _, err := said.ReadString('\n'); err != nil {
					t.Fatalf("after %q: %v", flush, err)
				}
				if got := h.get("http://127.0.0.1:8080/"); got != "200" {
					t.Errorf("after %q: %s", flush, got)
				}
			}
			_ = watch.Process.Signal(syscall.SIGINT)
			if err := watch.Wait(); err != nil {
				t.Errorf("after SIGINT: %v", err)
			}
			h.netctl("rm", "-f", "web")
			h.netctl("network", "rm", "net")
		})
	}
}
