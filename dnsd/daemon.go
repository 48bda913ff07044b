package dnsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/netctl/netctl/dnsd/answer"
	"github.com/netctl/netctl/dnsd/forward"
	"github.com/netctl/netctl/dnsd/hostnet"
	"github.com/netctl/netctl/dnsd/listen"
	"github.com/netctl/netctl/dnsd/names"
	"github.com/netctl/netctl/dnsd/resolvconf"
	"github.com/netctl/netctl/dnsd/resolver"
	"github.com/netctl/netctl/ipam/ledger"
)

// Source is where the attachments are known: the ledger.
type Source interface {
	// Changes are what happened after a generation; after generation 0,
	// everything.
	Changes(since uint64) (ledger.Delta, error)
}

// Config is what a resolver is told. The zero value of a field is its default.
type Config struct {
	// StateDir is where the ledger is, and the control socket.
	StateDir string
	// ResolvConf [/etc/resolv.conf] names the upstream servers.
	ResolvConf string
	// Base [netctl.internal] is the domain under which all names are found.
	Base string
	// TTL and NegativeTTL of our own answers, in seconds.
	TTL, NegativeTTL uint32
	// Qualified refuses names of a single label that no container has, where
	// they are otherwise forwarded as any other.
	Qualified bool
	// Linger [10s] is how long to stay with nothing to serve; Stay is forever.
	Linger time.Duration
	Stay   bool
	// Metrics is an address on which to serve /metrics over HTTP, "" for none.
	Metrics string
	Forward forward.Options
	// LogQueries logs one request in so many, 0 none.
	LogQueries uint64
	// Guarded: our parent process is a guard, which ends with us.
	Guarded bool
	// Yield [nothing] is called between the steps of taking a change in, and
	// lets questions go first; see turnTaker.
	Yield func()
	// Restrict [nothing] gives the process's rights up that only the start needs.
	Restrict func() error
	Log      *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	if c.Base == "" {
		c.Base = "netctl.internal"
	}
	if c.Linger == 0 {
		c.Linger = 10 * time.Second
	}
	if c.Yield == nil {
		c.Yield = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// maxTTL is the longest time in seconds that an answer may be kept: an address
// gets a new owner sooner than that on a busy host.
const maxTTL = 600

// A Daemon is a running resolver.
type Daemon struct {
	cfg    Config
	log    *slog.Logger
	source Source

	resolver *resolver.Resolver
	forward  *forward.Forwarder
	upstream *resolvconf.Follower
	host     *hostnet.Monitor
	sockets  *listen.Set
	started  time.Time

	// mu is held while the ledger's changes are taken in.
	mu         sync.Mutex
	table      *names.Table
	generation uint64
	idle       *time.Timer // runs while there is nothing to serve
	idleSince  chan struct{}
}

// New makes a resolver. It answers nothing before Run.
func New(cfg Config, source Source) (*Daemon, error) {
	cfg = cfg.withDefaults()
	base, err := names.Parse(cfg.Base)
	if err != nil || base == "" {
		return nil, fmt.Errorf("base domain %q: %w", cfg.Base, errors.Join(err, names.ErrBadName))
	}
	if cfg.TTL > maxTTL || cfg.NegativeTTL > maxTTL {
		return nil, fmt.Errorf("time to live: %d s is more than %d s", max(cfg.TTL, cfg.NegativeTTL), maxTTL)
	}
	d := &Daemon{cfg: cfg, log: cfg.Log, source: source, table: names.NewTable(base), started: time.Now(), idleSince: make(chan struct{}, 1)}
	if d.upstream, err = resolvconf.Follow(cfg.ResolvConf, d.log); err != nil {
		return nil, fmt.Errorf("follow %s: %w", cfg.ResolvConf, err)
	}
	d.forward = forward.New(cfg.Forward)
	d.resolver = &resolver.Resolver{
		Writer:   answer.Writer{TTL: cfg.TTL, NegativeTTL: cfg.NegativeTTL, Mail: "\x0ahostmaster" + base},
		Upstream: upstream{d.upstream}, Forward: d.forward, Log: d.log, Qualified: cfg.Qualified,
	}
	d.resolver.Publish(d.table.Apply(ledger.Delta{Full: true}))
	d.sockets = listen.NewSet(d.handler(), d.log)
	if d.host, err = hostnet.Watch(d.linkChanged); err != nil {
		return nil, err
	}
	d.resolver.Host = d.host
	d.idle = time.AfterFunc(cfg.Linger, d.nothingToDo)
	d.idle.Stop()
	return d, nil
}

// handler answers requests, and logs some of them if that is wanted.
func (d *Daemon) handler() listen.Handler {
	if d.cfg.LogQueries == 0 {
		return d.resolver
	}
	return &queryLog{next: d.resolver, log: d.log, every: d.cfg.LogQueries}
}

// Close ends everything that New began.
func (d *Daemon) Close() {
	d.idle.Stop()
	d.sockets.Close()
	d.host.Close() //nolint:errcheck // only read
	d.upstream.Close()
	d.forward.Close()
}

// linkChanged sees to the listeners on a device that came or went; "" may be
// any device.
func (d *Daemon) linkChanged(device string) {
	list := d.sockets.On(device)
	if device == "" { // in containers, no device matters
		list = slices.DeleteFunc(d.resolver.Snapshot().Listeners(), func(l names.Listener) bool { return l.Container != "" })
	}
	if len(list) > 0 {
		d.sockets.Refresh(context.Background(), list)
	}
}

// upstream is the host's resolv.conf to the resolver.
type upstream struct{ *resolvconf.Follower }

func (u upstream) Servers() []netip.Addr { return u.Config().Servers }

// ServesLocal: a host that searches a domain under "local" has servers for it.
func (u upstream) ServesLocal(name []byte) bool {
	for _, domain := range u.Config().Search {
		if n, err := names.Parse(domain); err == nil && names.Under(name, n) {
			return true
		}
	}
	return false
}
