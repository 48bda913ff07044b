package attach

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/firewall"
)

// asked is a configuration that names a packet filter.
type asked struct {
	Conf
	name string
}

func (a asked) Firewall() string { return a.name }

// The packet filter is found out once; after that the host keeps it, whatever
// is installed later, but for those who ask for another.
func TestTheMechanismIsTheHosts(t *testing.T) {
	store, err := ledger.OpenBoot(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	a := &Attacher{Ledger: store, Log: slog.New(slog.DiscardHandler)}
	for _, step := range []struct {
		change, conf, want, kept string
	}{
		{"", "nftables", "nftables", ""}, // an exception is not the rule
		{"", "", "iptables", "iptables"}, // which has its programs here
		{"nftables", "", "nftables", "nftables"},
		{"", "iptables", "iptables", "nftables"},
		{"", "", "nftables", "nftables"},
	} {
		var got firewall.Backend
		var kept string
		err := store.Update(func(tx *ledger.Tx) (err error) {
			if step.change != "" {
				err = tx.SetMechanism(step.change)
			}
			decided, failed := a.decide(tx, asked{name: step.conf})
			got, kept = decided, tx.Mechanism()
			return errors.Join(err, failed)
		})
		if err != nil || string(got.Name()) != step.want || kept != step.kept {
			t.Errorf("%+v: %v, host keeps %q, %v", step, got.Name(), kept, err)
		}
		if name, err := a.ofHost(nil); name != step.kept || err != nil {
			t.Errorf("%+v: without a configuration %q, %v", step, name, err)
		}
	}
}
