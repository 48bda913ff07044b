package firewall

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// What is chosen by others stands in rules only as what needs no quoting, and is
// as long as it may be; two that differ stay different.
func TestHostileNamesInRules(t *testing.T) {
	for name, plain := range map[string]bool{
		"my-net_1.a": true, "": false, "with space": false, `quote"`: false, "new\nline": false, "ünï": false, "-j": true,
		"a-name-of-16-byt": true, "a-name-of-17-byte": false,
	} {
		key := networkKey(name)
		if (key == name) != plain || len("NETCTL-MASQ-"+key) > 28 || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
			t.Errorf("the key of network %q is %q", name, key)
		}
	}
	seen := map[string]string{}
	for _, id := range []string{"abc", "ab\nc", "ab\tc", `ab"c`, `ab\c`, "ab'c", "ab\x7fc", "abüc", strings.Repeat("x", 300), strings.Repeat("x", 301)} {
		comment := mappingComment(wire.Attachment{Network: "n", Container: id, IfName: "eth0"}, wire.Publish{HostPort: 80})
		if len(comment) > commentLimit || strings.ContainsFunc(comment, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\'`, r) }) {
			t.Errorf("the comment of container %q is %q", id, comment)
		}
		if other, taken := seen[comment]; taken {
			t.Errorf("containers %q and %q have the comment %q", other, id, comment)
		}
		seen[comment] = id
	}
}

// A CHECK names the rule that is missing, by the number that the program says,
// and says what the program says where that is no number of a line.
func TestCheckNamesTheMissingRule(t *testing.T) {
	const input = "*filter\n-C FORWARD -j NETCTL\nCOMMIT\n"
	failed := errors.New("iptables-restore: line 2 failed")
	busy := fmt.Errorf("iptables-restore: line 2: %w", ErrBusy)
	other := errors.New("iptables-restore: no such thing")
	beyond := errors.New("iptables-restore: line 9 failed")
	for _, c := range []struct {
		err  error
		want string
	}{
		{failed, ipv4.String() + " rule is missing: FORWARD -j NETCTL"},
		{busy, busy.Error()}, {other, other.Error()}, {beyond, beyond.Error()},
	} {
		if got := nameMissing(ipv4, input, c.err); got == nil || got.Error() != c.want {
			t.Errorf("%v: got %v, want %s", c.err, got, c.want)
		}
	}
}

// Only what rules concern is switched on: a host may have its reasons not to
// forward the other family.
func TestSysctlsByFamily(t *testing.T) {
	v4 := plainly("web", network(1))
	v4.Network.Subnets, v4.Network.DNS = v4.Network.Subnets[:1], nil
	for _, f := range v4.Network.Subnets {
		if !f.Addr().Is4() {
			t.Fatalf("the first subnet is %s", f)
		}
	}
	for _, s := range Sysctls(v4) {
		if strings.Contains(s.Path, "ipv6") {
			t.Errorf("IPv4 alone sets %s", s.Path)
		}
	}
	var paths []string
	for _, s := range Sysctls(plainly("web", network(1))) {
		paths = append(paths, s.Path)
	}
	for _, want := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if !strings.Contains(strings.Join(paths, " "), want) {
			t.Errorf("both families set %v, not %s", paths, want)
		}
	}
}

// An administrator's chain is made if nobody has; one that is there is left alone:
// to declare it would empty it.
func TestMissingTargets(t *testing.T) {
	p := network(1)
	p.AdminChain = "SITE"
	want := withAdmin([]placed{{chain: chainForward, rule: rule{do: verdict{action: accept}}}}, p)
	now := &saved{rules: map[chain][]savedRule{}, others: map[chain]bool{}}
	if got := missingTargets(want, now, filter); len(got) != 1 || got[0] != "SITE" {
		t.Errorf("of none %q are missing, want SITE once", got)
	}
	if got := missingTargets(want, now, nat); len(got) != 0 {
		t.Errorf("in another table %q are missing", got)
	}
	now.others[foreignTarget("SITE")] = true
	if got := missingTargets(want, now, filter); len(got) != 0 {
		t.Errorf("%q are missing, which is there", got)
	}
}

// A chain of ours in which nothing is, as a killed call leaves it, is known all the
// same, and so goes with the rest.
func TestEmptyChainsAreKnown(t *testing.T) {
	s := parseSaved("*filter\n:INPUT ACCEPT [0:0]\n:" + iptablesChain(chainForward) + " - [0:0]\n:SITE - [0:0]\nCOMMIT\n")
	if !s.has(chainForward) || !s.others[foreignTarget("SITE")] || s.others[foreignTarget(iptablesChain(chainForward))] {
		t.Errorf("of ours are known %v, of others %v", s.chains, s.others)
	}
}
