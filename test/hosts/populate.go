package hosts

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd"
	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
)

// Populate enters a network, and hosts with a pool each that exist nowhere else:
// as overlayd would, through the store.
func (e *Etcd) Populate(network string, within netip.Prefix, count int) {
	e.w.t.Helper()
	ctx := context.Background()
	s, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{e.socket()}}, slog.New(slog.DiscardHandler))
	e.w.must(err)
	defer s.Close()
	_, err = s.CreateNetwork(ctx, store.Network{Schema: store.Schema, Name: network, Ranges: []netip.Prefix{within}})
	e.w.must(err)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range count {
		group.Go(func() error { return enter(ctx, s, network, i) })
	}
	e.w.must(group.Wait())
}

// ReadAll reads everything with a bare client, as any host must that joins.
func (e *Etcd) ReadAll(ctx context.Context) error {
	return etcdtest.ReadAll(ctx, e.socket(), etcd.DefaultPrefix)
}

func enter(ctx context.Context, s *etcd.Store, network string, i int) error {
	n := store.Node{Schema: store.Schema, ID: store.NodeID(fmt.Sprintf("%032x", i+1)), Name: fmt.Sprintf("host-%04d", i), Epoch: 1,
		VTEP: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})}, MTU: 1450} // RFC 2544: nobody there
	session, err := s.Session(ctx, store.Registration{Node: n, Boot: "boot"})
	if err != nil {
		return err
	}
	if _, err := session.Claim(ctx, store.ClaimRequest{Network: network, Is4: true}); err != nil {
		return err
	}
	return session.Close(ctx, false)
}

// Calls is how many calls of each method the server was asked so far; a stream
// is one.
func (e *Etcd) Calls() map[string]int {
	e.w.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: e.dial}}
	resp, err := client.Get(EtcdEndpoint + "/metrics")
	e.w.must(err)
	defer resp.Body.Close()
	calls := map[string]int{}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "grpc_server_started_total{") {
			var n float64
			_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n)
			e.w.must(err)
			_, rest, _ := strings.Cut(line, `grpc_method="`)
			method, _, _ := strings.Cut(rest, `"`)
			calls[method] += int(n)
		}
	}
	e.w.must(lines.Err())
	return calls
}

// prefix is that of the cluster's keys, in the settings' usual place.
const prefix = etcd.DefaultPrefix + "/"

// Values is everything that the cluster has in the store, by key without the
// prefix.
func (e *Etcd) Values() map[string]string {
	e.w.t.Helper()
	answer, err := e.Client().Get(e.w.t.Context(), prefix, clientv3.WithPrefix())
	e.w.must(err)
	values := map[string]string{}
	for _, kv := range answer.Kvs {
		values[strings.TrimPrefix(string(kv.Key), prefix)] = string(kv.Value)
	}
	return values
}

// Keys are those below a folder, "" for all, in order.
func (e *Etcd) Keys(folder string) []string {
	e.w.t.Helper()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(e.Values())), func(key string) bool { return !strings.HasPrefix(key, folder) })
}

// Revision is when a key of the cluster was written; 0 if it is not there.
func (e *Etcd) Revision(key string) int64 {
	e.w.t.Helper()
	answer, err := e.Client().Get(e.w.t.Context(), prefix+key)
	e.w.must(err)
	if len(answer.Kvs) == 0 {
		return 0
	}
	return answer.Kvs[0].ModRevision
}

// Expire ends the session of a node now, as the server does when its time is
// over.
func (e *Etcd) Expire(id string) {
	e.w.t.Helper()
	var live store.Liveness
	e.w.must(json.Unmarshal([]byte(e.Values()["live/"+id]), &live))
	lease, err := strconv.ParseInt(live.Session, 16, 64)
	e.w.must(err)
	_, err = e.Client().Revoke(e.w.t.Context(), clientv3.LeaseID(lease))
	e.w.must(err)
}

// Put and Delete write what no overlayd would.
func (e *Etcd) Put(key, value string) {
	e.w.t.Helper()
	_, err := e.Client().Put(e.w.t.Context(), prefix+key, value)
	e.w.must(err)
}

func (e *Etcd) Delete(key string) {
	e.w.t.Helper()
	_, err := e.Client().Delete(e.w.t.Context(), prefix+key)
	e.w.must(err)
}
