package e2e

import (
	"testing"

	"github.com/netctl/netctl/test/netns"
)

// neighbour is a machine on a link of the host: 192.0.2.2 and 2001:db8::2, by
// the host's interface eth1, 192.0.2.1 and 2001:db8::1.
func (h *host) neighbour() *host {
	h.t.Helper()
	ns, err := netns.New()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { ns.Close() })
	n := &host{t: h.t, ns: ns}
	h.run("ip link add eth1 type veth peer name eth0 netns " + ns.Path())
	h.run("ip addr add 192.0.2.1/24 dev eth1 && ip addr add 2001:db8::1/64 dev eth1 nodad && ip link set eth1 up")
	n.run("ip addr add 192.0.2.2/24 dev eth0 && ip addr add 2001:db8::2/64 dev eth0 nodad && ip link set eth0 up")
	return n
}

// run runs a shell command on the host.
func (h *host) run(script string) {
	h.t.Helper()
	if err := h.ns.Run("sh", "-ec", script); err != nil {
		h.t.Fatal(err)
	}
}

// TestPublishedPortsCanBeConfined: a network's ports are open to the sources
// and links that its options name, and always to the host itself.
func TestPublishedPortsCanBeConfined(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			outside := h.neighbour()
			networks := map[string]struct {
				port, subnets string
				flags         []string
			}{
				"open": {"8081", "10.81.0.0/24,fd00:81::/64", []string{"--publish-from", "192.0.2.0/24,2001:db8::/64"}},
				"link": {"8082", "10.82.0.0/24,fd00:82::/64", []string{"--publish-on", "eth1"}},
				"shut": {"8083", "10.83.0.0/24,fd00:83::/64", []string{"-o", "publish_from=198.51.100.0/24", "-o", "publish_on=eth9"}},
			}
			for name, n := range networks {
				h.netctl(append([]string{"create", name, "--subnet", n.subnets}, n.flags...)...)
				h.netctl("--firewall", backend, "run", "-d", "--name", name, "--network", name, "-p", n.port+":80",
					"host", "/usr/bin/python3", "-m", "http.server", "--bind", "::", "80")
			}
			for _, address := range []string{"192.0.2.1", "[2001:db8::1]"} {
				for port, open := range map[string]bool{"8081": true, "8082": true, "8083": false} {
					url := "http://" + address + ":" + port + "/"
					if got := h.get(url); got != "200" {
						t.Errorf("from the host, %s: %s", url, got)
					}
					if open && outside.get(url) != "200" {
						t.Errorf("from outside, %s: no answer", url)
					}
					if !open && outside.answers(url) {
						t.Errorf("from outside, %s: answered", url)
					}
				}
			}
			for name := range networks {
				h.netctl("rm", "-f", name)
				h.netctl("network", "rm", name)
			}
		})
	}
}
