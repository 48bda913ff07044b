package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// exposition is the text format of Prometheus, version 0.0.4.
type exposition struct{ strings.Builder }

func (e *exposition) metric(name, kind, help string, values ...sample) {
	fmt.Fprintf(e, "# HELP overlayd_%s %s\n# TYPE overlayd_%s %s\n", name, help, name, kind)
	for _, v := range values {
		fmt.Fprintf(e, "overlayd_%s%s %v\n", name, v.labels, v.value)
	}
}

type sample struct {
	labels string
	value  any
}

func one(v any) sample { return sample{value: v} }

func labelled(v any, pairs ...string) sample {
	var texts []string
	for i := 0; i < len(pairs); i += 2 {
		texts = append(texts, fmt.Sprintf("%s=%q", pairs[i], pairs[i+1]))
	}
	return sample{labels: "{" + strings.Join(texts, ",") + "}", value: v}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (a *Agent) handleMetrics(w http.ResponseWriter, r *http.Request) {
	st := a.status(r.Context())
	e := new(exposition)
	e.metric("ready", "gauge", "Whether a first complete pass was made.", one(truth(st.Ready)))
	e.metric("degraded", "gauge", "Whether the store can't be used, or nothing may be deleted.", one(truth(st.Degraded != "")))
	e.metric("store_revision", "gauge", "Revision of the view in use.", one(st.Revision))
	e.metric("mtu_bytes", "gauge", "What fits into the overlay from here.", one(st.MTU))
	e.metric("peers", "gauge", "Other hosts of the overlay.", one(len(st.Peers)))
	e.metric("problems", "gauge", "Things that are not as they should be.", one(len(st.Problems)))
	e.metric("passes_total", "counter", "Comparisons of the kernel with what it should be.", one(st.Passes.Count))
	e.metric("pass_failures_total", "counter", "Passes that left something undone.", one(st.Passes.Failures))
	e.metric("writes_total", "counter", "Requests that changed the kernel.", one(st.Passes.Writes))
	e.metric("pass_seconds", "gauge", "How long the last pass took.", one(st.Passes.LastMS/1000))
	var pools, free, lost, fast, rtt, mtu []sample
	for _, n := range st.Networks {
		pools = append(pools, labelled(len(n.Pools), "network", n.Name))
		free = append(free, labelled(n.Free, "network", n.Name))
		fast = append(fast, labelled(len(n.Fast), "network", n.Name))
		lost = append(lost, labelled(len(n.Stranded), "network", n.Name))
	}
	for _, p := range st.Peers {
		if !p.Heard.IsZero() {
			rtt = append(rtt, labelled(p.RTT/1000, "peer", p.Name))
			mtu = append(mtu, labelled(p.MTU, "peer", p.Name))
		}
	}
	e.metric("pools", "gauge", "Pools of this host.", pools...)
	e.metric("pools_free", "gauge", "Pools that nobody owns, -1 for too many to count.", free...)
	e.metric("fast_path_containers", "gauge", "Containers of this host whose packets to other hosts take the fast path.", fast...)
	e.metric("stranded_containers", "gauge", "Containers with addresses of lost pools.", lost...)
	e.metric("peer_rtt_seconds", "gauge", "Round trip of the last probe.", rtt...)
	e.metric("peer_mtu_bytes", "gauge", "What fits into the overlay on the way to a peer.", mtu...)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write([]byte(e.String()))
}

// serveMetrics serves them on an address of their own, if there is one.
func (a *Agent) serveMetrics(ctx context.Context) error {
	if a.cfg.Metrics == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	l, err := net.Listen("tcp", a.cfg.Metrics)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", a.handleMetrics)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return ctx.Err()
}
