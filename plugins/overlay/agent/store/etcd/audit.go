package etcd

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

var _ store.Auditor = (*Store)(nil)

// Audit reads everything below the prefix.
func (s *Store) Audit(ctx context.Context) ([]store.Skipped, error) {
	response, err := s.read(ctx, "read everything", all(s.key()))
	if err != nil {
		return nil, err
	}
	a := newAgreement(response.Header.Revision, 0)
	var skipped []store.Skipped
	for _, kv := range response.Responses[0].GetResponseRange().Kvs {
		if folder, _ := s.folder(string(kv.Key)); folder == configKey || folder == netDir || folder == nodeDir {
			a.apply(s, kv, false)
			continue
		}
		if err := s.examine(string(kv.Key), kv.Value); err != nil {
			skipped = append(skipped, store.Skipped{Key: string(kv.Key), Why: err.Error()})
		}
	}
	return append(skipped, a.view().Skipped...), nil
}

// examine reads a value of one of the folders that no View tells of.
func (s *Store) examine(key string, raw []byte) (err error) {
	var value any
	dir, name, _ := strings.Cut(strings.TrimPrefix(key, s.key()), "/")
	switch dir {
	case strings.TrimSuffix(groupDir, "/"):
		value = &groupOf{}
		_, err = strconv.ParseUint(name, 10, 16)
	case strings.TrimSuffix(poolDir, "/"):
		value = &ownership{}
		_, _, err = s.parsePoolKey(key)
	case strings.TrimSuffix(vtepDir, "/"):
		value = &owner{}
		_, err = netip.ParseAddr(name)
	case strings.TrimSuffix(liveDir, "/"):
		value = &store.Liveness{}
	case strings.TrimSuffix(tombDir, "/"):
		value = &store.Tombstone{}
	case strings.TrimSuffix(namesDir, "/"):
		_, err := s.readNames(key, raw)
		return err
	case pauseKey:
		value = &owner{}
	default:
		return errors.New("nobody knows of such a key")
	}
	if err != nil {
		return err
	}
	return decode(raw, value)
}
