package etcd

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
)

// The folders below the prefix.
const (
	configKey = "config"
	netDir    = "net/"
	groupDir  = "netid/"
	poolDir   = "pool/"
	nodeDir   = "node/"
	vtepDir   = "vtep/"
	liveDir   = "live/"
	tombDir   = "tomb/"
	namesDir  = "dns/"
	pauseKey  = "pause"
	// afterNodes is the first key behind every node's. net/, netid/ and node/
	// follow one another, so that one watch covers them.
	afterNodes = "node0"
)

func (s *Store) key(parts ...string) string { return s.config.Prefix + "/" + strings.Join(parts, "") }

func (s *Store) netKey(network string) string    { return s.key(netDir, network) }
func (s *Store) nodeKey(id store.NodeID) string  { return s.key(nodeDir, string(id)) }
func (s *Store) liveKey(id store.NodeID) string  { return s.key(liveDir, string(id)) }
func (s *Store) tombKey(id store.NodeID) string  { return s.key(tombDir, string(id)) }
func (s *Store) vtepKey(a netip.Addr) string     { return s.key(vtepDir, a.String()) }
func (s *Store) groupKey(group uint16) string    { return s.key(groupDir, fmt.Sprint(group)) }
func (s *Store) poolsKey(network string) string  { return s.key(poolDir, network, "/") }
func (s *Store) namesKey(parts ...string) string { return s.key(namesDir, strings.Join(parts, "/")) }

func (s *Store) poolKey(network string, pool netip.Prefix) string {
	return s.poolsKey(network) + fmt.Sprintf("%x-%d", pool.Addr().AsSlice(), pool.Bits())
}

// parsePoolKey takes a pool's key apart.
func (s *Store) parsePoolKey(key string) (network string, pool netip.Prefix, err error) {
	rest, ours := strings.CutPrefix(key, s.key(poolDir))
	network, name, ok := strings.Cut(rest, "/")
	base, length, ok2 := strings.Cut(name, "-")
	var raw [16]byte
	if !ours || !ok || !ok2 || len(base) > hex.EncodedLen(len(raw)) {
		return "", pool, fmt.Errorf("key %s is not <network>/<base in hexadecimal>-<length>", key)
	}
	n, err := hex.Decode(raw[:], []byte(base))
	addr, ok3 := netip.AddrFromSlice(raw[:n])
	bits, err2 := strconv.Atoi(length)
	if err != nil || !ok3 || err2 != nil || strconv.Itoa(bits) != length {
		return "", pool, fmt.Errorf("key %s is not <network>/<base in hexadecimal>-<length>", key)
	}
	if pool = netip.PrefixFrom(addr, bits); !pool.IsValid() || pool != pool.Masked() {
		return "", netip.Prefix{}, fmt.Errorf("key %s names no prefix", key)
	}
	return network, pool, nil
}
