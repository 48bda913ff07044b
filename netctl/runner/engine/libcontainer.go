//go:build linux && cgo && seccomp

package engine

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	_ "github.com/opencontainers/cgroups/devices" // device rules; without it they are refused
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/exeseal"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // the C constructor that enters namespaces
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

func init() {
	// "init" alone may be a user's mistake; with the pipe it is libcontainer.
	if len(os.Args) > 1 && os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "" {
		libcontainer.Init() // does not return
	}
	if reaperRequested(os.Args) {
		os.Exit(reap(os.Args[2:]))
	}
}

type container struct{ c *libcontainer.Container }

// Create prepares a container; nothing runs yet.
func (e Engine) Create(id string, spec *specs.Spec) (Container, error) {
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{
		CgroupName:   id,
		Spec:         spec,
		NoNewKeyring: false,
	})
	if err != nil {
		return nil, err
	}
	c, err := libcontainer.Create(e.Root, id, config)
	if err != nil {
		return nil, named(err)
	}
	return container{c}, nil
}

// Load finds a container that was started, by this or another process. The
// error is ErrNotRunning if there is none.
func (e Engine) Load(id string) (Container, error) {
	c, err := libcontainer.Load(e.Root, id)
	if errors.Is(err, libcontainer.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	return container{c}, nil
}

func (c container) Start(p Process) (*Started, error) {
	unlock, err := holdCgroups()
	if err != nil {
		return nil, err
	}
	defer unlock()
	defer unix.Umask(unix.Umask(cgroupUmask))
	return start(c.c.Start, c.c.Config(), p, true)
}

func (c container) Exec(p Process) (*Started, error) {
	started, err := start(c.c.Run, c.c.Config(), p, false)
	if err != nil {
		if status, serr := c.c.Status(); serr == nil && status == libcontainer.Stopped {
			return nil, ErrNotRunning
		}
	}
	return started, err
}

// start runs p by one of libcontainer's two ways.
func start(begin func(*libcontainer.Process) error, config configs.Config, p Process, first bool) (*Started, error) {
	lp, err := process(p)
	if err != nil {
		return nil, err
	}
	lp.Init = first
	if err := ownStreams(lp, p, config); err != nil {
		return nil, err
	}
	s := &Started{}
	if p.Init {
		done, err := s.underReaper(lp)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	if err := s.begin(begin, lp, p.Spec.Terminal); err != nil {
		if s.ready != nil {
			err = errors.Join(err, s.ready.Close())
		}
		return nil, err
	}
	s.wait = func() (int, error) { return wait(lp) }
	s.Pid, err = lp.Pid()
	return s, err
}

// begin starts the process, with a terminal if it wants one.
func (s *Started) begin(begin func(*libcontainer.Process) error, lp *libcontainer.Process, terminal bool) error {
	if !terminal {
		return begin(lp)
	}
	console, err := newConsole(lp)
	if err != nil {
		return err
	}
	defer console.Close()
	if err := begin(lp); err != nil {
		return err
	}
	if s.Terminal, err = console.receive(); err != nil {
		return errors.Join(err, lp.Signal(os.Kill))
	}
	return nil
}

// underReaper has the container's first process be this program, which starts the
// real one. The file is the sealed kind that libcontainer itself is started from:
// read-only, and on a mount that nobody in the container can change, so that the
// host's binary can't be written to through /proc/1/exe (CVE-2019-5736).
//
// The reaper closes its end of a pipe when it is ready for signals: before that
// the kernel drops those that PID 1 does not handle.
func (s *Started) underReaper(lp *libcontainer.Process) (done func(), err error) {
	self, err := exeseal.CloneSelfExe(os.TempDir())
	if err != nil {
		return nil, fmt.Errorf("--init: %w", err)
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--init: %w", err), self.Close())
	}
	s.ready = ready
	lp.ExtraFiles = []*os.File{self, theirs} // become file descriptors 3 and 4
	lp.Args = append([]string{reaperPath, reaperArgument}, lp.Args...)
	return func() { self.Close(); theirs.Close() }, nil
}

func wait(p *libcontainer.Process) (int, error) {
	state, err := p.Wait()
	if state == nil {
		return 0, err
	}
	return exitCode(state), nil
}

func (c container) Release() error {
	config := c.c.Config()
	return explainDeath(c.c.Exec(), config.Cgroups.Resources.PidsLimit)
}

// fewPids: what sets a container up is a program of some ten threads, which
// count.
const fewPids = 16

// explainDeath adds the likely reason to the end of a first process that has
// not come as far as its program.
func explainDeath(err error, pids *int64) error {
	if err == nil || pids == nil || *pids <= 0 || *pids >= fewPids {
		return err
	}
	return fmt.Errorf("%w (--pids-limit %d can be too few for its set-up: want at least %d)", err, *pids, fewPids)
}

func (c container) Pause() error  { return c.c.Pause() }
func (c container) Resume() error { return c.c.Resume() }

func (c container) Signal(sig os.Signal) error {
	err := c.c.Signal(sig)
	if errors.Is(err, libcontainer.ErrNotRunning) || errors.Is(err, os.ErrProcessDone) {
		return ErrNotRunning
	}
	return err
}

func (c container) Pids() ([]int, error) { return c.c.Processes() }

// process converts the OCI form. libcontainer's own conversion is part of the
// runc command, not of the library.
func process(p Process) (*libcontainer.Process, error) {
	s := p.Spec
	lp := &libcontainer.Process{
		Args:            s.Args,
		Env:             s.Env,
		UID:             int(s.User.UID),
		GID:             int(s.User.GID),
		Cwd:             s.Cwd,
		Label:           s.SelinuxLabel,
		AppArmorProfile: s.ApparmorProfile,
		NoNewPrivileges: &s.NoNewPrivileges,
		LogLevel:        strconv.Itoa(int(logrus.WarnLevel)),
		Capabilities:    capabilities(s.Capabilities),
	}
	for _, g := range s.User.AdditionalGids {
		lp.AdditionalGroups = append(lp.AdditionalGroups, int(g))
	}
	if size := s.ConsoleSize; size != nil {
		lp.ConsoleWidth, lp.ConsoleHeight = uint16(size.Width), uint16(size.Height)
	}
	var err error
	if lp.Rlimits, err = rlimits(s.Rlimits); err != nil {
		return nil, err
	}
	if !s.Terminal {
		streams(lp, p)
	}
	return lp, err
}

// ownStreams gives the pipes to the program, which must be able to open
// /dev/stdout again: a pipe belongs to the user that made it.
func ownStreams(lp *libcontainer.Process, p Process, config configs.Config) error {
	uid, err := config.HostUID(lp.UID)
	if err != nil {
		return fmt.Errorf("user %d: %w", lp.UID, err)
	}
	gid, err := config.HostGID(lp.GID)
	if err != nil {
		return fmt.Errorf("group %d: %w", lp.GID, err)
	}
	for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
		if f == nil || p.Spec.Terminal || uid == 0 {
			continue
		}
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if st.Mode()&os.ModeNamedPipe == 0 { // the user's own files stay theirs
			continue
		}
		if err := f.Chown(uid, gid); err != nil {
			return fmt.Errorf("give pipe to user %d: %w", uid, err)
		}
	}
	return nil
}

// streams sets the standard streams. A nil *os.File in an interface is not a nil
// interface.
func streams(lp *libcontainer.Process, p Process) {
	if p.Stdin != nil {
		lp.Stdin = p.Stdin
	}
	if p.Stdout != nil {
		lp.Stdout = p.Stdout
	}
	if p.Stderr != nil {
		lp.Stderr = p.Stderr
	}
}
