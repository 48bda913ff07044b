package netctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

// stopFlags are how long and how politely to stop.
type stopFlags struct {
	seconds optionalInt
	signal  string
}

// stopSeconds is how long stop waits where neither it nor the container says
// (docker's).
const stopSeconds = 10

func (f *stopFlags) register(flags *pflag.FlagSet) {
	flags.VarP(&f.seconds, "time", "t", "seconds until the container is killed, -1: never; default: the container's, or 10")
	alsoAs(flags, "timeout", "time")
	flags.StringVarP(&f.signal, "signal", "s", "", "signal to send first (default: the container's, or SIGTERM)")
}

// stop stops one container as the flags say.
func (f *stopFlags) stop(cmd *cobra.Command, all *lifecycle.Containers, rec *runner.Container) error {
	text := f.signal
	if text == "" {
		text = rec.StopSignal
	}
	sig := unix.SIGTERM
	if text != "" {
		var err error
		if sig, err = parseSignal(text); err != nil {
			return usageError("%w", err)
		}
	}
	seconds := stopSeconds
	if said := cmp.Or(f.seconds.value, rec.StopTimeout); said != nil {
		seconds = *said
	}
	grace := time.Duration(seconds) * time.Second
	if seconds < 0 {
		grace = 1<<63 - 1
	}
	return all.Stop(cmd.Context(), rec, sig, grace)
}

func (c containers) stop() *cobra.Command {
	var f stopFlags
	var ignore bool
	which := selection{fits: isActive}
	cmd := &cobra.Command{
		Use:               "stop [OPTIONS] CONTAINER...",
		Short:             "Ask containers to end, then kill them",
		Args:              which.args,
		ValidArgsFunction: c.completion(isActive),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := which.refs(cmd.Context(), c, args, false)
			if err != nil {
				return err
			}
			if ignore || which.all { // one may have gone since
				refs = c.present(cmd.Context(), refs)
			}
			return c.together(cmd.Context(), refs, func(all *lifecycle.Containers, rec *runner.Container) error {
				return f.stop(cmd, all, rec)
			})
		},
	}
	f.register(cmd.Flags())
	which.register(cmd.Flags(), "a")
	cmd.Flags().BoolVarP(&ignore, "ignore", "i", false, "no error for what does not exist")
	return cmd
}

func (c containers) restart() *cobra.Command {
	var f stopFlags
	which := selection{fits: isActive}
	cmd := &cobra.Command{
		Use:               "restart [OPTIONS] CONTAINER...",
		Short:             "Stop containers and run them again",
		Args:              which.args,
		ValidArgsFunction: c.completion(anyStatus),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := which.refs(cmd.Context(), c, args, true)
			if err != nil {
				return err
			}
			return c.each(cmd.Context(), refs, func(all *lifecycle.Containers, rec *runner.Container) error {
				if err := all.Keep(cmd.Context(), rec); err != nil {
					return err
				}
				if err := f.stop(cmd, all, rec); err != nil {
					return err
				}
				_, err := all.Start(cmd.Context(), rec.Config.ID, false)
				return err
			})
		},
	}
	f.register(cmd.Flags())
	which.register(cmd.Flags(), "a")
	return cmd
}

func (c containers) kill() *cobra.Command {
	var text string
	which := selection{fits: isActive}
	cmd := &cobra.Command{
		Use:               "kill [OPTIONS] CONTAINER...",
		Short:             "Kill containers, or send them a signal",
		Args:              which.args,
		ValidArgsFunction: c.completion(isActive),
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, err := parseSignal(text)
			if err != nil {
				return usageError("%w", err)
			}
			refs, err := which.refs(cmd.Context(), c, args, false)
			if err != nil {
				return err
			}
			return c.together(cmd.Context(), refs, func(all *lifecycle.Containers, rec *runner.Container) error {
				switch {
				case !rec.State.Status.Active():
					return fmt.Errorf("container %s is not running", rec.Name)
				case sig == unix.SIGKILL:
					return all.Kill(cmd.Context(), rec)
				}
				return all.Signal(rec, sig)
			})
		},
	}
	cmd.Flags().StringVarP(&text, "signal", "s", "KILL", "signal to send")
	which.register(cmd.Flags(), "a")
	return cmd
}

func (c containers) remove() *cobra.Command {
	var force, volumes, ignore bool
	which := selection{fits: anyStatus}
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] CONTAINER...",
		Aliases:           []string{"remove"},
		Short:             "Remove containers",
		Args:              which.args,
		ValidArgsFunction: c.completion(anyStatus),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := which.refs(cmd.Context(), c, args, false)
			if err != nil {
				return err
			}
			if force || ignore || which.all {
				refs = c.present(cmd.Context(), refs)
			}
			return c.removeAll(cmd, refs, force, volumes)
		},
	}
	which.register(cmd.Flags(), "a")
	cmd.Flags().BoolVarP(&ignore, "ignore", "i", false, "no error for what does not exist")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill what is running; no error for what does not exist")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "remove the containers' nameless volumes too")
	return cmd
}

// present are those that exist; what else is wrong with one shows later.
func (c containers) present(ctx context.Context, refs []string) []string {
	all := c.all()
	return slices.DeleteFunc(slices.Clone(refs), func(ref string) bool {
		_, err := all.Find(ctx, ref)
		return isMissing(err)
	})
}

func (c containers) removeAll(cmd *cobra.Command, refs []string, force, volumes bool) error {
	return c.together(cmd.Context(), refs, func(all *lifecycle.Containers, rec *runner.Container) error {
		err := all.Remove(cmd.Context(), rec, force)
		if err == nil && volumes {
			err = all.RemoveVolumes(rec)
		}
		return err
	})
}

func (c containers) wait() *cobra.Command {
	return &cobra.Command{
		Use:               "wait CONTAINER...",
		Short:             "Wait until containers end and print their exit codes",
		Args:              args(1, -1),
		ValidArgsFunction: c.completion(isActive),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := c.all()
			var failures []error
			for _, ref := range args {
				rec, err := all.Find(cmd.Context(), ref)
				code := 0
				if err == nil {
					code, err = all.Wait(cmd.Context(), &rec)
				}
				if err != nil {
					failures = append(failures, c.explain(err, ref))
					continue
				}
				fmt.Fprintln(c.app.Stdout, code)
			}
			return errors.Join(failures...)
		},
	}
}

func (c containers) pause() *cobra.Command {
	return c.simple("pause CONTAINER...", "Freeze containers", isRunningNow, (*lifecycle.Containers).Pause)
}

func (c containers) unpause() *cobra.Command {
	return c.simple("unpause CONTAINER...", "Let frozen containers run on", isPaused, (*lifecycle.Containers).Unpause)
}

// simple is a verb without flags of its own.
func (c containers) simple(use, short string, fits func(runner.Status) bool, do func(*lifecycle.Containers, *runner.Container) error) *cobra.Command {
	which := selection{fits: fits}
	cmd := &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              which.args,
		ValidArgsFunction: c.completion(fits),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := which.refs(cmd.Context(), c, args, false)
			if err != nil {
				return err
			}
			return c.each(cmd.Context(), refs, do)
		},
	}
	which.register(cmd.Flags(), "a")
	return cmd
}
