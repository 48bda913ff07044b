package attach

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Add makes the attachment that the request asks for, or leaves nothing.
func (a *Attacher) Add(ctx context.Context, req *cni.Request) (*current.Result, error) {
	p, err := a.parse(req)
	if err != nil {
		return nil, err
	}
	if a.Mode.Chained {
		if previous, err := p.idle(); previous != nil || err != nil {
			return previous, err
		}
	}
	container, err := openContainer(a.Mode, req)
	if err != nil {
		return nil, err
	}
	defer container.Close()
	if err := a.admit(ctx, p, container); err != nil {
		return nil, err
	}
	host, err := kernel.OpenHost() // the undoing needs it too
	if err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	defer host.Close()
	result, err := a.attempt(ctx, p, host, container)
	if !errors.Is(err, errUnfinished) {
		return result, err
	}
	if err := a.clearAway(ctx, req); err != nil {
		return nil, err
	}
	if p, err = a.parse(req); err != nil {
		return nil, err
	}
	return a.attempt(ctx, p, host, container)
}

// attempt is add, undone if it fails.
func (a *Attacher) attempt(ctx context.Context, p *plan, host *kernel.Host, container *kernel.Container) (*current.Result, error) {
	var u undo
	result, err := a.add(ctx, p, host, container, &u)
	if err != nil {
		return nil, u.unwind(ctx, err)
	}
	return result, nil
}

// openContainer opens the namespace, and refuses the wrong one before anything
// has been touched.
func openContainer(mode Mode, req *cni.Request) (*kernel.Container, error) {
	container, err := kernel.OpenContainer(req.Netns, mode.SharesHost || req.AllowOwnNetns)
	switch {
	case errors.Is(err, kernel.ErrOwnNamespace):
		return nil, cni.Errorf(cni.CodeOwnNetns, "CNI_NETNS %s: %w", req.Netns, kernel.ErrOwnNamespace).
			WithHint("the container needs a network namespace of its own, or network mode host")
	case errors.Is(err, kernel.ErrNoNamespace):
		return nil, cni.Errorf(cni.CodeNoContainer, "CNI_NETNS %w", err)
	case err != nil:
		return nil, cni.Wrap(cni.CodeNoContainer, err)
	}
	if mode.SharesHost && !container.IsOwn() {
		container.Close()
		return nil, cni.Errorf(cni.CodeConfig, "CNI_NETNS %s is a private network namespace, and mode %s makes no network: it shares the host's", req.Netns, mode.Name).
			WithHint("start the container in the host's namespace, or choose another network")
	}
	return container, nil
}

// admit refuses what can be known to fail, and clears away what an earlier ADD
// of the same name left when it was killed.
func (a *Attacher) admit(ctx context.Context, p *plan, container *kernel.Container) error {
	if !a.Mode.SharesHost && !a.Mode.Chained {
		exists, err := container.HasLink(p.req.IfName)
		if err != nil {
			return cni.Wrap(cni.CodeKernel, err)
		}
		if exists && p.req.IfName != "lo" {
			return cni.Errorf(cni.CodeExists, "interface %s exists already in %s", p.req.IfName, p.req.Netns).
				WithHint("DEL the earlier attachment first, or choose another CNI_IFNAME")
		}
	}
	if p.reservesElsewhere() {
		stale, err := a.lookUp(p.at)
		if err != nil {
			return err
		}
		if stale != nil {
			if err := a.clearAway(ctx, p.req); err != nil {
				return err
			}
		}
	}
	return a.testBind(p.ports)
}

// errUnfinished means that the ledger has the attachment already: a killed ADD has
// left it, because one that has ended left an interface too.
var errUnfinished = errors.New("an unfinished attachment is in the ledger")

// clearAway takes back what an ADD of the same name left when it was killed.
func (a *Attacher) clearAway(ctx context.Context, req *cni.Request) error {
	if err := a.Del(ctx, req); err != nil {
		return fmt.Errorf("clear away an unfinished attachment: %w", err)
	}
	return nil
}

// reservesElsewhere tells whether a reservation has effects outside of the
// ledger's transaction. Then what is stale must be found before it, and not in
// it, which takes a look into the ledger more.
func (p *plan) reservesElsewhere() bool {
	switch p.source.(type) {
	case ledgerPool, fixed:
		return false
	}
	return true
}

