package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/go-archive"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/namespace"
	"github.com/netctl/netctl/netctl/runner/rootfs"
	"github.com/netctl/netctl/netctl/runner/store"
)

// CopyOptions are those of `cp`.
type CopyOptions struct {
	FollowLink bool // of the source, where it is a symbolic link
	KeepOwner  bool // the files keep their numbers of user and group
}

// CopyOut archives a path of the container (tar) and hands it to receive, with
// what docker's rules for the destination depend on.
//
// A container's root is hostile ground that may change while it is read. So the
// reading is done by a thread whose / is that root, and no link leads out of it;
// outside there is only the archive.
func (c *Containers) CopyOut(ctx context.Context, rec *runner.Container, path string, o CopyOptions,
	receive func(io.Reader, archive.CopyInfo) error) error {
	return c.inRoot(ctx, rec, func() error {
		if err := rootfs.LeaveOutKernel(filepath.Clean(inside(path)) == "/"); err != nil {
			return err
		}
		info, err := archive.CopyInfoSourcePath(inside(path), o.FollowLink)
		if err != nil {
			return fmt.Errorf("%s in container %s: %w", path, rec.Name, reason(err))
		}
		dir, base := archive.SplitPathDirEntry(info.Path)
		opts := archive.TarResourceRebaseOpts(base, info.RebaseName)
		opts.IDMap = rec.Userns.IDs
		tar, err := archive.NewTarballer(dir, opts)
		if err != nil {
			return err
		}
		received := make(chan error, 1)
		go func() {
			err := receive(tar.Reader(), info)
			_ = tar.Reader().Close()
			received <- err
		}()
		tar.Do()
		return <-received
	})
}

// CopyIn puts an archive at a path of the container. The zero source means that
// the archive is unpacked as it is, in a directory.
func (c *Containers) CopyIn(ctx context.Context, rec *runner.Container, content io.Reader, source archive.CopyInfo, path string, o CopyOptions) error {
	opts, done, err := archive.WithProcSelfFD(&archive.TarOptions{
		NoLchown: !o.KeepOwner, NoOverwriteDirNonDir: true, BestEffortXattrs: true, IDMap: rec.Userns.IDs,
	})
	if err != nil {
		return err
	}
	defer done()
	if rec.Userns.Own() && !o.KeepOwner { // else they would be our root's, whom the container does not know
		uid, gid := rec.Userns.IDs.RootPair()
		opts.NoLchown, opts.ChownOpts = false, &archive.ChownOpts{UID: uid, GID: gid}
	}
	return c.inRoot(ctx, rec, func() error {
		dir := inside(path)
		if source.Path == "" {
			if st, err := os.Stat(dir); err != nil || !st.IsDir() {
				return fmt.Errorf("%s in container %s is not a directory", path, rec.Name)
			}
		} else {
			dest, err := archive.CopyInfoDestinationPath(dir)
			if err != nil {
				return fmt.Errorf("%s in container %s: %w", path, rec.Name, reason(err))
			}
			prepared, ready, err := archive.PrepareArchiveCopy(content, source, dest)
			if err != nil {
				return fmt.Errorf("%s in container %s: %w", path, rec.Name, reason(err))
			}
			defer ready.Close()
			dir, content = prepared, ready
		}
		return archive.Unpack(content, dir, opts)
	})
}

// inside is an absolute path; what ends in a slash or a dot keeps that.
func inside(path string) string {
	return archive.PreserveTrailingDotOrSeparator(filepath.Join("/", path), path)
}

