package etcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// Alive lists who has a session.
func (s *Store) Alive(ctx context.Context) ([]store.Liveness, error) {
	response, err := s.read(ctx, "list who is alive", all(s.key(liveDir)))
	if err != nil {
		return nil, err
	}
	return s.readLive(found(response, 0)), nil
}

func (s *Store) readLive(kvs []*mvccpb.KeyValue) []store.Liveness {
	var result []store.Liveness
	for _, kv := range kvs {
		var l store.Liveness
		if err := decode(kv.Value, &l); err != nil {
			s.log.Debug("skipped a session", "key", string(kv.Key), "error", err)
			continue
		}
		result = append(result, l)
	}
	return result
}

// Absent lists who has a record and no session. Only keys are read of both; a
// session whose value can't be read is one.
func (s *Store) Absent(ctx context.Context) ([]store.Absence, error) {
	nodes, live := s.key(nodeDir), s.key(liveDir)
	response, err := s.read(ctx, "list who is absent", clientv3.OpGet(nodes, clientv3.WithPrefix(), clientv3.WithKeysOnly()),
		clientv3.OpGet(live, clientv3.WithPrefix(), clientv3.WithKeysOnly()), all(s.key(vtepDir)))
	if err != nil {
		return nil, err
	}
	alive := map[string]bool{}
	for _, kv := range found(response, 1) {
		alive[string(kv.Key[len(live):])] = true
	}
	sessions := map[store.NodeID]int64{}
	for _, kv := range found(response, 2) {
		if o, err := valueOf[owner](kv); err == nil {
			sessions[o.value.ID] = max(sessions[o.value.ID], o.rev)
		}
	}
	var absent []store.Absence
	for _, kv := range found(response, 0) {
		if id := string(kv.Key[len(nodes):]); !alive[id] {
			absent = append(absent, store.Absence{ID: store.NodeID(id), Record: store.Revision(kv.ModRevision), Session: store.Revision(sessions[store.NodeID(id)])})
		}
	}
	return absent, nil
}
