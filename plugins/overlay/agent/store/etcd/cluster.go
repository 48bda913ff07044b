package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// UpdateCluster replaces the policies.
func (s *Store) UpdateCluster(ctx context.Context, c store.Cluster) (store.Cluster, error) {
	if err := c.Check(); err != nil {
		return c, err
	}
	response, err := s.read(ctx, "read the cluster's configuration", clientv3.OpGet(s.key(configKey)))
	if err != nil {
		return c, err
	}
	have, err := first[store.Cluster](response, 0)
	if err != nil {
		return c, err
	}
	if !have.exists() || store.Revision(have.rev) != c.Revision {
		return c, fmt.Errorf("configuration of the cluster: %w", store.ErrConflict)
	}
	c.Schema, c.ID, c.VNI, c.Port = store.Schema, cmp.Or(c.ID, have.value.ID), cmp.Or(c.VNI, have.value.VNI), cmp.Or(c.Port, have.value.Port)
	if c.ID != have.value.ID || c.VNI != have.value.VNI || c.Port != have.value.Port {
		return c, errors.New("configuration of the cluster: its ID, VNI and port can't be changed: every tunnel has them")
	}
	done, err := s.transact(ctx, "write the cluster's configuration", []clientv3.Cmp{unchanged(s.key(configKey), have.rev)}, []clientv3.Op{put(s.key(configKey), c)}, nil)
	if err != nil {
		return c, err
	}
	if !done.Succeeded {
		return c, fmt.Errorf("configuration of the cluster: %w", store.ErrConflict)
	}
	c.Revision = store.Revision(done.Header.Revision)
	return c, nil
}
