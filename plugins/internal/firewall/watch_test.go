package firewall

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Watch tells of a flush, whatever was flushed, and not of other people's
// rules.
func TestWatch(t *testing.T) {
	t.Parallel()
	host := newSpace(t, "host")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := publishing("web", 2, 8080, 80)
	host.sh(t, "nft 'add table inet x; add chain inet x f { type filter hook forward priority 5; policy drop; }'")
	var told <-chan struct{}
	host.do(t, func() {
		check(t, (&iptables{log: slog.New(slog.DiscardHandler)}).Apply(ctx, r))
		check(t, (&nftables{log: slog.New(slog.DiscardHandler)}).Apply(ctx, r))
		var err error
		told, err = Watch(ctx)
		check(t, err)
	})
	for _, test := range []struct {
		script string
		want   bool
	}{
		{"iptables -A INPUT -s 192.0.2.9 -j DROP; iptables -D INPUT -s 192.0.2.9 -j DROP", false},
		{"nft add table inet other; nft delete table inet other", false},
		{"iptables -F FORWARD", true},
		{"ip6tables -t nat -F NETCTL-TCP", true},
		{"nft flush chain inet x f", true},
		{"nft flush map ip6 netctl publish-any", true},
		{"nft flush ruleset", true},
	} {
		host.sh(t, test.script)
		wait := 3 * calm
		if test.want {
			wait = answered
		}
		select {
		case <-told:
			if !test.want {
				t.Errorf("%q: told", test.script)
			}
		case <-time.After(wait):
			if test.want {
				t.Errorf("%q: not told", test.script)
			}
		}
	}
	cancel()
	if _, open := <-told; open {
		t.Error("told after the end")
	}
}

// iptables-legacy has its changes noticed too, in both families, and tables
// that nobody uses are not made by looking.
func TestWatchLegacy(t *testing.T) {
	t.Parallel()
	b := &iptables{log: slog.New(slog.DiscardHandler), programs: variantPrograms(t, "legacy")}
	host := newHost(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var told <-chan struct{}
	host.do(t, func() {
		check(t, b.Apply(ctx, publishing("web", 2, 8080, 80)))
		var err error
		told, err = Watch(ctx)
		check(t, err)
	})
	for _, script := range []string{"iptables -F FORWARD", "ip6tables -t nat -F", "iptables -t nat -F POSTROUTING"} {
		host.sh(t, script)
		select {
		case <-told:
		case <-time.After(answered):
			t.Errorf("%q: not told", script)
		}
	}
	if names := host.sh(t, "cat /proc/thread-self/net/ip_tables_names"); strings.Contains(names, "mangle") {
		t.Errorf("tables in use: %s", names)
	}
}
