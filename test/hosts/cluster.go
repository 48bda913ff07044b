package hosts

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/netctl/netctl/plugins/overlay/agent/store/etcd/etcdtest"
)

// StartCluster starts three etcd servers with TLS and a password, each on a
// machine of its own on the switch, and tells the hosts of them.
func (w *World) StartCluster() *etcdtest.Cluster {
	w.t.Helper()
	var places []etcdtest.Place
	for i := range 3 {
		h := &Host{Name: fmt.Sprintf("etcd%d", i), NS: namespace(w.t), Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(201 + i)}), Port: fmt.Sprintf("port-etcd%d", i), w: w}
		w.must(h.Plug())
		places = append(places, etcdtest.Place{Addr: h.Addr, Do: h.NS.Do})
	}
	c := etcdtest.StartCluster(w.t, "/netctl/v1/", places...)
	for _, h := range w.Hosts {
		password := filepath.Join(h.Root, "password")
		w.must(os.WriteFile(password, []byte(c.Password+"\n"), 0o600))
		data, err := json.Marshal(map[string]any{"etcd": map[string]any{"endpoints": c.Endpoints(), "user": c.User, "passwordFile": password,
			"ca": c.Files.CA, "cert": c.Files.Cert, "key": c.Files.Key}})
		w.must(err)
		w.must(os.WriteFile(h.Settings(), data, 0o600))
	}
	return c
}
