package firewall

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// The host's last attachment goes in one process a family and leaves nothing; with
// anything else there, the rules are read and what is not its own stays.
func TestLastRemoveIsOneProcess(t *testing.T) {
	t.Parallel()
	r := publishing("web", 2, 8080, 80)
	elsewhere := publishing("other", 3, 8081, 80)
	elsewhere.Network.Network, elsewhere.Attachment.Network = "net2", "net2"
	apply := func(other Rules) func(*testing.T, Backend) {
		return func(t *testing.T, b Backend) { check(t, b.Apply(context.Background(), other)) }
	}
	for _, c := range []struct {
		name   string
		others func(t *testing.T, b Backend)
		script string // beside it, on the host
		fast   bool
		kept   string // of the rules, "" for no trace of ours
	}{
		{name: "alone", fast: true},
		{name: "beside the rules of others", script: "iptables -A FORWARD -j ACCEPT; iptables -N OTHER; iptables -t nat -A POSTROUTING -j RETURN", fast: true},
		{name: "beside another network", others: apply(elsewhere), kept: "netctl net2 policy="},
		{name: "beside the administrator's rule", script: "iptables -A NETCTL-ADMIN -j ACCEPT", kept: "-A NETCTL-ADMIN -j ACCEPT"},
		{name: "after an older one whose port's chains are left", others: func(t *testing.T, b Backend) {
			older := publishing("older", 4, 30000, 80)
			check(t, b.Apply(context.Background(), older))
			check(t, b.Remove(context.Background(), older, nil))
		}},
		{name: "with a rule of its own flushed", script: "iptables -F NETCTL-GUARD; iptables -t nat -F NETCTL-MASQUERADE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			counted, started := countPrograms(t, variantPrograms(t, "nft"))
			b := &iptables{log: slog.New(slog.DiscardHandler), programs: counted}
			host := newHost(t, b)
			host.do(t, func() {
				check(t, b.Apply(context.Background(), r))
				if c.others != nil {
					c.others(t, b)
				}
			})
			host.sh(t, c.script)
			started()
			host.do(t, func() { check(t, b.Remove(context.Background(), r, unused)) })
			if got := started(); c.fast != slices.Equal(got, []string{"ip6tables-restore", "iptables-restore"}) {
				t.Errorf("started %v", got)
			}
			left := host.sh(t, "iptables-save; ip6tables-save")
			if strings.Contains(left, attachmentLabel(r.Attachment)) || strings.Contains(left, networkLabel("net1")+" ") {
				t.Errorf("of its own is left:\n%s", left)
			}
			if c.kept == "" && strings.Contains(left, chainPrefix) || !strings.Contains(left, c.kept) {
				t.Errorf("want %q, left is\n%s", c.kept, left)
			}
		})
	}
}

// Where it does not fit, the input is refused as a whole and nothing of another's is
// lost: what is in no chain of one owner is never flushed.
func TestLastRemoveFlushesNothingShared(t *testing.T) {
	r := publishing("web", 2, 8080, 80)
	for _, f := range families() {
		for line := range strings.Lines(fastLastFamily(unique(wanted(f, r)))) {
			name, flushes := strings.CutPrefix(strings.TrimSpace(line), "-F "+chainPrefix)
			if flushes && !isOneOwners(chain{name: name}) {
				t.Errorf("%s: %s", f, line)
			}
		}
	}
	if fast := (&iptables{}).fastLast(Rules{Attachment: wire.Attachment{Network: "net1"}}); len(fast) > 0 {
		t.Errorf("with names alone: %v", fast)
	}
}

// The nft kind refuses to delete a chain that is in use with the number that the
// legacy kind has for a lock; that must lead to reading the rules, not to trying
// the same again.
func TestChainInUseIsNotALock(t *testing.T) {
	t.Parallel()
	b := &iptables{log: slog.New(slog.DiscardHandler), programs: variantPrograms(t, "nft")}
	host := newHost(t, b)
	host.sh(t, "iptables -N NETCTL-X; iptables -A NETCTL-X -j ACCEPT")
	host.do(t, func() {
		l, err := acquire(context.Background())
		check(t, err)
		defer l.release()
		err = b.restore(context.Background(), l, restores{ipv4: "*filter\n-X NETCTL-X\nCOMMIT\n"})[ipv4]
		if err == nil || errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
	})
}
