package netctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/console"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
	"github.com/netctl/netctl/netctl/runner/monitor"
)

const imageHelp = `IMAGE is the name of an image, which is fetched if it isn't here; or 'host', this
machine's own root file system (copy-on-write: the container sees all of it and
changes nothing); or a directory, written as /path, ./path or ../path, which is
not changed either.`

// sessionFlags are about the terminal, not about the container.
type sessionFlags struct {
	detach, signals bool
	detachKeys      string
	streams         []string // --attach of run: those to connect; none: all
}

func (f *sessionFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.signals, "sig-proxy", true, "pass signals to the container")
	flags.StringVar(&f.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "keys that end the session and leave the container running")
}

// catch begins to collect the signals for the container, from before its start on;
// nil without --sig-proxy, or in the background.
func (f *sessionFlags) catch() *attach.Signals {
	if f.detach || !f.signals {
		return nil
	}
	return attach.CatchSignals()
}

// check reads --attach, where an input needs -i, and refuses a terminal in the
// place of which there is something else.
func (f *sessionFlags) check(c *containerFlags, stdin io.Reader) error {
	if c.stdin && c.tty && !f.detach && !isTerminal(stdin) {
		return &Error{Status: ExitFailed, Err: errors.New("cannot attach stdin to a terminal-enabled container because stdin is not a terminal"), Hint: "leave out -t"}
	}
	for i, name := range f.streams {
		f.streams[i] = strings.ToLower(name)
		switch known := []string{"stdin", "stdout", "stderr"}; {
		case !slices.Contains(known, f.streams[i]):
			return usageError("--attach %s: want %s", name, strings.Join(known, ", "))
		case f.detach:
			return usageError("--attach can't be combined with --detach")
		case f.streams[i] == "stdin" && !c.stdin:
			return usageError("--attach stdin needs --interactive")
		}
	}
	return nil
}

// connect gives a session our own streams, or those of them that are wanted.
func (c containers) connect(client *attach.Client, streams []string, stdin bool) {
	wanted := func(name string) bool { return len(streams) == 0 || slices.Contains(streams, name) }
	if stdin && wanted("stdin") {
		client.In = c.app.Stdin
	}
	if wanted("stdout") {
		client.Out = c.app.Stdout
	}
	if wanted("stderr") {
		client.Err = c.app.Stderr
	}
}

func (c containers) run() *cobra.Command {
	var (
		flags   containerFlags
		session sessionFlags
		cidFile string
		dryRun  bool
		explain bool
	)
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Run a program in a new container",
		Long:  "Run a program in a new container.\n\n" + imageHelp,
		Example: `  netctl run -d --name web -p 8080:80 host python3 -m http.server 80
  netctl run --rm -it host sh`,
		Args:              flags.checkArgs,
		ValidArgsFunction: c.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dryRun {
				return asRunFailure(c.preview(cmd.Context(), &flags, args))
			}
			return asRunFailure(c.runNew(cmd.Context(), &flags, session, cidFile, explain, args))
		},
	}
	// Flags end at the first positional: the rest is the container's.
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&session.detach, "detach", "d", false, "run in the background and print the ID")
	cmd.Flags().StringArrayVarP(&session.streams, "attach", "a", nil, "connect stdin, stdout or stderr only; repeatable")
	flags.register(cmd.Flags())
	cmd.Flags().StringVar(&cidFile, "cidfile", "", "write the ID to this file, which must not exist")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the commands that would give the container its networks, and do nothing")
	cmd.Flags().BoolVar(&explain, "explain", false, "print the steps of the start and how long they took")
	session.register(cmd.Flags())
	c.completeRun(cmd)
	return cmd
}

// create makes a container that `start` runs. At the top level the word is a
// network's (spec cli 1.1).
func (c containers) create() *cobra.Command {
	var flags containerFlags
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Make a container without running it",
		Long:              "Make a container without running it.\n\n" + imageHelp,
		Args:              flags.checkArgs,
		ValidArgsFunction: c.completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.make(cmd.Context(), &flags, args, func() creator { return c.all().Create })
			if err != nil {
				return asRunFailure(err)
			}
			_, err = fmt.Fprintln(c.app.Stdout, cfg.ID)
			return err
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().SortFlags = false
	flags.register(cmd.Flags())
	c.completeRun(cmd)
	return cmd
}

// asRunFailure: what goes wrong before the program runs is 125, so that it can
// be told from the program's own statuses.
func asRunFailure(err error) error {
	var own *Error
	var status statusError
	if err == nil || errors.As(err, &own) || errors.As(err, &status) {
		return err
	}
	var start *lifecycle.StartError
	if errors.As(err, &start) {
		return &Error{Status: start.Status, Err: err}
	}
	return &Error{Status: ExitUsage, Err: err}
}

