package netctl

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner/attach"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

type execFlags struct {
	stdin, tty, detach bool
	env, envFiles      []string
	workdir, user      string
	detachKeys         string
}

func (c containers) exec() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:               "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short:             "Run a further program in a running container",
		Args:              args(2, -1),
		ValidArgsFunction: one(c.completion(isRunningNow)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explain(c.execIn(cmd.Context(), f, args[0], args[1:]), args[0])
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.BoolVarP(&f.stdin, "interactive", "i", false, "pass standard input on")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the program a terminal")
	flags.BoolVarP(&f.detach, "detach", "d", false, "run in the background")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "variable, as NAME=VALUE, or NAME to pass on ours")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "file of variables, one a line")
	flags.StringVarP(&f.workdir, "workdir", "w", "", "working directory (default: the container's)")
	flags.StringVarP(&f.user, "user", "u", "", "UID[:GID] or names (default: the container's)")
	flags.StringVar(&f.detachKeys, "detach-keys", "ctrl-p,ctrl-q", "keys that end the session")
	return cmd
}

func (c containers) execIn(ctx context.Context, f execFlags, ref string, command []string) error {
	if f.stdin && f.tty && !f.detach && !isTerminal(c.app.Stdin) {
		return &Error{Status: ExitFailed, Err: errors.New("cannot attach stdin to a terminal because stdin is not one"), Hint: "leave out -t"}
	}
	keys, err := parseDetachKeys(f.detachKeys)
	if err != nil {
		return usageError("--detach-keys: %w", err)
	}
	env, err := environmentOf(f.envFiles, f.env, os.LookupEnv)
	if err != nil {
		return err
	}
	all := c.all()
	rec, err := all.Find(ctx, ref)
	if err != nil {
		return err
	}
	s := execSession{app: c.app, keys: keys, start: func(r lifecycle.ExecRequest) (*engine.Started, error) {
		r.Args, r.Env, r.Dir, r.User, r.TTY = command, env, f.workdir, f.user, f.tty
		if f.tty {
			r.Window = attach.Window(c.app.Stdin)
		}
		p, err := all.Exec(&rec, r)
		return p, execError(err)
	}}
	code := 0
	switch {
	case f.detach:
		_, err = s.start(lifecycle.ExecRequest{})
	case f.tty:
		code, err = s.terminal(f.stdin)
	default:
		code, err = s.pipes(f.stdin)
	}
	if err == nil && code != 0 {
		return statusError(code)
	}
	return err
}

// execError sorts a failure to run the program by status, as run does.
func execError(err error) error {
	if err == nil || errors.Is(err, engine.ErrNotRunning) {
		return err
	}
	status, text := engine.Explain(err)
	if status == engine.StatusOwnFailure {
		status = ExitFailed
	}
	return &Error{Status: status, Err: errors.New(text)}
}

// execSession is one program and our streams. The program never gets our own
// descriptors: with our terminal it could type commands into our shell.
type execSession struct {
	app   *App
	keys  []byte
	start func(lifecycle.ExecRequest) (*engine.Started, error)
}

// pipes runs the program with pipes for its streams.
func (s execSession) pipes(input bool) (int, error) {
	var p pipes
	defer p.close()
	var r lifecycle.ExecRequest
	stdout, stderr := p.toUs(&r.Stdout), p.toUs(&r.Stderr)
	var stdin *os.File
	if input {
		stdin = p.fromUs(&r.Stdin)
	}
	if p.err != nil {
		return 0, p.err
	}
	started, err := s.start(r)
	if err != nil {
		return 0, err
	}
	closeAll(p.theirs)
	if input {
		go func() { _, _ = io.Copy(stdin, s.app.Stdin); _ = stdin.Close() }()
	}
	var copies sync.WaitGroup
	copies.Go(func() { _, _ = io.Copy(s.app.Stdout, stdout) })
	copies.Go(func() { _, _ = io.Copy(s.app.Stderr, stderr) })
	code, err := started.Wait()
	drain(&copies, p.ours)
	return code, err
}

// pipes makes several, and keeps the first error and all ends to be closed.
type pipes struct {
	ours, theirs []*os.File
	err          error
}

// toUs makes a pipe whose writing end goes to theirs.
func (p *pipes) toUs(theirs **os.File) *os.File {
	read, write := p.make()
	*theirs = write
	p.ours, p.theirs = append(p.ours, read), append(p.theirs, write)
	return read
}

// fromUs makes one whose reading end goes to theirs.
func (p *pipes) fromUs(theirs **os.File) *os.File {
	read, write := p.make()
	*theirs = read
	p.ours, p.theirs = append(p.ours, write), append(p.theirs, read)
	return write
}

func (p *pipes) make() (read, write *os.File) {
	if p.err == nil {
		read, write, p.err = os.Pipe()
	}
	return read, write
}

func (p *pipes) close() {
	closeAll(p.ours)
	closeAll(p.theirs)
}

// drainTime is how long we wait for output after the program's end: it may have
// left processes behind that hold the pipes open.
const drainTime = 2 * time.Second

func drain(copies *sync.WaitGroup, files []*os.File) {
	late := time.AfterFunc(drainTime, func() { closeAll(files) })
	defer late.Stop()
	copies.Wait()
}

// terminal runs the program with a terminal of the container's.
func (s execSession) terminal(input bool) (int, error) {
	p, err := s.start(lifecycle.ExecRequest{})
	if err != nil {
		return 0, err
	}
	master := p.Terminal
	defer master.Close()
	detached := make(chan struct{})
	if input {
		term, err := attach.OpenTerminal(s.app.Stdin)
		if err != nil {
			return 0, err
		}
		defer term.Restore()
		defer term.Resizes(func(size attach.Size) { _ = attach.ResizePTY(master, size) })()
		go func() {
			_, err := io.Copy(master, attach.NewDetacher(s.app.Stdin, s.keys))
			if errors.Is(err, attach.ErrDetached) {
				close(detached)
			}
		}()
	}
	var copies sync.WaitGroup
	copies.Go(func() { _, _ = io.Copy(s.app.Stdout, master) }) // ends with EIO
	type result struct {
		code int
		err  error
	}
	ended := make(chan result, 1)
	go func() { code, err := p.Wait(); ended <- result{code, err} }()
	select {
	case r := <-ended:
		drain(&copies, []*os.File{master})
		return r.code, r.err
	case <-detached:
		return 0, nil
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // some are closed already, which is no harm
	}
}
