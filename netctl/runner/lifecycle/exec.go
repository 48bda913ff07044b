package lifecycle

import (
	"fmt"
	"os"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/rootfs"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// ExecRequest is one further program for a running container.
type ExecRequest struct {
	Args []string
	Env  []string
	Dir  string // empty: the container's
	User string // empty: the container's
	TTY  bool
	// Window is the terminal's size to begin with.
	Window runner.Window
	// The program's streams; nil is /dev/null. With TTY none is used.
	Stdin, Stdout, Stderr *os.File
}

// Exec starts a program in a running container, as a child of the caller. No
// monitor is involved, so that nothing here can hurt the container.
func (c *Containers) Exec(rec *runner.Container, r ExecRequest) (*engine.Started, error) {
	if !rec.State.Status.Active() {
		return nil, fmt.Errorf("container %s is not running", rec.Name)
	}
	if rec.State.Status == runner.StatusPaused {
		return nil, fmt.Errorf("container %s is paused", rec.Name)
	}
	box, err := c.engine().Load(string(rec.Config.ID))
	if err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", rec.Name, err)
	}
	p, err := c.execProcess(rec, r)
	if err != nil {
		return nil, err
	}
	return box.Exec(engine.Process{Spec: p, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr})
}

// execProcess starts from the container's own process, so that the new one has
// its capabilities, limits, labels and no_new_privs.
func (c *Containers) execProcess(rec *runner.Container, r ExecRequest) (*specs.Process, error) {
	var s specs.Spec
	if err := c.Store.Spec(rec.Config.ID, &s); err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", rec.Name, err)
	}
	p := s.Process
	p.Args, p.Terminal, p.ConsoleSize = r.Args, r.TTY, spec.ConsoleSize(r.Window)
	if r.Dir != "" {
		p.Cwd = r.Dir
	}
	if r.TTY {
		p.Env = spec.MergeEnv(p.Env, []string{"TERM=xterm"})
	}
	if r.User != "" {
		root := "/proc/" + strconv.Itoa(rec.State.Pid) + "/root"
		u, err := rootfs.LookupUser(root, r.User, rec.Process.Groups)
		if err != nil {
			return nil, err
		}
		p.User = specs.User{UID: u.UID, GID: u.GID, AdditionalGids: u.Groups, Umask: p.User.Umask}
		p.Env = spec.MergeEnv(p.Env, []string{"HOME=" + u.Home})
		p.Capabilities = spec.CapabilitiesFor(p.Capabilities, u.UID)
	}
	p.Env = spec.MergeEnv(p.Env, r.Env)
	return p, nil
}
