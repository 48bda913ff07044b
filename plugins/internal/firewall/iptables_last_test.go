package firewall

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The host's last attachment goes without a program and leaves nothing; with
// anything else there, the rules are read and what is not its own stays.
func TestLastRemoveNeedsNoProgram(t *testing.T) {
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
		{name: "with the administrator's in place of one of ours", script: "iptables -R NETCTL-FORWARD 1 -j ACCEPT", kept: "-A NETCTL-FORWARD -j ACCEPT"},
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
			if got := started(); c.fast != (len(got) == 0) {
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

// What is in no chain of one owner is deleted by number, never all at once.
func TestLastRemoveFlushesNothingShared(t *testing.T) {
	t.Parallel()
	r := publishing("web", 2, 8080, 80)
	for _, f := range families() {
		for _, c := range chainsOf(unique(wanted(f, r))) {
			for _, m := range deletionsIn(f, c, []uint64{7}) {
				number := attribute(netlink.Message{Data: m.data}, unix.NFTA_RULE_HANDLE)
				if len(number) == 0 && !isOneOwners(c) {
					t.Errorf("%s: all rules of %s go", f, iptablesChain(c))
				}
			}
		}
	}
}

// A change that came after the reading is no part of what was read.
func TestStaleTransactionIsRefused(t *testing.T) {
	t.Parallel()
	b := &iptables{log: slog.New(slog.DiscardHandler), programs: variantPrograms(t, "nft")}
	host := newHost(t, b)
	host.sh(t, "iptables -N NETCTL-X; iptables -A NETCTL-X -j ACCEPT")
	flush := []nftMessage{iptablesMessage(ipv4, unix.NFT_MSG_DELRULE, 0, text(unix.NFTA_RULE_TABLE, filter), text(unix.NFTA_RULE_CHAIN, "NETCTL-X"))}
	host.do(t, func() {
		s, err := dialNFT()
		check(t, err)
		defer unix.Close(s.fd)
		read, err := s.generation()
		check(t, err)
		host.sh(t, "iptables -A NETCTL-X -j DROP")
		if err := s.transact(flush, read); !errors.Is(err, unix.ERESTART) {
			t.Errorf("got %v", err)
		}
		if left := host.sh(t, "iptables -S NETCTL-X"); !strings.Contains(left, "ACCEPT") || !strings.Contains(left, "DROP") {
			t.Errorf("left is\n%s", left)
		}
		now, err := s.generation()
		check(t, err)
		check(t, s.transact(flush, now))
		if left := host.sh(t, "iptables -S NETCTL-X"); strings.Contains(left, "-A") {
			t.Errorf("left is\n%s", left)
		}
	})
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
