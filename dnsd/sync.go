package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/netctl/netctl/dnsd/listen"
	"github.com/netctl/netctl/dnsd/names"
)

// Live is what a Sync made sure of.
type Live struct {
	Generation uint64
	// Ports are the network's gateways at which we have another port than 53.
	Ports []netip.AddrPort
}

// Sync takes in the ledger's changes, at least up to a generation, and returns
// the one that is live. With a network's name it also sees to that network's
// listeners, and with a container's ID to the one inside of that; it
// fails if one of them can't be had. Many calls at once cost little more than
// one: whoever comes second finds the work done.
func (d *Daemon) Sync(ctx context.Context, generation uint64, network, container string) (Live, error) {
	s, err := d.catchUp(ctx, generation)
	if err != nil {
		return Live{}, err
	}
	live := Live{Generation: s.Generation}
	if network == "" {
		return live, nil
	}
	d.cfg.Yield()
	// The device may be another one than at the last sync, under its name.
	listeners := s.ListenersOf(network)
	if container != "" {
		listeners = append(listeners, names.Inside(container))
	}
	d.sockets.Refresh(ctx, listeners)
	var errs []error
	for _, l := range listeners {
		errs = append(errs, d.sockets.Err(l))
		if port := d.sockets.Port(l); port != 0 && port != listen.Port && l.Container == "" {
			live.Ports = append(live.Ports, netip.AddrPortFrom(l.Gateway, port))
		}
	}
	return live, errors.Join(errs...)
}

// catchUp makes a snapshot live that contains the generation; generation 0
// stands for the newest one.
func (d *Daemon) catchUp(ctx context.Context, generation uint64) (*names.Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.resolver.Snapshot()
	if generation != 0 && generation <= d.generation {
		return old, nil
	}
	d.cfg.Yield()
	delta, err := d.source.Changes(d.generation)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if delta.Generation < generation {
		return nil, fmt.Errorf("the ledger is at generation %d, and %d was asked for", delta.Generation, generation)
	}
	if delta.Generation == d.generation && !delta.Full {
		return old, nil
	}
	d.cfg.Yield()
	s := d.table.Apply(delta)
	d.resolver.Publish(s)
	d.generation = delta.Generation
	if s.ListenersSince != old.ListenersSince || delta.Full {
		d.sockets.Ensure(ctx, s.Places())
	}
	d.setIdle(s.Endpoints == 0)
	return s, nil
}

// setIdle starts or stops the time after which we end.
func (d *Daemon) setIdle(idle bool) {
	switch {
	case !idle:
		d.idle.Stop()
	case !d.cfg.Stay:
		d.idle.Reset(d.cfg.Linger)
	}
}

// nothingToDo tells Run that there has been nothing to serve for a while.
func (d *Daemon) nothingToDo() {
	select {
	case d.idleSince <- struct{}{}:
	default:
	}
}

// Idle tells whether the ledger has nothing to serve, and how much otherwise.
func (d *Daemon) Idle(ctx context.Context) (bool, int, error) {
	s, err := d.catchUp(ctx, 0)
	if err != nil {
		return false, 0, err
	}
	return s.Endpoints == 0, s.Endpoints, nil
}
