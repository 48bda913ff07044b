package netctl

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/monitor"
	"github.com/netctl/netctl/netctl/runner/store"
)

// containers are the verbs of `netctl container`, most of which have a second
// place at the top level, hence a constructor for each.
type containers struct{ app *App }

// containerCommands are the container verbs for the root: those that docker
// has at the top level, and the group with all of them.
func containerCommands(app *App) []*cobra.Command {
	c := containers{app}
	top := []*cobra.Command{
		c.run(), c.list("ps"), c.logs(), c.exec(), c.attach(), c.start(), c.stop(), c.restart(), c.kill(),
		c.remove(), c.wait(), c.port(), c.top(), c.stats(), c.pause(), c.unpause(), c.rename(), c.copy(), c.diff(), c.inspectAny(), c.healthcheck(),
	}
	group := newGroup("container", "Run and look after containers",
		c.run(), c.create(), c.list("ls", "ps", "list"), c.logs(), c.exec(), c.attach(), c.start(), c.stop(), c.restart(),
		c.kill(), c.remove(), c.wait(), c.port(), c.top(), c.stats(), c.pause(), c.unpause(), c.rename(), c.copy(), c.diff(), c.inspect(), c.prune(), c.exists())
	all := append(top, group)
	for _, cmd := range all {
		cmd.GroupID = groupContainers
	}
	return all
}

// all opens the containers of the app's directories.
func (c containers) all() *lifecycle.Containers {
	return &lifecycle.Containers{
		Store:    store.Open(c.app.StateDir, c.app.DataDir),
		Networks: c.app.networks(),
		Monitor:  monitor.Executable{Path: besideUs(monitor.Program), Env: c.app.Environ()},
		Log:      c.app.Log,
	}
}

// each does something to every named container, one after the other, goes on
// after a failure, and prints the name of each that went well.
func (c containers) each(ctx context.Context, refs []string, do func(*lifecycle.Containers, *runner.Container) error) error {
	all := c.all()
	return c.tell(refs, func(i int) error { return c.doTo(ctx, all, refs[i], do) })
}

// atOnce is how many containers together works on at a time.
const atOnce = 16

// together is each for verbs that wait for programs to end: the waits pass side
// by side. What it says stays in the order of refs. It is not for `start` and
// `restart`, where one container may need the network of the one before it.
func (c containers) together(ctx context.Context, refs []string, do func(*lifecycle.Containers, *runner.Container) error) error {
	all := c.all()
	turns := make(chan struct{}, atOnce)
	results := make([]chan error, len(refs))
	for i, ref := range refs {
		results[i] = make(chan error, 1)
		go func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			results[i] <- c.doTo(ctx, all, ref, do)
		}()
	}
	return c.tell(refs, func(i int) error { return <-results[i] })
}

func (c containers) doTo(ctx context.Context, all *lifecycle.Containers, ref string, do func(*lifecycle.Containers, *runner.Container) error) error {
	rec, err := all.Find(ctx, ref)
	if err == nil {
		err = do(all, &rec)
	}
	return c.explain(err, ref)
}

// tell prints the names of those that went well and gathers the other's failures.
func (c containers) tell(refs []string, outcome func(i int) error) error {
	var failures []error
	for i, ref := range refs {
		if err := outcome(i); err != nil {
			failures = append(failures, err)
			continue
		}
		fmt.Fprintln(c.app.Stdout, ref)
	}
	return errors.Join(failures...)
}

// explain gives an error of the runner its status and hint.
func (c containers) explain(err error, ref string) error {
	var (
		own     *Error
		missing *store.NotFoundError
		start   *lifecycle.StartError
	)
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.As(err, &missing):
		return &Error{Status: ExitFailed, Err: err, Hint: c.missingHint(ref)}
	case errors.As(err, &start):
		return &Error{Status: start.Status, Err: c.withNames(err)}
	case errors.Is(err, lifecycle.ErrRunning):
		return &Error{
			Status: ExitFailed,
			Err:    fmt.Errorf("cannot remove container %s: it is running", ref),
			Hint:   "stop it first, or use 'rm -f'",
		}
	case errors.Is(err, engine.ErrNotRunning):
		return &Error{Status: ExitFailed, Err: fmt.Errorf("container %s is not running", ref)}
	}
	return err
}

// withNames puts names in the place of the IDs of our containers: plugins know
// who holds a port or an address by ID alone.
func (c containers) withNames(err error) error {
	if err == nil {
		return nil
	}
	text := wholeID.ReplaceAllStringFunc(err.Error(), func(id string) string {
		if rec, loadErr := c.all().Store.Load(runner.ID(id)); loadErr == nil {
			return rec.Name
		}
		return id
	})
	return &worded{err, text}
}

var wholeID = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// worded is an error in other words.
type worded struct {
	err  error
	text string
}

func (w *worded) Error() string { return w.text }
func (w *worded) Unwrap() error { return w.err }

// missingHint helps who meant a network.
func (c containers) missingHint(ref string) string {
	if _, err := (networkCommands(c)).store().Find(ref); err == nil {
		return fmt.Sprintf("there is a network of this name: 'netctl network rm %s', 'netctl network inspect %s'", ref, ref)
	}
	return "'netctl ps -a' lists all containers"
}

// completion proposes containers by name, those for which fits holds.
func (c containers) completion(fits func(runner.Status) bool) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		list, _ := store.Open(c.app.StateDir, c.app.DataDir).List()
		var proposals []string
		for _, rec := range list {
			if fits(rec.State.Status) {
				proposals = append(proposals, cobra.CompletionWithDesc(rec.Name, rec.Image))
			}
		}
		return proposals, cobra.ShellCompDirectiveNoFileComp
	}
}

func anyStatus(runner.Status) bool      { return true }
func isActive(s runner.Status) bool     { return s.Active() }
func isStartable(s runner.Status) bool  { return !s.Active() }
func isPaused(s runner.Status) bool     { return s == runner.StatusPaused }
func isRunningNow(s runner.Status) bool { return s == runner.StatusRunning }

// one completes only the first argument.
func one(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, given, typed)
	}
}
