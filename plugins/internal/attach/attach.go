// Package attach is the life of an attachment, written once for every mode:
// ADD, DEL, CHECK, GC, STATUS. A mode only says what it needs, as a Wiring; this
// package reserves addresses, ports and names in the ledger, has package kernel
// and package firewall make the Wiring true, tells the resolver, and takes
// everything back if a step fails.
//
// ADD is a transaction: each step pushes how to undo it (see undo.go). DEL and
// GC need nothing but the attachment's name: what there is to undo is in the
// ledger, and the names of host-side objects are computed.
package attach

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/flock"
	"github.com/netctl/netctl/ipam/hostlocal"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// A Mode is what differs between bridge, macvlan, host and the others.
type Mode struct {
	Name string
	// Parse checks the mode's own keys and touches nothing.
	Parse func(*cni.Request) (Conf, error)
	// SharesHost means that the container lives in the host's namespace and
	// nothing is made for it.
	SharesHost bool
	// Chained means that the plugin comes after the one that made the link: it
	// adds to what is there, and its result is the one before.
	Chained bool
	// NoRules means that the mode asks nothing of the packet filter.
	NoRules bool
	// Backup names the file in which the mode keeps the settings of a link
	// that it changes, for DEL to restore; nil if it changes none.
	Backup func(*cni.Request) string
	// Inherited names what the reference plugin of a chained mode's name makes
	// for an attachment: a DEL that finds nothing in the ledger removes it,
	// after a switch from it to us. It may be nil.
	Inherited func(wire.Heir) wire.Inherited
	// Oldest is the first version of the specification that has what the mode
	// needs; "" is the very first.
	Oldest string
}

// Conf is a mode's checked configuration.
type Conf interface {
	// Wire says what the attachment needs, given what IPAM granted. It is
	// pure: the same arguments always give the same Wiring.
	Wire(wire.Attachment, Grant) (wire.Wiring, error)
}

// A Completer is a Conf of which another process decides a part and keeps it
// below the state directory. ADD, CHECK and STATUS need that part; what takes
// things away does without.
type Completer interface {
	// Complete gives the whole, and may fill the request's IPAM in.
	Complete(stateDir string, req *cni.Request) (Conf, error)
}

// A Grower is a Conf whose network may get more addresses while it is used.
type Grower interface {
	// Grow waits until it has more than when the Conf was completed. The error
	// says why it gets none.
	Grow(ctx context.Context, stateDir string) error
}

// A Limiter is a Conf that knows why what ADD makes may not be all that the
// network promises; nil if nothing is wrong.
type Limiter interface{ Limited() error }

// Grant is what IPAM gave.
type Grant struct {
	Addresses []wire.Address
	Routes    []wire.Route
	DNS       types.DNS
	// Fresh means that nobody on this host has had any of the addresses before.
	Fresh bool
}

// Gateway gives the first gateway of an address's family, or the zero Addr.
func (g Grant) Gateway(is4 bool) netip.Addr {
	for _, a := range g.Addresses {
		if a.Gateway.IsValid() && a.Gateway.Is4() == is4 {
			return a.Gateway
		}
	}
	return netip.Addr{}
}

// Has6 tells whether an IPv6 address is among the addresses.
func (g Grant) Has6() bool {
	return slices.ContainsFunc(g.Addresses, func(a wire.Address) bool { return a.Prefix.Addr().Is6() })
}

// ThroughGateways gives each route without a gateway its family's.
func ThroughGateways(routes []wire.Route, g Grant) []wire.Route {
	var result []wire.Route
	for _, r := range routes {
		if !r.Via.IsValid() {
			r.Via = g.Gateway(r.To.Addr().Is4())
		}
		result = append(result, r)
	}
	return result
}

// Resolver is told when the ledger's names have changed. A call has been answered when
// what the ledger says at that generation is what it answers.
type Resolver interface {
	// Announce starts the resolver if need be, and has it listen where the
	// change says. The result are gateways at which it has another port than 53.
	Announce(ctx context.Context, change client.Change) ([]netip.AddrPort, error)
	// Withdraw tells the resolver and does not wait for it: what it returns does, and
	// has to be called.
	Withdraw(ctx context.Context, generation uint64) (forgotten func() error)
	// Check returns an error if the resolver does not serve the network, or
	// the container inside of it.
	Check(ctx context.Context, network, container string) error
	// Dismiss ends the resolver if it has nothing to serve any more.
	Dismiss(ctx context.Context) error
}

