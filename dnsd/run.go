package dnsd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/dnsd/watch"
)

// Run answers until the context ends, or there has been nothing to serve for a
// while, or the state directory is gone. It calls ready once everything that
// the ledger knows is served and the control socket answers. If another
// process does all this already, Run returns as soon as that one is ready.
func (d *Daemon) Run(ctx context.Context, ready func()) error {
	claim, err := d.claim(ctx)
	if err != nil {
		return err
	}
	if claim == nil {
		ready()
		return nil
	}
	defer func() {
		if err := claim.gone(); err != nil {
			d.log.Warn("give the lock up", "err", err)
		}
	}()
	// The watch begins before the ledger is read: no change is missed.
	w, err := watch.New(d.cfg.StateDir)
	if err != nil {
		return err
	}
	defer w.Close() //nolint:errcheck // only read
	if _, err := d.Sync(ctx, 0, "", ""); err != nil {
		return err
	}
	// From here on, sockets in containers come from the plugins.
	if d.cfg.Restrict != nil {
		if err := d.cfg.Restrict(); err != nil {
			d.log.Warn("keep all capabilities", "err", err)
		}
	}
	d.setIdle(d.resolver.Snapshot().Endpoints == 0)
	quit := make(chan struct{}, 1)
	c, err := d.listenControl(func() { quit <- struct{}{} })
	if err != nil {
		return err
	}
	if err := claim.ready(); err != nil {
		return err
	}
	ready()
	d.log.Info("ready", "generation", d.resolver.Snapshot().Generation, "attachments", d.resolver.Snapshot().Endpoints)
	lost := make(chan error, 1)
	go func() { lost <- d.mind(ctx, w, c, claim) }()
	err = d.wait(ctx, claim, quit, lost)
	c.close()
	d.sockets.Close()
	return err
}

// claim becomes the resolver of the state directory, or returns nil if another
// process is it and answers.
func (d *Daemon) claim(ctx context.Context) (*claim, error) {
	ctx, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	for {
		c, err := claimDir(d.cfg.StateDir)
		if !errors.Is(err, errRunning) {
			return c, err
		}
		answers, err := awaitOther(ctx, d.cfg.StateDir)
		if err != nil {
			return nil, err
		}
		if answers {
			return nil, nil
		}
	}
}

// wait returns when it is time to end. Then nobody else starts before we are
// gone, so that two never answer at once.
func (d *Daemon) wait(ctx context.Context, claim *claim, quit <-chan struct{}, lost <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return claim.leave()
		case err := <-lost:
			return err
		case <-quit:
		case <-d.idleSince:
		}
		if err := claim.leave(); err != nil {
			return err
		}
		// Somebody may have come in while we waited for the lock.
		if idle, _, err := d.Idle(ctx); err == nil && !idle {
			if err := claim.ready(); err != nil {
				return err
			}
			continue
		}
		d.log.Info("nothing to serve, ending")
		return nil
	}
}

const (
	// ledgerQuiet is how long the ledger has to be left alone until it is
	// looked at without being told to. It is for a change whose author was
	// killed before he could tell.
	ledgerQuiet = 500 * time.Millisecond
	// removalQuiet is how long after a removal our own files are put back: if
	// the whole directory is being removed, that must not be hindered.
	removalQuiet = 100 * time.Millisecond
)

// mind watches the state directory: it puts back what somebody removed, takes
// in changes that nobody told of, and returns when the directory is gone.
func (d *Daemon) mind(ctx context.Context, w *watch.Watcher, c *control, cl *claim) error {
	look := time.AfterFunc(ledgerQuiet, func() {
		if _, err := d.Sync(ctx, 0, "", ""); err != nil {
			d.log.Warn("look at the ledger", "err", err)
		}
	})
	defer look.Stop()
	failed := make(chan error, 1)
	restore := time.AfterFunc(removalQuiet, func() {
		if err := errors.Join(cl.renew(), c.restore()); err != nil {
			failed <- err
			w.Close() //nolint:errcheck // makes Next return
		}
	})
	defer restore.Stop()
	for {
		e, err := w.Next()
		switch {
		case err != nil:
			select {
			case err = <-failed:
			default:
			}
			return err
		case e.Has(watch.DirGone):
			return fmt.Errorf("state directory %s is gone", d.cfg.StateDir)
		case e.Has(watch.Overflow):
			restore.Reset(removalQuiet)
			look.Reset(ledgerQuiet)
		case e.Has(watch.Removed) && (e.Name == filepath.Base(c.path) || e.Name == filepath.Base(cl.path)):
			restore.Reset(removalQuiet)
		case strings.HasPrefix(e.Name, "ledger-") && strings.HasSuffix(e.Name, ".db"):
			look.Reset(ledgerQuiet)
		}
	}
}

// tell writes the line that whoever started us waits for.
func tell(w *os.File, line string) {
	if w == nil {
		return
	}
	io.WriteString(w, line+"\n") //nolint:errcheck // then nobody waits any more
	w.Close()                    //nolint:errcheck // as above
}
