package plugins_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/test/netns"
	"github.com/netctl/netctl/test/programs"
)

// crowd is how many containers come and go at the same time, and how often:
// NETCTL_TEST_CROWD is "CONTAINERSxROUNDS", which `make test-crowd` sets to 50x3.
func crowd(t *testing.T) (containers, rounds int) {
	t.Helper()
	text := os.Getenv("NETCTL_TEST_CROWD")
	if text == "" {
		text = "12x1"
	}
	if n, err := fmt.Sscanf(text, "%dx%d", &containers, &rounds); n != 2 || err != nil {
		t.Fatalf("NETCTL_TEST_CROWD=%q: want for instance 50x3", text)
	}
	return containers, rounds
}

// A way is one in which containers are attached.
type way struct {
	// list is the plugins' configurations for the i-th container.
	list func(h *host, i int) []string
	// prepare makes what must be on the host before.
	prepare   string
	backend   string
	addressed bool
}

const bothFamilies = `"ranges":[[{"subnet":"10.88.0.0/16"}],[{"subnet":"fd00:88::/64"}]]`

func ways() map[string]way {
	oneEntry := func(_ *host, i int) []string {
		return []string{fmt.Sprintf(`{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"ipam":{"type":"netctl-ipam",%s},
			"runtimeConfig":{"bandwidth":{%s},"portMappings":[{"hostPort":%d,"containerPort":80},{"hostPort":%d,"containerPort":53,"protocol":"udp"}]}}`, bothFamilies, bothLimits, 10000+i, 20000+i)}
	}
	chain := func(h *host, i int) []string {
		return []string{
			fmt.Sprintf(`{"type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","dataDir":%q,%s}}`, h.state+"/networks", bothFamilies),
			fmt.Sprintf(`{"type":"portmap","runtimeConfig":{"portMappings":[{"hostPort":%d,"containerPort":80}]}}`, 10000+i),
			`{"type":"firewall","ingressPolicy":"same-bridge"}`,
			fmt.Sprintf(`{"type":"tuning","dataDir":%q,"mtu":1400}`, h.state+"/tuning"),
			`{"type":"bandwidth",` + bothLimits + `}`,
		}
	}
	const parent = "ip link add parent0 type veth peer name parent1; ip link set parent0 up; ip link set parent1 up"
	return map[string]way{
		"bridge, iptables": {oneEntry, "true", "iptables", true},
		"bridge, nftables": {oneEntry, "true", "nftables", true},
		"chain, iptables":  {chain, "true", "iptables", true},
		"chain, nftables":  {chain, "true", "nftables", true},
		"macvlan": {func(h *host, _ int) []string {
			return []string{fmt.Sprintf(`{"type":"macvlan","master":"parent0","ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.88.0.0/16"}]]}}`, h.state+"/networks")}
		}, parent, "", true},
		"none":     {func(*host, int) []string { return []string{`{"type":"none"}`} }, "true", "", false},
		"loopback": {func(*host, int) []string { return []string{`{"type":"loopback"}`} }, "true", "", false},
	}
}

// TestCrowd has many containers come and go at the same time: all succeed, no
// address is given twice, what they share is there once, and nothing stays.
func TestCrowd(t *testing.T) {
	n, rounds := crowd(t)
	for name, way := range ways() {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.env = []string{"NETCTL_FIREWALL=" + way.backend}
			on(t, h.ns, way.prepare)
			before := h.residue()
			containers := make([]*netns.Namespace, n)
			for i := range containers {
				containers[i] = h.container()
			}
			for range rounds {
				h.crowdRound(way, containers)
				if after := h.residue(); after != before {
					t.Fatalf("left behind:\n%s", after)
				}
				if files, _ := filepath.Glob(h.state + "/networks/testnet/[1f]*"); len(files) > 0 {
					t.Fatalf("still reserved: %v", files)
				}
			}
		})
	}
}

// TestRaces has the race detector in the plugins, in each way once: elsewhere
// they are as users get them, because with it they take several times as long
// (`make test-race` has it in all of them).
func TestRaces(t *testing.T) {
	raced := t.TempDir()
	if err := install(raced, programs.InstallRaced); err != nil {
		t.Fatal(err)
	}
	for name, way := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.dir, h.env = raced, []string{"NETCTL_FIREWALL=" + way.backend}
			on(t, h.ns, way.prepare)
			h.crowdRound(way, []*netns.Namespace{h.container(), h.container()})
		})
	}
}

func (h *host) crowdRound(w way, containers []*netns.Namespace) {
	h.t.Helper()
	results := make([]json.RawMessage, len(containers))
	name := func(i int) string { return fmt.Sprintf("c%d", i) }
	each(len(containers), func(i int) {
		results[i] = h.chain("ADD", name(i), containers[i], w.list(h, i), nil)
	})
	given := map[string]int{}
	for i, data := range results {
		var r result
		if err := json.Unmarshal(data, &r); err != nil || w.addressed && len(r.IPs) == 0 {
			h.t.Fatalf("result %s: %v", data, err)
		}
		for _, ip := range r.IPs {
			if j, twice := given[ip.Address]; twice && w.addressed {
				h.t.Errorf("%s given to %d and %d", ip.Address, i, j)
			}
			given[ip.Address] = i
		}
	}
	h.wantOnce()
	each(len(containers), func(i int) {
		h.chain("DEL", name(i), containers[i], w.list(h, i), results[i])
	})
}

// wantOnce finds rules that are there twice.
func (h *host) wantOnce() {
	h.t.Helper()
	for _, command := range []string{"iptables-save", "ip6tables-save", "nft list table ip netctl", "nft list table ip6 netctl"} {
		out, err := h.ns.Output("sh", "-c", command+" 2>/dev/null || true")
		if err != nil {
			h.t.Fatal(err)
		}
		seen, chain := map[string]bool{}, ""
		for line := range strings.Lines(out) {
			line = counters.ReplaceAllString(strings.TrimSpace(line), "")
			if strings.HasPrefix(line, "*") || strings.HasPrefix(line, "chain ") || strings.HasPrefix(line, "map ") {
				chain = line
			}
			if !strings.Contains(line, "netctl ") {
				continue
			}
			if seen[chain+line] {
				h.t.Errorf("%s: twice in %s: %s", command, chain, line)
			}
			seen[chain+line] = true
		}
	}
}
