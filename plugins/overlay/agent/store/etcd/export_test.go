package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// AskEvery changes how often a silent stream is asked how far it is.
func (s *Store) AskEvery(d time.Duration) { s.progress = d }

// BeforeNextWrite has do called once between what a call reads and the
// transaction that it decides on: the moment that races are about.
func (s *Store) BeforeNextWrite(do func()) error {
	client, err := s.connection()
	if err == nil {
		client.KV = &interrupted{KV: client.KV, do: do}
	}
	return err
}

type interrupted struct {
	clientv3.KV
	do   func()
	once sync.Once
}

func (i *interrupted) Txn(ctx context.Context) clientv3.Txn {
	return &paused{Txn: i.KV.Txn(ctx), by: i}
}

// A paused transaction is one that writes: it compares.
type paused struct {
	clientv3.Txn
	by     *interrupted
	writes bool
}

func (p *paused) If(compare ...clientv3.Cmp) clientv3.Txn {
	p.Txn, p.writes = p.Txn.If(compare...), len(compare) > 0
	return p
}

func (p *paused) Then(ops ...clientv3.Op) clientv3.Txn { p.Txn = p.Txn.Then(ops...); return p }
func (p *paused) Else(ops ...clientv3.Op) clientv3.Txn { p.Txn = p.Txn.Else(ops...); return p }

func (p *paused) Commit() (*clientv3.TxnResponse, error) {
	if p.writes {
		p.by.once.Do(p.by.do)
	}
	return p.Txn.Commit()
}