func (c containers) runNew(ctx context.Context, f *containerFlags, session sessionFlags, cidFile string, explain bool, args []string) error {
	steps := explanation{begun: time.Now()}
	keys, err := parseDetachKeys(session.detachKeys)
	if err != nil {
		return usageError("--detach-keys: %w", err)
	}
	if err := session.check(f, c.app.Stdin); err != nil {
		return err
	}
	all := c.all()
	// From the record on there is something to take back, until the session has the
	// signals or the ID is printed.
	ours, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var cfg *runner.Config
	var launch *lifecycle.Launch
	err = steps.step("find the image; execute the monitor; find the networks; write the record", func() (err error) {
		cfg, err = c.make(ours, f, args, func() creator {
			launch = all.Launch()
			return launch.Create
		})
		return err
	})
	if err != nil {
		if launch != nil {
			err = errors.Join(err, launch.Dismiss())
		}
		return err
	}
	signals := session.catch()
	defer signals.Stop()
	var running *lifecycle.Running
	err = steps.step("make the network namespace; order the monitor to start and wait for its report", func() (err error) {
		running, err = c.startNew(ours, all, launch, cfg, cidFile, !session.detach)
		return err
	})
	if err != nil {
		return err
	}
	warnUnconfined(c.app.Stderr, cfg)
	if explain {
		if err := steps.print(c.app.Stderr, running.Steps); err != nil {
			return err
		}
	}
	if session.detach {
		_, err := fmt.Fprintln(c.app.Stdout, cfg.ID)
		return err
	}
	stop()
	// A signal that came too late for the start and is not for the container ends us.
	// (Its cause says of itself that it is Canceled, too.)
	if !session.signals && context.Cause(ours) != context.Canceled { //nolint:errorlint // see above
		return errors.Join(running.Conn.Close(), statusError(128+int(syscall.SIGINT)))
	}
	client := attach.Client{TTY: f.tty && f.stdin, DetachKeys: keys, Signals: signals}
	c.connect(&client, session.streams, f.stdin)
	return c.session(ctx, client, cfg.Name, running.Conn)
}

// warnUnconfined says so where the kernel has AppArmor and our profile, which the
// start would have loaded, is not there: only the monitor's log would know.
func warnUnconfined(w io.Writer, cfg *runner.Config) {
	if cfg.Security.AppArmor != "" {
		return
	}
	if _, problem := monitor.DefaultProfile(); problem != "" {
		fmt.Fprintf(w, "Warning: the container runs without an AppArmor profile: %s\n", problem)
	}
}

// startNew starts a container that was just made, and removes it if that fails
// or ctx ends before it has.
func (c containers) startNew(ctx context.Context, all *lifecycle.Containers, launch *lifecycle.Launch, cfg *runner.Config, cidFile string, attached bool) (*lifecycle.Running, error) {
	err := writeCIDFile(cidFile, cfg.ID)
	var running *lifecycle.Running
	if err == nil {
		running, err = launch.Start(ctx, attached)
	} else {
		err = errors.Join(err, launch.Dismiss())
	}
	if err == nil && ctx.Err() == nil {
		return running, nil
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted; nothing was left behind")
	}
	rec := runner.Container{Config: *cfg}
	return nil, errors.Join(c.withNames(err), all.Remove(context.WithoutCancel(ctx), &rec, true))
}

// session shows the container's output until it ends; its status becomes ours. Who
// hears of the end need not wait for the monitor: all that is the container's has
// been given back.
func (c containers) session(ctx context.Context, client attach.Client, name string, monitor *attach.Conn) error {
	code, err := client.Run(ctx, monitor)
	return sessionEnd(name, code, err)
}

// sessionEnd is what the end of a session is for the command: the container's
// status, or why it ended before the container.
func sessionEnd(name string, code int, err error) error {
	var output *attach.OutputError
	switch {
	case errors.Is(err, attach.ErrDetached):
		return nil
	case errors.Is(err, attach.ErrImpatient), errors.As(err, &output):
		return &Error{
			Status: ExitFailed, Err: fmt.Errorf("container %s runs on: %w", name, err),
			Hint: fmt.Sprintf("'netctl rm -f %s' ends it, 'netctl attach %s' shows it again", name, name),
		}
	case err != nil:
		return err
	case code != 0:
		return statusError(code)
	}
	return nil
}

func writeCIDFile(path string, id runner.ID) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("--cidfile: %w", err)
	}
	_, err = f.WriteString(string(id))
	return errors.Join(err, f.Close())
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := console.ConsoleFromFile(f)
	return err == nil
}

// parseDetachKeys reads docker's notation: letters, and ctrl- before one, with
// commas between. The empty text means that no keys detach.
func parseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		name, control := strings.CutPrefix(key, "ctrl-")
		switch {
		case len(name) != 1:
			return nil, fmt.Errorf("invalid key %q: want a character or ctrl- and one", key)
		case !control:
			keys = append(keys, name[0])
		case strings.Contains(`@[\]^_`, name) || name >= "a" && name <= "z":
			keys = append(keys, strings.ToUpper(name)[0]&0x1f)
		default:
			return nil, fmt.Errorf("invalid key %q", key)
		}
	}
	return keys, nil
}

func (c containers) completeImage(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return append([]string{"host"}, images(c).familiarNames()...), cobra.ShellCompDirectiveDefault
}