// add is the transaction. What it did before it failed is in u.
func (a *Attacher) add(ctx context.Context, p *plan, host *kernel.Host, container *kernel.Container, u *undo) (*current.Result, error) {
	if err := p.findGuests(host); err != nil {
		return nil, err
	}
	if err := a.openInside(p, container); err != nil {
		return nil, err
	}
	defer p.inside.Close()
	err := a.reserve(ctx, p, u)
	if isExhausted(err) && a.reclaim(ctx, p) {
		err = a.reserve(ctx, p, u)
	}
	if isExhausted(err) {
		err = a.reserveGrown(ctx, p, u, err)
	}
	if err != nil {
		return nil, err
	}
	bridges, err := a.lockBridges(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer bridges.Close()
	err = a.realize(p, host, container, u)
	if errors.Is(err, kernel.ErrBridgeFull) {
		return nil, cni.Errorf(cni.CodeKernel, "%w", err).WithHint(hintFull)
	}
	if err != nil {
		return nil, cni.Wrap(cni.CodeKernel, err)
	}
	if err := a.checkGateways(p, host); err != nil {
		return nil, err
	}
	if err := p.leadInside(container, u); err != nil {
		return nil, err
	}
	// The rules come last: the resolver says which port they lead to.
	if err := a.publishNames(ctx, p, u); err != nil {
		return nil, err
	}
	if err := a.applyRules(ctx, p, host, u); err != nil {
		return nil, err
	}
	return a.result(p, host, container)
}

const hintFull = "remove a container or another port of the bridge; with a port to spare the next containers share one"

// realize has the kernel do its part of a Wiring.
func (a *Attacher) realize(p *plan, host *kernel.Host, container *kernel.Container, u *undo) error {
	w := p.wiring
	if w.Shared.Bridge != nil {
		if err := host.EnsureBridge(*w.Shared.Bridge); err != nil {
			return err
		}
	}
	if g := w.Shared.VLANGateway; g != nil {
		if err := host.EnsureVLANGateway(*g); err != nil {
			return err
		}
	}
	if err := p.prepareHost(host); err != nil {
		return err
	}
	if w.Owned.Link != nil {
		if err := a.createLink(p, host, container, u); err != nil {
			return err
		}
	}
	if err := join(host, w.Owned, u); err != nil {
		return err
	}
	var err error
	if p.inner, err = container.Configure(w.Owned, p.made); err != nil {
		return err
	}
	if err := host.Connect(container, p.made, p.inner, w.Owned); err != nil {
		return err
	}
	return adjust(host, container, w.Owned, u)
}

// createLink makes the attachment's own link.
func (a *Attacher) createLink(p *plan, host *kernel.Host, container *kernel.Container, u *undo) error {
	var err error
	p.made, err = host.CreateLink(container, p.wiring.Owned.Link)
	if errors.Is(err, kernel.ErrBridgeFull) {
		p.made, err = a.createBehind(p, host, container, u)
	}
	if errors.Is(err, kernel.ErrLinkExists) {
		return cni.Wrap(cni.CodeExists, err) // somebody else's: it stays
	}
	// A request that failed half-way may have made the link, and deleting
	// what is absent is no error.
	u.push("link", func(context.Context) error { return deleteMade(host, container, p.wiring) })
	return err
}

// deleteMade takes the link away that CreateLink made.
func deleteMade(host *kernel.Host, container *kernel.Container, w wire.Wiring) error {
	if veth, ok := w.Owned.Link.(wire.Veth); ok {
		return host.DeleteLink(veth.Host)
	}
	return container.DeleteLink(w.Owned.Link.ContainerName())
}

func (p *plan) rules() firewall.Rules {
	return firewall.Rules{
		Attachment: p.wiring.Attachment,
		Network:    p.wiring.Shared.Network,
		Publish:    p.wiring.Owned.Publish,
	}
}

func (a *Attacher) applyRules(ctx context.Context, p *plan, host *kernel.Host, u *undo) error {
	if p.record.Firewall == "" {
		return nil
	}
	backend, err := a.backend(p.record.Firewall)
	if err != nil {
		return err
	}
	u.push("rules", func(ctx context.Context) error { return a.removeRules(ctx, p.wiring.Attachment, &p.record) })
	return rulesError(backend.Apply(ctx, p.rules()))
}

// prepareHost sets what the Wiring, and the rules that will follow, need of the
// host to have an effect.
func (p *plan) prepareHost(host *kernel.Host) error {
	sysctls := slices.Clone(p.wiring.Shared.Sysctls)
	var routes []firewall.LocalRoute
	if p.record.Firewall != "" {
		rules := p.rules()
		for _, s := range firewall.Sysctls(rules) {
			if !slices.Contains(sysctls, s) {
				sysctls = append(sysctls, s)
			}
		}
		routes = firewall.LocalRoutes(rules)
	}
	if err := host.SetSysctls(sysctls); err != nil {
		return err
	}
	for _, r := range routes {
		if err := host.EnsureLocalRoute(r.Prefix, r.Device, r.Metric); err != nil {
			return err
		}
	}
	return nil
}

// publishNames returns when every query sent from now on gets the new names.
func (a *Attacher) publishNames(ctx context.Context, p *plan, u *undo) error {
	if p.record.Names.IsZero() {
		return nil
	}
	u.push("names", func(ctx context.Context) error {
		forgotten, err := a.withdraw(ctx, p.record)
		if err == nil {
			forgotten()
		}
		return err
	})
	change := client.Change{Generation: p.generation, Network: p.record.Network}
	if p.record.Names.Inside != 0 {
		change.Container = p.record.Container
	}
	if p.inside.UDP != nil {
		change.Sockets = p.inside.Files()
	}
	redirects, err := a.Resolver.Announce(ctx, change)
	if err != nil {
		return cni.Errorf(cni.CodeNames, "publish names of network %s: %w", p.record.Network, err)
	}
	return a.redirect(p, redirects)
}

// redirect notes that the resolver has other ports than 53: for DEL, CHECK and
// reload, and for the resolver itself, which has to go back there after a
// restart.
func (a *Attacher) redirect(p *plan, redirects []netip.AddrPort) error {
	if slices.Equal(p.record.Redirects, redirects) {
		return nil
	}
	a.Log.Warn("port 53 of the gateway is another server's; the resolver has its own, and rules lead there", "network", p.record.Network, "resolver", redirects)
	p.record.Redirects = redirects
	if err := p.wire(); err != nil {
		return err
	}
	return refused(a.Ledger.Update(func(tx *ledger.Tx) error { return tx.Put(p.record) }))
}
