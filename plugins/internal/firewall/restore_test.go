package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// openings come and go with the chains of iptables, which a flush can delete.
var openings = regexp.MustCompile(`(?m)^-A (FORWARD|INPUT) .*policy=.*$`)

// Restore brings everything back after any flush, takes away what is not in
// its list, and changes nothing that is right.
func TestRestore(t *testing.T) {
	flushes := []string{
		"true",
		"for t in iptables ip6tables; do for n in nat filter; do $t -t $n -F; $t -t $n -S | sed -n 's/^-N //p' | xargs -rn1 $t -t $n -X; done; done",
		"for t in iptables ip6tables; do $t -F FORWARD; $t -t nat -F PREROUTING; done",
		"nft flush ruleset",
		"for t in ip ip6; do nft delete table $t netctl 2>/dev/null || true; done",
		"nft flush chain ip netctl to-br1 2>/dev/null || iptables -F NETCTL-INGRESS",
		"nft flush map ip netctl publish-any 2>/dev/null || iptables -t nat -F NETCTL-TCP-8080-8095",
	}
	overMechanisms(t, func(t *testing.T, b Backend) {
		w := &world{host: newHost(t, b)}
		ctx := context.Background()
		web, peer, other := publishing("web", 2, 8080, 80), publishing("peer", 3, 9090, 80), plainly("other", network(2))
		many := everything()
		many.Attachment.Container, many.Network = "many", web.Network
		many.Publish = many.Publish[4:]
		all := []Rules{web, peer, other, many}
		restore := func(all ...Rules) {
			t.Helper()
			w.host.do(t, func() { check(t, b.Restore(ctx, all)) })
		}
		rules := func() string { return sorted(openings.ReplaceAllString(w.rules(t), "")) }
		restore(all...)
		want := rules()
		for _, flush := range flushes {
			w.host.sh(t, flush)
			restore(all...)
			if got := rules(); got != want {
				t.Errorf("after %q:\n%s\nwant\n%s", flush, got, want)
			}
			for _, r := range all {
				w.host.do(t, func() { check(t, b.Check(ctx, r)) })
			}
		}
		restore(web)
		fresh := &world{host: newHost(t, b)}
		fresh.host.do(t, func() { check(t, b.Apply(ctx, web)) })
		if got, want := rules(), sorted(fresh.rules(t)); got != want {
			t.Errorf("restored to one:\n%s\nwant\n%s", got, want)
		}
		restore()
		if got, want := w.rules(t), (&world{host: newHost(t, b)}).rules(t); got != want {
			t.Errorf("restored to nothing:\n%s", got)
		}
	})
}

// An ADD finds its way whatever somebody has flushed, and Check says what is
// missing.
func TestApplyAfterFlush(t *testing.T) {
	flushes := map[BackendName][]string{
		IPTables: {
			"iptables -F FORWARD", "iptables -F INPUT", "iptables -t nat -F PREROUTING", "iptables -t nat -F OUTPUT",
			"iptables -t nat -F POSTROUTING", "iptables -F NETCTL-INGRESS", "iptables -t nat -F NETCTL-MASQUERADE",
			"iptables -t nat -F; iptables -t nat -X", "iptables -F; iptables -X",
		},
		NFTables: {"nft flush ruleset", "nft delete table ip netctl", "nft delete table ip6 netctl", "nft flush table ip netctl"},
	}
	overMechanisms(t, func(t *testing.T, b Backend) {
		for _, flush := range flushes[b.Name()] {
			host := newHost(t, b)
			ctx := context.Background()
			web, peer := publishing("web", 2, 8080, 80), publishing("peer", 3, 8081, 80)
			host.do(t, func() { check(t, b.Apply(ctx, web)) })
			host.sh(t, flush)
			host.do(t, func() {
				if b.Check(ctx, web) == nil {
					t.Errorf("Check finds nothing missing after %q", flush)
				}
				check(t, b.Apply(ctx, peer))
				check(t, b.Check(ctx, peer))
				check(t, b.Apply(ctx, web))
				check(t, b.Check(ctx, web))
			})
		}
	})
}

// Who restores all rules by one mechanism and none by the other has those of one,
// on a host that needs openings too.
func TestRestoreMovesRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := context.Background()
	r := publishing("web", 2, 8080, 80)
	w.web.serve(t, 80)
	w.prepare(t, r)
	w.host.sh(t, `iptables -P FORWARD DROP; ip6tables -P FORWARD DROP
nft 'add table inet x; add chain inet x f { type filter hook forward priority 5; policy drop; }'`)
	backends := []Backend{&iptables{log: slog.New(slog.DiscardHandler)}, &nftables{log: slog.New(slog.DiscardHandler)}}
	w.host.do(t, func() { check(t, backends[0].Apply(ctx, r)) })
	for i := range 3 {
		from, to := backends[i%2], backends[(i+1)%2]
		w.host.do(t, func() {
			check(t, to.Restore(ctx, []Rules{r}))
			check(t, from.Restore(ctx, nil))
			check(t, to.Check(ctx, r))
			if from.Check(ctx, r) == nil {
				t.Errorf("rules of %s are left", from.Name())
			}
		})
		w.outside.reaches(t, wire.TCP, "192.0.2.1:8080", "web")
	}
}

// Somebody changes the rules between our reading and our writing: they are
// read again. What iptables-restore never takes ends in an error that shows it.
func TestRulesChangeWhileTheyAreRewritten(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	web := publishing("web", 2, 8080, 80)
	for _, test := range []struct {
		name, meddle string
		times        int
		want         string
	}{
		{"once", "iptables -F FORWARD", 1, ""},
		{"always", "iptables -F FORWARD", 9, `: "-D FORWARD `},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			plain := variantPrograms(t, "nft")
			b := &iptables{log: slog.New(slog.DiscardHandler), programs: plain}
			host := newHost(t, b)
			host.do(t, func() { check(t, b.Apply(ctx, web)) })
			b.programs = meddling(t, plain, test.meddle, test.times)
			host.do(t, func() {
				err := b.Restore(ctx, nil)
				if test.want == "" && err != nil || err == nil && test.want != "" || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
			if rules := host.sh(t, "iptables-save"); test.want == "" && strings.Contains(rules, "NETCTL") {
				t.Errorf("left:\n%s", rules)
			}
		})
	}
}

// meddling are programs of which iptables-save lets somebody in behind itself,
// so many times; what has been meddled with is put back before it reads again.
func meddling(t *testing.T, p programs, script string, times int) programs {
	t.Helper()
	dir := t.TempDir()
	for _, tool := range []string{"ip6tables-save", "ip6tables-restore", "iptables-restore"} {
		check(t, os.Symlink(filepath.Join(p.dir, tool), filepath.Join(dir, tool)))
	}
	save := fmt.Sprintf(`#!/bin/sh -e
PATH=%[1]s:$PATH
cd %[2]s
[ -e rules ] && iptables-restore < rules
iptables-save > rules
cat rules
echo >> count
[ $(wc -l < count) -le %[3]d ] || { rm rules; exit 0; }
%[4]s
`, p.dir, dir, times, script)
	check(t, os.WriteFile(filepath.Join(dir, "iptables-save"), []byte(save), 0o755))
	return programs{dir, p.lock}
}