// reason leaves the path out, which the container's would be confusing in.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// inRoot runs f on a thread whose / is the container's root, where no device can be
// opened: that of its processes while it runs, else one mounted for the occasion,
// with its volumes.
func (c *Containers) inRoot(ctx context.Context, rec *runner.Container, f func() error) error {
	lock, err := c.Store.Lock(rec.Config.ID)
	if err == nil {
		defer lock.Close()
		now, err := c.bury(ctx, rec.Config.ID)
		if err != nil {
			return err
		}
		return c.inStopped(&now.Config, f)
	}
	if !errors.Is(err, store.ErrBusy) {
		return err
	}
	if rec.State.Status != runner.StatusRunning && rec.State.Status != runner.StatusPaused {
		return fmt.Errorf("container %s is %s: try again when it runs or has stopped", rec.Name, rec.State.Status)
	}
	mnt, err := os.Open("/proc/" + strconv.Itoa(rec.State.Pid) + "/ns/mnt")
	if err != nil {
		return fmt.Errorf("container %s has just ended: %w", rec.Name, err)
	}
	defer mnt.Close()
	return namespace.InCopy(mnt, f)
}

func (c *Containers) inStopped(cfg *runner.Config, f func() error) error {
	o := rootfs.Overlay{Lower: cfg.Layers, Work: c.Store.WorkDir(cfg.ID), Merged: c.Store.MergedDir(cfg.ID)}
	if cfg.Userns.Own() {
		users, err := namespace.NewUser(cfg.Userns.IDs)
		if err != nil {
			return err
		}
		defer users.Close()
		o = o.SeenBy(users, cfg.Userns.IDs)
	}
	return namespace.InRoot(o.Merged, func() error {
		if _, err := o.Mount(); err != nil {
			return err
		}
		for _, m := range cfg.Mounts {
			if m.Kind != runner.MountVolume {
				continue
			}
			v, err := c.Store.Volume(m.Source)
			if err != nil {
				continue // not used yet
			}
			if err := rootfs.BindBelow(o.Merged, v.Path, m.Target, o.Users); err != nil {
				return err
			}
		}
		return nil
	}, f)
}

// Diff lists what the container has changed in its image.
func (c *Containers) Diff(rec *runner.Container) ([]rootfs.FileChange, error) {
	upper := filepath.Join(c.Store.WorkDir(rec.Config.ID), "upper")
	if rec.State.Status.Active() && rec.State.Pid != 0 {
		// As the monitor sees it, where the upper layer may be a tmpfs.
		monitor, err := parentOf(rec.State.Pid)
		if err != nil {
			return nil, err
		}
		upper = filepath.Join("/proc", strconv.Itoa(monitor), "root", upper)
		if _, err := os.Lstat(upper); err != nil { // else it would pass for one that has changed nothing
			return nil, fmt.Errorf("diff of container %s: %w", rec.Name, err)
		}
	}
	changes, err := rootfs.Diff(upper, rec.Layers)
	if err != nil {
		return nil, fmt.Errorf("diff of container %s: %w", rec.Name, err)
	}
	return withoutMountPoints(&rec.Config, changes), nil
}

// withoutMountPoints leaves out what was made so that something can be mounted
// there, and the directories that were changed by nothing else: that is not the
// container's doing.
func withoutMountPoints(cfg *runner.Config, changes []rootfs.FileChange) []rootfs.FileChange {
	points := []string{"/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"}
	for _, m := range cfg.Mounts {
		points = append(points, m.Target)
	}
	leadsTo := func(ch rootfs.FileChange) bool {
		return slices.ContainsFunc(points, func(p string) bool { return ch.Path == p || strings.HasPrefix(p, ch.Path+"/") })
	}
	var own []rootfs.FileChange
	for _, ch := range changes {
		if ch.Kind != rootfs.Added || !leadsTo(ch) {
			own = append(own, ch)
		}
	}
	var out []rootfs.FileChange
	for _, ch := range own {
		below := func(o rootfs.FileChange) bool { return strings.HasPrefix(o.Path, ch.Path+"/") }
		if ch.Kind == rootfs.Changed && leadsTo(ch) && !slices.ContainsFunc(own, below) {
			continue
		}
		out = append(out, ch)
	}
	return out
}

// parentOf reads the fourth field of /proc/PID/stat, counted from the end of the
// second one, which is a name in parentheses that may hold anything.
func parentOf(pid int) (int, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0, fmt.Errorf("malformed /proc/%d/stat", pid)
	}
	return strconv.Atoi(fields[1])
}
