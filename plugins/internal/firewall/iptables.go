package firewall

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// iptables carries policy out with the iptables programs, of either kind
// (legacy or nft). Version 1.8.0 or newer.
//
// A change is one iptables-restore --noflush, all or nothing per table. Its
// first lines check (-C) that the chains it builds on are there, and -N of the
// attachment's receipt fails when the attachment already has rules. So the
// usual ADD and the usual DEL are one process each, which knows nothing of what
// else there is. Only when that fails are the rules read (iptables-save) and
// the difference written, again by one iptables-restore.
type iptables struct {
	log      *slog.Logger
	programs programs
	park     Park
}

// Name is part of Backend.
func (*iptables) Name() BackendName { return IPTables }

// Apply is part of Backend.
func (t *iptables) Apply(ctx context.Context, r Rules) error {
	l, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	fast := fastApply(r)
	first := t.fresh(fast, r)
	rewrote, err := t.change(ctx, l, fast, func(f family, s *saved) string {
		return rewrite(f, s, wanted(f, r), r.replaces)
	})
	if (first || rewrote) && err == nil {
		t.foreigners(func(o foreigners) { o.open(r.Network) })
	}
	return errors.Join(err, forgetConnections(r.Publish, dialConntrack))
}

// Remove is part of Backend.
func (t *iptables) Remove(ctx context.Context, r Rules, inUse InUse) error {
	l, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	last, err := inUse.last()
	if err != nil {
		return err
	}
	if last {
		err = t.removeLast(ctx, l, r)
	} else {
		err = t.removeAttachment(ctx, l, r)
	}
	return errors.Join(err, forgetConnections(r.Publish, dialConntrack))
}

// removeLast takes away an attachment and its network.
func (t *iptables) removeLast(ctx context.Context, l *lock, r Rules) error {
	gone := func(c string) bool { return ofNetworkOrBelow(c, r.Attachment.NetworkLabel()) }
	t.foreigners(func(o foreigners) { o.close(gone) })
	if t.unlinkLast(r) {
		return nil
	}
	return t.rewriteAll(ctx, l, r.families(), removal(gone))
}

func (t *iptables) removeAttachment(ctx context.Context, l *lock, r Rules) error {
	slow := removal(func(c string) bool { return ofLabel(c, attachmentLabel(r.Attachment)) })
	if !r.known() {
		return t.rewriteAll(ctx, l, r.families(), slow)
	}
	_, err := t.change(ctx, l, fastRemove(r), slow)
	return err
}

// RemoveNetwork is part of Backend.
func (t *iptables) RemoveNetwork(ctx context.Context, network string, inUse InUse) error {
	l, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	if used, err := inUse.used(); used || err != nil {
		return err
	}
	return t.removeNetwork(ctx, l, Rules{}.families(), func(c string) bool { return ofNetworkAndParts(c, network) })
}

func (t *iptables) removeNetwork(ctx context.Context, l *lock, in []family, gone func(comment string) bool) error {
	t.foreigners(func(o foreigners) { o.close(gone) })
	return t.rewriteAll(ctx, l, in, removal(gone))
}

// removal takes away whatever belongs to an owner.
func removal(gone func(comment string) bool) rewriter {
	return func(f family, s *saved) string { return rewrite(f, s, nil, gone) }
}

// Restore is part of Backend.
func (t *iptables) Restore(ctx context.Context, all []Rules) error {
	l, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	err = t.rewriteAll(ctx, l, Rules{}.families(), func(f family, s *saved) string {
		var want []placed
		for _, r := range settle(all) {
			want = append(want, wanted(f, r)...)
		}
		return rewrite(f, s, want, func(string) bool { return true })
	})
	t.foreigners(func(o foreigners) { o.restore(settle(all)) })
	return err
}

// Check is part of Backend.
func (t *iptables) Check(ctx context.Context, r Rules) error {
	l, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer l.release()
	return t.check(ctx, l, r)
}

// last tells whether the network goes with its attachment.
func (u InUse) last() (bool, error) {
	if u == nil {
		return false, nil
	}
	used, err := u()
	return !used, err
}

// used tells whether the network must stay.
func (u InUse) used() (bool, error) {
	if u == nil {
		return false, nil
	}
	return u()
}

// known tells whether r says what was applied, or only whose it is.
func (r Rules) known() bool { return len(r.Publish) > 0 || !r.Network.IsZero() }

// families are those that r has rules in; all of them when it does not say.
func (r Rules) families() []family {
	var in []family
	for _, f := range families() {
		if !r.known() || r.concern(f) {
			in = append(in, f)
		}
	}
	return in
}

// replaces tells which rules Apply may take away when they are not in r: older
// ones of the same attachment, and of the network under an older policy.
func (r Rules) replaces(comment string) bool {
	return ofLabel(comment, attachmentLabel(r.Attachment)) ||
		!r.Network.IsZero() && isPolicyOf(comment, r.Network.Network)
}

// wanted are all rules that r needs in a family, shared ones included.
func wanted(f family, r Rules) []placed {
	network := networkRules(f, r.Network)
	published := f.publish(r.Publish)
	if len(network)+len(published) == 0 {
		return nil
	}
	all := append(sharedRules(f), withAdmin(network, r.Network)...)
	for _, rules := range publishedSubnets(f, r) {
		all = append(all, rules...)
	}
	if len(published) > 0 {
		all = append(all, receipt(r.Attachment))
	}
	seen := map[chain]bool{}
	for _, p := range published {
		path := treePath(p.Protocol, portSpan{p.HostPort, p.Last()})
		for i := 1; i < len(path); i++ {
			if !seen[path[i]] {
				seen[path[i]] = true
				all = append(all, treeJumps(p.Protocol, path[i-1:i+1])...)
			}
		}
		all = append(all, path[len(path)-1].holds(append(markRules(f, r.Attachment, p), mappingRule(r.Attachment, p))...)...)
	}
	return all
}

// sharedRules are the base and the roots of the port trees.
func sharedRules(f family) []placed {
	all := baseRules(f)
	for _, p := range protocols() {
		all = append(all, chainPublish.holds(rule{proto: p, do: to(ofProtocol(p)), comment: layout})...)
	}
	return all
}

// receipt is the one rule of a chain that nothing jumps to: its presence says
// that the attachment's rules are there, and that an Apply has nothing to add
// blindly.
func receipt(a wire.Attachment) placed {
	own := chain{nat, "ATT-" + hash(16, a.NetworkLabel(), a.Container, a.IfName), false}
	return placed{own, rule{do: verdict{action: leave}, comment: attachmentLabel(a)}}
}

// settle gives all attachments of a network the policy that the last one with
// a policy has: the configuration may have changed between them.
func settle(all []Rules) []Rules {
	policies := map[string]wire.NetworkPolicy{}
	for _, r := range all {
		if !r.Network.IsZero() {
			policies[r.Network.Network] = r.Network
		}
	}
	settled := slices.Clone(all)
	for i := range settled {
		if policy, ok := policies[settled[i].Network.Network]; ok {
			settled[i].Network = policy
		}
	}
	return settled
}
