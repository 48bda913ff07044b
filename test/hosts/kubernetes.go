package hosts

import (
	"encoding/json"
	"net"
	"os"

	"github.com/netctl/netctl/plugins/overlay/agent/store/kubernetes/kubetest"
)

// Kubernetes is the stand-in for an API server, on the switch.
type Kubernetes struct {
	*kubetest.Server
	kubeconfig string
}

// StartKubernetes starts it.
func (w *World) StartKubernetes() *Kubernetes {
	w.t.Helper()
	var l net.Listener
	w.must(w.Switch.Do(func() (err error) {
		l, err = net.Listen("tcp", "192.0.2.254:6443")
		return err
	}))
	s := kubetest.StartOn(w.t, l)
	return &Kubernetes{s, s.Kubeconfig(w.t)}
}

// UseKubernetes takes overlayd's settings as a node has them, with a way to the
// server that needs no service account.
func (h *Host) UseKubernetes(k *Kubernetes, settings []byte) {
	h.w.t.Helper()
	var file struct {
		Name       string         `json:"name"`
		Kubernetes map[string]any `json:"kubernetes"`
	}
	h.w.must(json.Unmarshal(settings, &file))
	file.Kubernetes["kubeconfig"] = k.kubeconfig
	data, err := json.Marshal(file)
	h.w.must(err)
	h.w.must(os.WriteFile(h.Settings(), data, 0o600))
}
