package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/netctl/netctl/ipam/quickjson"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// maxAttempts bounds how often a transaction is tried again that found
// something else than was read. Each conflict is somebody else's success.
const maxAttempts = 16

// transact carries one transaction out within the bound of a call.
func (s *Store) transact(ctx context.Context, what string, compare []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	client, err := s.connection()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	floor := s.newest.Load()
	response, err := client.Txn(ctx).If(compare...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		s.refused(err)
		return nil, s.failed(what, err)
	}
	s.heard(response.Header.Revision, floor)
	return response, nil
}

// read gets several keys or ranges at one revision.
func (s *Store) read(ctx context.Context, what string, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	return s.transact(ctx, what, nil, ops, nil)
}

// failed says what could not be done, and whether trying again may help.
func (s *Store) failed(what string, err error) error {
	if unreachable(err) {
		return fmt.Errorf("etcd at %v: %s: %w: %w", s.config.Endpoints, what, store.ErrUnreachable, err)
	}
	return fmt.Errorf("etcd at %v: %s: %w", s.config.Endpoints, what, err)
}

// unreachable tells whether no working server was reached: none answered, or
// the one that did has no leader or no space.
func unreachable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, rpctypes.ErrNoLeader) {
		return true
	}
	code := status.Code(err)
	var etcdErr rpctypes.EtcdError
	if errors.As(err, &etcdErr) {
		code = etcdErr.Code()
	}
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// A stored value and the revision at which it was written; rev 0 is absence.
type stored[T any] struct {
	value T
	rev   int64 // of the last change
	made  int64 // of the creation
}

// exists tells whether the key was there.
func (v stored[T]) exists() bool { return v.rev != 0 }

// found are the keys that an operation of a transaction read.
func found(response *clientv3.TxnResponse, op int) []*mvccpb.KeyValue {
	return response.Responses[op].GetResponseRange().Kvs
}

// first reads the value of a get of one key. It is an error if what is there
// can't be read: nobody may write over what he does not understand.
func first[T any](response *clientv3.TxnResponse, op int) (stored[T], error) {
	kvs := found(response, op)
	if len(kvs) == 0 {
		return stored[T]{}, nil
	}
	return valueOf[T](kvs[0])
}

// among is first for a key in a folder that was read whole.
func among[T any](kvs []*mvccpb.KeyValue, key string) (stored[T], error) {
	i, ok := slices.BinarySearchFunc(kvs, key, func(kv *mvccpb.KeyValue, key string) int { return strings.Compare(string(kv.Key), key) })
	if !ok {
		return stored[T]{}, nil
	}
	return valueOf[T](kvs[i])
}

func valueOf[T any](kv *mvccpb.KeyValue) (v stored[T], err error) {
	if err := decode(kv.Value, &v.value); err != nil {
		return v, fmt.Errorf("etcd: value of %s: %w", kv.Key, err)
	}
	v.rev, v.made = kv.ModRevision, kv.CreateRevision
	return v, nil
}

// decode reads a value of this schema or an older one.
func decode(raw []byte, into any) error {
	err := quickjson.Unmarshal(raw, into)
	var version struct {
		Schema int `json:"schema"`
	}
	// The version is read by itself only where it was not read with the rest: a
	// thousand records are decoded while a host waits to join.
	if field := reflect.ValueOf(into).Elem().FieldByName("Schema"); err == nil && field.IsValid() {
		version.Schema = int(field.Int())
	} else if known := json.Unmarshal(raw, &version); known != nil {
		return known
	}
	if version.Schema > store.Schema {
		return fmt.Errorf("schema %d was written by a newer program; this one knows %d: update it", version.Schema, store.Schema)
	}
	return err
}

// put writes a value as JSON.
func put(key string, value any, options ...clientv3.OpOption) clientv3.Op {
	raw, err := json.Marshal(value)
	if err != nil { // the values are plain data; none can fail
		panic(fmt.Sprintf("etcd: encode %T: %v", value, err))
	}
	return clientv3.OpPut(key, string(raw), options...)
}

// unchanged compares a key with the revision at which it was read; 0 is absence.
func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// none compares with there being no key below a folder.
func none(dir string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(dir), "=", 0).WithPrefix()
}

// quiet compares with nothing below a folder having been written after a
// revision. A deletion does not count.
func quiet(dir string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(dir), "<", rev+1).WithPrefix()
}

// all gets everything below a folder.
func all(dir string) clientv3.Op { return clientv3.OpGet(dir, clientv3.WithPrefix()) }

// retry repeats a transaction that finds something else than it read.
func retry(ctx context.Context, what string, attempt func() (done bool, err error)) error {
	for range maxAttempts {
		done, err := attempt()
		if done || err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("etcd: %s: %w %d times", what, store.ErrConflict, maxAttempts)
}
