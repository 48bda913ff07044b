package plugins

import (
	"context"
	"errors"
	"fmt"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/firewall"
)

// Reload makes the host's packet-filter rules, bridges and forwarding what the
// ledger says they are, after somebody flushed them. If the Host names a
// mechanism, all attachments change over to it, and new ones have it too,
// unless they ask for another. It returns how many attachments were replayed.
//
// An ADD may come while the rules are written. It is in the ledger before it
// writes any rule, so reading the ledger's generation afterwards finds it, and
// the whole is done again.
func (h Host) Reload(ctx context.Context) (int, error) {
	a, err := h.attacher(attach.Mode{})
	if err != nil {
		return 0, err
	}
	if h.Firewall != "" { // nothing is recorded that can't be done
		if err := firewall.Probe(ctx, firewall.BackendName(h.Firewall)); err != nil {
			return 0, err
		}
	}
	const tries = 10
	for range tries {
		n, changed, err := h.reloadOnce(ctx, a.Ledger)
		if err != nil || !changed {
			return n, err
		}
	}
	return 0, fmt.Errorf("attachments came and went during %d tries", tries)
}

// reloadOnce reports whether the ledger has changed since it was read.
func (h Host) reloadOnce(ctx context.Context, l *ledger.Ledger) (int, bool, error) {
	records, generation, err := h.readLedger(l)
	if err != nil {
		return 0, false, err
	}
	byBackend := map[firewall.BackendName][]firewall.Rules{firewall.IPTables: nil, firewall.NFTables: nil}
	var failures []error
	for _, r := range records {
		rules, err := h.replay(r)
		if err != nil {
			failures = append(failures, fmt.Errorf("replay %s: %w", r.Key, err))
			continue
		}
		name := firewall.BackendName(r.Firewall)
		byBackend[name] = append(byBackend[name], rules)
	}
	for name, rules := range byBackend {
		if err := h.restore(ctx, name, rules); err != nil {
			failures = append(failures, err)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return 0, false, err
	}
	now, err := l.Generation()
	return len(records), now != generation, err
}

// readLedger gives the attachments that have rules, after a change of their
// mechanism has been recorded.
func (h Host) readLedger(l *ledger.Ledger) (records []ledger.Record, generation uint64, err error) {
	err = l.Update(func(tx *ledger.Tx) error {
		all, err := tx.Attachments("")
		if err != nil {
			return err
		}
		if h.Firewall != "" {
			if err := tx.SetMechanism(h.Firewall); err != nil {
				return err
			}
		}
		records = nil
		for _, r := range all {
			if r.Firewall == "" || r.Leaving {
				continue
			}
			if h.Firewall != "" && r.Firewall != h.Firewall {
				r.Firewall = h.Firewall
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			records = append(records, r)
		}
		generation = tx.Generation()
		return nil
	})
	return records, generation, err
}

func (h Host) replay(r ledger.Record) (firewall.Rules, error) {
	mode, ok := findMode(r.Plugin)
	if !ok {
		return firewall.Rules{}, fmt.Errorf("plugin %q is not in this build", r.Plugin)
	}
	a, err := h.attacher(mode)
	if err != nil {
		return firewall.Rules{}, err
	}
	return a.Replay(r)
}

// restore writes the rules of one mechanism. One that nobody uses is cleared
// where it can be: its programs may not be installed.
func (h Host) restore(ctx context.Context, name firewall.BackendName, rules []firewall.Rules) error {
	backend, err := firewall.Open(name, h.Log)
	if err == nil {
		err = backend.Restore(ctx, rules)
	}
	if err != nil && len(rules) == 0 {
		h.Log.Debug("nothing of ours to clear", "firewall", name, "error", err)
		return nil
	}
	return err
}

// WatchRules tells whenever rules of ours may have been deleted and all is calm
// again, until ctx ends; then the channel is closed. A Reload that finds nothing
// missing changes nothing.
func (Host) WatchRules(ctx context.Context) (<-chan struct{}, error) {
	return firewall.Watch(ctx)
}
