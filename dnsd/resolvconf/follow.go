package resolvconf

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/netctl/netctl/dnsd/watch"
)

// A Follower knows what a resolv.conf says now.
type Follower struct {
	path    string
	log     *slog.Logger
	current atomic.Pointer[Config]

	mu      sync.Mutex
	watcher *watch.Watcher
	closed  bool
}

// Follow reads a file and follows its changes. A file that does not exist, yet
// or for a while, is an empty one.
func Follow(path string, log *slog.Logger) (*Follower, error) {
	f := &Follower{path: path, log: log}
	dirs, err := f.watch()
	if err != nil {
		return nil, err
	}
	go f.follow(dirs)
	return f, nil
}

// Config is what the file says.
func (f *Follower) Config() *Config { return f.current.Load() }

// Close ends the following.
func (f *Follower) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.watcher.Close() //nolint:errcheck // nobody reads it any more
}

// watch begins to watch the directories in which a change would be one of the
// file, and then reads the file, so that nothing happens unseen in between.
func (f *Follower) watch() (dirs []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fs.ErrClosed
	}
	dirs = f.dirs()
	w, err := watch.New(dirs...)
	if err != nil {
		return nil, err
	}
	if f.watcher != nil {
		f.watcher.Close() //nolint:errcheck // replaced
	}
	f.watcher = w
	return dirs, f.read()
}

// dirs are the file's directory and, if it is a link, that of what it leads
// to: systemd-resolved and NetworkManager keep the real file under /run. As
// long as that does not exist, it is the directory in which it would come up.
func (f *Follower) dirs() []string {
	home := filepath.Dir(f.path)
	dirs := []string{home}
	target, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		if target, err = os.Readlink(f.path); err != nil {
			return dirs
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(home, target)
		}
	}
	dir := filepath.Dir(target)
	for dir != "/" && !isDir(dir) {
		dir = filepath.Dir(dir)
	}
	if dir != home {
		dirs = append(dirs, dir)
	}
	return dirs
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (f *Follower) read() error {
	text, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c := Parse(text)
	if old := f.current.Swap(&c); old != nil && !slices.Equal(old.Servers, c.Servers) {
		f.log.Info("upstream servers changed", "file", f.path, "servers", c.Servers)
	}
	return nil
}

// follow reads the file again after each change, and watches other directories
// if it became a link, or one to somewhere else.
func (f *Follower) follow(dirs []string) {
	for {
		e, err := f.watcher.Next()
		switch {
		case err != nil:
			return
		case !e.Has(watch.Overflow|watch.DirGone) && e.Dir == filepath.Dir(f.path) && e.Name != filepath.Base(f.path):
			continue
		case !e.Has(watch.DirGone) && slices.Equal(dirs, f.dirs()):
			err = f.read()
		default:
			dirs, err = f.watch()
		}
		if err != nil {
			f.log.Warn("follow upstream servers", "file", f.path, "err", err)
		}
	}
}
