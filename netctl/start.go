package netctl

import (
	"context"
	"fmt"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

func (c containers) start() *cobra.Command {
	var attached, interactive, afterBoot bool
	var session sessionFlags
	which := selection{fits: isStartable}
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER...",
		Short: "Run stopped containers again",
		Args: func(cmd *cobra.Command, given []string) error {
			if afterBoot {
				return args(0, 0)(cmd, given)
			}
			return which.args(cmd, given)
		},
		ValidArgsFunction: c.completion(isStartable),
		RunE: func(cmd *cobra.Command, args []string) error {
			if afterBoot {
				return c.startAfterBoot(cmd.Context())
			}
			args, err := which.refs(cmd.Context(), c, args, true)
			if err != nil {
				return err
			}
			if !attached && !interactive {
				ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
				defer stop()
				return c.each(ctx, args, func(all *lifecycle.Containers, rec *runner.Container) error {
					if rec.State.Status.Active() {
						return nil // as in docker
					}
					_, err := all.Start(ctx, rec.Config.ID, false)
					return err
				})
			}
			if len(args) != 1 {
				return usageError("only one container can be attached to")
			}
			return c.explain(c.startAttached(cmd, args[0], interactive, session), args[0])
		},
	}
	cmd.Flags().BoolVarP(&attached, "attach", "a", false, "show the output until the container ends")
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "pass standard input on as well")
	which.register(cmd.Flags(), "") // docker's -a is --attach
	cmd.Flags().BoolVar(&afterBoot, "after-boot", false, "those whose restart policy is always, or unless-stopped and nobody stopped them")
	session.register(cmd.Flags())
	return cmd
}

// startAfterBoot does for the host what a monitor does for one container: it runs
// again what is meant to run. A service calls it once when the host is up
// (deploy/netctl-restart.service). What runs already is left alone.
func (c containers) startAfterBoot(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	all := c.all()
	list, err := all.List(ctx)
	if err != nil {
		return err
	}
	var refs []string
	for _, rec := range slices.Backward(list) { // in the order they were made
		wasStarted := !rec.State.Started.IsZero()
		if wasStarted && !rec.State.Status.Active() && rec.Restart.AfterBoot(rec.State.Stopped) {
			refs = append(refs, rec.Name)
		}
	}
	return c.each(ctx, refs, func(all *lifecycle.Containers, rec *runner.Container) error {
		_, err := all.Start(ctx, rec.Config.ID, false)
		return err
	})
}

func (c containers) startAttached(cmd *cobra.Command, ref string, interactive bool, session sessionFlags) error {
	keys, err := parseDetachKeys(session.detachKeys)
	if err != nil {
		return usageError("--detach-keys: %w", err)
	}
	all := c.all()
	rec, err := all.Find(cmd.Context(), ref)
	if err != nil {
		return err
	}
	if rec.State.Status.Active() {
		return fmt.Errorf("container %s is running already; see 'netctl attach'", rec.Name)
	}
	signals := session.catch()
	defer signals.Stop()
	running, err := all.Start(cmd.Context(), rec.Config.ID, true)
	if err != nil {
		return err
	}
	return c.session(cmd.Context(), c.client(&rec, interactive && rec.Process.OpenStdin, keys, signals), rec.Name, running.Conn)
}

// client is our end of a session with an existing container.
func (c containers) client(rec *runner.Container, input bool, keys []byte, signals *attach.Signals) attach.Client {
	client := attach.Client{Out: c.app.Stdout, Err: c.app.Stderr, DetachKeys: keys, Signals: signals}
	if input {
		client.In = c.app.Stdin
		client.TTY = rec.Process.TTY && isTerminal(c.app.Stdin)
	}
	return client
}

func (c containers) attach() *cobra.Command {
	var noStdin bool
	var session sessionFlags
	cmd := &cobra.Command{
		Use:               "attach [OPTIONS] CONTAINER",
		Short:             "Connect this terminal to a running container",
		Args:              args(1, 1),
		ValidArgsFunction: one(c.completion(isActive)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explain(c.attachTo(cmd, args[0], !noStdin, session), args[0])
		},
	}
	cmd.Flags().BoolVar(&noStdin, "no-stdin", false, "do not pass standard input on")
	session.register(cmd.Flags())
	return cmd
}

func (c containers) attachTo(cmd *cobra.Command, ref string, input bool, session sessionFlags) error {
	keys, err := parseDetachKeys(session.detachKeys)
	if err != nil {
		return usageError("--detach-keys: %w", err)
	}
	all := c.all()
	rec, err := all.Find(cmd.Context(), ref)
	if err != nil {
		return err
	}
	if !rec.State.Status.Active() {
		return fmt.Errorf("container %s is not running", rec.Name)
	}
	conn, err := attach.Dial(all.Store.SocketPath(rec.Config.ID))
	if err != nil {
		return fmt.Errorf("attach to container %s: %w", rec.Name, err)
	}
	code, err := c.client(&rec, input && rec.Process.OpenStdin, keys, session.catch()).Run(cmd.Context(), conn)
	return sessionEnd(rec.Name, code, err)
}