// An Attacher carries a mode's attachments out with the given ledger and
// resolver.
type Attacher struct {
	Mode     Mode
	Ledger   *ledger.Ledger
	Resolver Resolver
	Log      *slog.Logger
	Firewall firewall.BackendName
	// boot tells when this boot began; see hostlocal.Boot.
	boot func() (time.Time, error)
}

// Options say where an Attacher keeps its state and what it may use.
type Options struct {
	// StateDir holds the ledger and the resolver's socket; "" is /run/netctl.
	StateDir string
	// Firewall chooses the mechanism; Auto looks at the host.
	Firewall firewall.BackendName
	Log      *slog.Logger
}

// New opens the attacher of a mode on this host.
func New(mode Mode, o Options) (*Attacher, error) {
	if o.StateDir == "" {
		o.StateDir = ledger.DefaultDir
	}
	store, err := ledger.Open(o.StateDir)
	if err != nil {
		return nil, cni.Wrap(cni.CodeStore, err)
	}
	return &Attacher{
		Mode: mode, Ledger: store, Resolver: dnsd{stateDir: o.StateDir},
		Log: o.Log, Firewall: o.Firewall, boot: hostlocal.Boot,
	}, nil
}

// A Chooser is a Conf that names the packet filter to use, or "".
type Chooser interface{ Firewall() string }

// A Publisher is a Conf that says how ports are published.
type Publisher interface {
	Publish([]wire.Publish) []wire.Publish
}

// choose gives the name of the packet filter for a configuration: what the
// configuration says, else what this Attacher was told.
func (a *Attacher) choose(conf Conf) string {
	if c, ok := conf.(Chooser); ok && c.Firewall() != "" {
		return c.Firewall()
	}
	return string(a.Firewall)
}

// decide opens the packet filter for a new attachment. What nobody asks for is
// found out once in a boot and kept, or what a reload has changed to: a program
// that is installed later does not divide the host's attachments.
func (a *Attacher) decide(tx *ledger.Tx, conf Conf) (firewall.Backend, error) {
	name := a.choose(conf)
	if name != "" {
		return a.backend(name)
	}
	backend, err := a.backend(tx.Mechanism())
	if err != nil {
		return nil, err
	}
	return backend, cni.Wrap(cni.CodeStore, tx.SetMechanism(string(backend.Name())))
}

// ofHost is what decide gives for a configuration, before there is an
// attachment.
func (a *Attacher) ofHost(conf Conf) (name string, err error) {
	if name = a.choose(conf); name != "" {
		return name, nil
	}
	err = a.Ledger.View(func(tx *ledger.Tx) error {
		name = tx.Mechanism()
		return nil
	})
	return name, refused(err)
}

// backend opens the packet filter of that name; "" stands for the host's.
func (a *Attacher) backend(name string, options ...firewall.Option) (firewall.Backend, error) {
	b, err := firewall.Open(firewall.BackendName(name), a.Log, options...)
	return b, cni.Wrap(cni.CodeFirewall, err)
}

// lockWait bounds the wait for other processes' ADD and DEL.
const lockWait = 4 * time.Second

// lockBridges is held shared while an attachment is made, and exclusively while
// a network's bridge is deleted. Closing the file gives it back.
func (a *Attacher) lockBridges(how int) (*os.File, error) {
	if err := os.MkdirAll(a.Ledger.Dir(), 0o700); err != nil {
		return nil, cni.Errorf(cni.CodeStore, "lock bridges: %w", err)
	}
	file, err := flock.Open(filepath.Join(a.Ledger.Dir(), "bridge.lock"), how, lockWait)
	return file, refused(err)
}

// attachment names what the request is about; for a chained plugin, its part.
func (a *Attacher) attachment(req *cni.Request) wire.Attachment {
	at := attachmentOf(req)
	if a.Mode.Chained {
		at.Part = a.Mode.Name
	}
	return at
}

func attachmentOf(req *cni.Request) wire.Attachment {
	return wire.Attachment{Network: req.Conf.Name, Container: req.ContainerID, IfName: req.IfName}
}
