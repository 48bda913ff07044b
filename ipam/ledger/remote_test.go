package ledger

import (
	"net/netip"
	"testing"
)

func TestRemotesAreSeenByTheResolverAndByNobodyElse(t *testing.T) {
	l, err := OpenBoot(t.TempDir(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	web := Record{Key: Remote("blue", "b", "c1"), Names: Names{Own: []string{"web"}, Remote: "b"},
		Addresses: []Address{{Prefix: netip.MustParsePrefix("10.100.2.2/32")}}}
	set := func(want bool, all ...Record) {
		t.Helper()
		err := l.Update(func(tx *Tx) error {
			changed, err := tx.SetRemotes("blue", all)
			if changed != want {
				t.Errorf("changed is %v, want %v", changed, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set(true, web)
	set(false, web)
	full, err := l.Changes(0)
	if err != nil || len(full.Changed) != 1 || full.Changed[0].Key != web.Key {
		t.Errorf("everything is %+v, %v", full, err)
	}
	err = l.View(func(tx *Tx) error {
		all, err := tx.Attachments("")
		if len(all) != 0 {
			t.Errorf("remotes are attachments: %v", all)
		}
		if used, _ := tx.InUse(Key{Network: "blue"}); used {
			t.Error("a remote container makes the network used here")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	set(true)
	later, err := l.Changes(full.Generation)
	if err != nil || len(later.Gone) != 1 || later.Gone[0] != web.Key {
		t.Errorf("after it is gone: %+v, %v", later, err)
	}
}
