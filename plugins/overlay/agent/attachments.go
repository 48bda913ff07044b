package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/flock"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/kernel"
	"github.com/netctl/netctl/plugins/overlay/agent/plan"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// attachments are the host's containers in a network.
func (a *Agent) attachments(network string) ([]ledger.Record, error) {
	var records []ledger.Record
	err := a.book.View(func(tx *ledger.Tx) (err error) {
		records, err = tx.Attachments(network)
		return err
	})
	return records, err
}

// plain are the host's containers in a network that publish no port: their
// addresses are theirs on every packet between them and other members.
func (a *Agent) plain(network string) ([]netip.Addr, error) {
	records, err := a.attachments(network)
	if err != nil {
		return nil, err
	}
	type link struct{ container, name string }
	publishes := map[link]bool{}
	for _, r := range records {
		if len(r.Ports) > 0 {
			publishes[link{r.Container, r.IfName}] = true
		}
	}
	var plain []netip.Addr
	for _, r := range records {
		if r.Leaving || publishes[link{r.Container, r.IfName}] {
			continue
		}
		for _, address := range r.Addresses {
			plain = append(plain, address.Prefix.Addr())
		}
	}
	return plain, nil
}

// spare is how much of its pools a host keeps free, as one part in so many:
// another pool is claimed before the last address is given out, since a
// container does not wait for the store.
const spare = 8

// needsPool tells whether the pools of a network, among these claims, have too
// little room left.
func (a *Agent) needsPool(network string, is4 bool, owned []store.Claim) (bool, error) {
	records, err := a.attachments(network)
	if err != nil {
		return false, err
	}
	var size, used int
	for _, c := range owned {
		if c.Network != network || c.Pool.Addr().Is4() != is4 {
			continue
		}
		count := ipam.Count(ipam.First(c.Pool), ipam.Last(c.Pool))
		if !count.IsInt64() || count.Int64() > 1<<30 {
			size = 1 << 30
		} else {
			size += int(count.Int64()) - 1 // the gateway
		}
		for _, r := range records {
			for _, address := range r.Addresses {
				if c.Pool.Contains(address.Prefix.Addr()) {
					used++
				}
			}
		}
	}
	return (size-used)*spare < size || size == 0, nil
}

// watchLedger wakes the loops that depend on the host's containers.
func (a *Agent) watchLedger(ctx context.Context) error {
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch the ledger: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	defer file.Close()
	if _, err := unix.InotifyAddWatch(fd, a.cfg.StateDir, unix.IN_MODIFY|unix.IN_MOVED_TO|unix.IN_DELETE); err != nil {
		return fmt.Errorf("watch the ledger in %s: %w", a.cfg.StateDir, err)
	}
	stop := context.AfterFunc(ctx, func() { file.Close() })
	defer stop()
	buffer := make([]byte, 64<<10)
	var last uint64
	for {
		if _, err := file.Read(buffer); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("watch the ledger: %w", err)
		}
		if !pause(ctx, coalesce) { // a transaction is several writes
			return ctx.Err()
		}
		generation, err := a.book.Generation()
		if err != nil || generation == last {
			continue
		}
		last = generation
		a.names.ring()
		a.mirror.ring()
		a.member.ring()
		fast := false
		a.with(func(s *state) { fast = len(plan.FastNetworks(s.view)) > 0 })
		if fast {
			a.dirty.ring()
		}
	}
}

// lowerMTU lets what runs in a network know at once that less fits through than
// before: bridge, pairs and containers. More is for new containers only.
func (a *Agent) lowerMTU(network string, mtu int) error {
	records, err := a.attachments(network)
	if err != nil {
		return err
	}
	var errs []error
	a.log.Info("MTU lowered", "network", network, "mtu", mtu, "containers", len(records))
	errs = append(errs, a.host.LowerMTU(a.bridgeOf(network), mtu))
	for _, r := range records {
		if r.Part != "" {
			continue
		}
		c, err := kernel.OpenContainer(r.Netns, false)
		if errors.Is(err, kernel.ErrNoNamespace) {
			continue
		}
		if err == nil {
			err = c.LowerMTU(r.IfName, mtu)
			c.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// alone makes sure that this is the only agent of the state directory.
func (a *Agent) alone() (unlock func(), err error) {
	path := handover.Lock(a.cfg.StateDir)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := flock.Open(path, unix.LOCK_EX, time.Second)
	if err != nil {
		return nil, fmt.Errorf("another overlayd works in %s: %w", filepath.Dir(path), err)
	}
	return func() { file.Close() }, nil
}
