package etcd_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
	"github.com/netctl/netctl/plugins/overlay/agent/store/storetest"
)

// TestReclaimComparesWhatItRead: whatever was written between what a reclamation
// read and its transaction, each key by itself, the reclamation is refused and
// takes nothing. TestReclaimRace meets this moment only by luck.
func TestReclaimComparesWhatItRead(t *testing.T) {
	t.Parallel()
	server := etcdtest.Start(t)
	client := server.Client(t)
	for name, meanwhile := range map[string]string{
		"nothing":                                 "",
		"its record is written":                   "node/node-1",
		"its pool is claimed anew":                "pool/tiny/",
		"it is alive":                             "live/node-1",
		"it was back, and is gone again":          "vtep/",
		"another node was reclaimed meanwhile":    "pause",
		"what the reclamation has not to do with": "tomb/node-2",
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, server.Path(t), 0)
			seen := absentOwner(t, s)
			prefix := "/netctl/v1/" + t.Name() + "/"
			var before map[string]string
			err := s.BeforeNextWrite(func() {
				if meanwhile != "" {
					rewrite(t, client, prefix+meanwhile)
				}
				before = everything(t, client, prefix)
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Reclaim(t.Context(), store.Reclamation{Absence: seen, Reason: "gone", Pause: time.Minute})
			if refused := meanwhile != "" && meanwhile != "tomb/node-2"; !refused {
				if err != nil {
					t.Errorf("not reclaimed: %v", err)
				}
				return
			}
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("reclaimed, or refused with %v", err)
			}
			if after := everything(t, client, prefix); !maps.Equal(after, before) {
				t.Errorf("the reclamation that was refused left\n%v\nof\n%v", after, before)
			}
		})
	}
}

// absentOwner is a node with a pool that is gone.
func absentOwner(t *testing.T, s store.Store) store.Absence {
	t.Helper()
	if _, err := s.CreateNetwork(t.Context(), storetest.Tiny()); err != nil {
		t.Fatal(err)
	}
	session := enter(t, s, storetest.Nodes(1)[0], store.Registration{})
	if _, err := session.Claim(t.Context(), store.ClaimRequest{Network: "tiny", Is4: true}); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	absent, err := s.Absent(t.Context())
	if err != nil || len(absent) != 1 {
		t.Fatalf("absent are %+v, %v", absent, err)
	}
	return absent[0]
}

// rewrite makes the key, or the first one below it, anew, with what it says
// already: what changes are its revisions.
func rewrite(t *testing.T, client *clientv3.Client, key string) {
	ctx, cancel := context.WithTimeout(t.Context(), storetest.Patience)
	defer cancel()
	there, err := client.Get(ctx, key, clientv3.WithPrefix())
	value := `{"id":"node-1","owner":"node-1"}`
	if err == nil && len(there.Kvs) > 0 {
		key, value = string(there.Kvs[0].Key), string(there.Kvs[0].Value)
	}
	if err == nil {
		_, err = client.Delete(ctx, key)
	}
	if err == nil {
		_, err = client.Put(ctx, key, value)
	}
	if err != nil {
		t.Errorf("write %s: %v", key, err)
	}
}

// everything below a prefix, with its values.
func everything(t *testing.T, client *clientv3.Client, prefix string) map[string]string {
	ctx, cancel := context.WithTimeout(t.Context(), storetest.Patience)
	defer cancel()
	found, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		t.Errorf("read %s: %v", prefix, err)
		return nil
	}
	all := map[string]string{}
	for _, kv := range found.Kvs {
		all[string(kv.Key)] = string(kv.Value)
	}
	return all
}
