package dnsd

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/netctl/netctl/dnsd/forward"
	"github.com/netctl/netctl/dnsd/resolver"
)

// exposition writes metrics in the text format of Prometheus. The client
// library is three times as large as this program.
type exposition struct{ strings.Builder }

func (e *exposition) family(name, kind, help string) {
	fmt.Fprintf(e, "# HELP dnsd_%s %s\n# TYPE dnsd_%s %s\n", name, help, name, kind)
}

func (e *exposition) value(name, labels string, v any) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	fmt.Fprintf(e, "dnsd_%s%s %v\n", name, labels, v)
}

func (e *exposition) single(name, kind, help string, v any) {
	e.family(name, kind, help)
	e.value(name, "", v)
}

// metrics are all of them, of now.
func (d *Daemon) metrics() string {
	e := new(exposition)
	d.queryMetrics(e)
	d.forwardMetrics(e)
	s := d.resolver.Snapshot()
	e.single("generation", "gauge", "Generation of the ledger that is served.", s.Generation)
	e.single("attachments", "gauge", "Attachments whose names are served.", s.Endpoints)
	e.single("listeners", "gauge", "Addresses on which questions are taken.", len(d.sockets.Open()))
	e.single("tcp_connections", "gauge", "TCP connections of clients.", d.sockets.Connections())
	return e.String()
}

func (d *Daemon) queryMetrics(e *exposition) {
	c := d.resolver.Counters()
	e.family("requests_total", "counter", "Requests by transport.")
	e.value("requests_total", `transport="udp"`, c.UDP.Load())
	e.value("requests_total", `transport="tcp"`, c.TCP.Load())
	e.single("dropped_total", "counter", "Messages that were no requests.", c.Dropped.Load())
	e.single("forwarded_total", "counter", "Requests for upstream servers.", c.Forwarded.Load())
	e.family("replies_total", "counter", "Replies made here, by source and response code.")
	for source, name := range map[resolver.Source]string{resolver.Local: "local", resolver.Refused: "refused"} {
		for rcode := range c.Replies[source] {
			if n := c.Replies[source][rcode].Load(); n > 0 {
				e.value("replies_total", fmt.Sprintf("source=%q,rcode=\"%d\"", name, rcode), n)
			}
		}
	}
}

func (d *Daemon) forwardMetrics(e *exposition) {
	c, h, servers := d.forward.Stats()
	e.single("exchanges_total", "counter", "Questions asked of upstream servers.", c.Exchanges)
	e.single("exchanges_shared_total", "counter", "Requests that waited for another one's exchange.", c.Shared)
	e.single("exchanges_refused_total", "counter", "Requests over a limit.", c.Refused)
	e.single("exchanges_retried_total", "counter", "Questions asked of a further server.", c.Retries)
	e.single("exchanges_timed_out_total", "counter", "Questions that nobody answered.", c.TimedOut)
	e.single("exchanges_failed_total", "counter", "Questions that ended with a failure.", c.Failed)
	e.single("in_flight", "gauge", "Requests that wait for upstream servers.", c.InFlight)
	e.family("server_misses", "gauge", "Questions in a row that a server left unanswered.")
	for _, s := range servers {
		e.value("server_misses", fmt.Sprintf("server=%q", s.Server), s.Misses)
	}
	e.family("exchange_seconds", "histogram", "How long upstream servers took.")
	var sum uint64
	for i, n := range h.Counts {
		sum += n
		bound := "+Inf"
		if i < len(forward.Bounds) {
			bound = fmt.Sprint(forward.Bounds[i].Seconds())
		}
		e.value("exchange_seconds_bucket", fmt.Sprintf("le=%q", bound), sum)
	}
	e.value("exchange_seconds_sum", "", h.Sum.Seconds())
	e.value("exchange_seconds_count", "", sum)
}

// serveMetrics serves them over HTTP, if that is wanted, until stop is called.
func (d *Daemon) serveMetrics() (stop func(), err error) {
	if d.cfg.Metrics == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", d.cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Write([]byte(d.metrics())) //nolint:errcheck // the scraper hung up
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("metrics", "err", err)
		}
	}()
	return func() { srv.Close() }, nil //nolint:errcheck // the process ends
}
