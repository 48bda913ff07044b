package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/ipam/flock"
)

// DefaultDir is where the ledger lives unless NETCTL_STATE_DIR says otherwise.
const DefaultDir = "/run/netctl"

// lockWait bounds the wait for other processes. A transaction takes well under
// a millisecond, so only a stopped process can make anybody wait this long.
const lockWait = 4 * time.Second

// ErrBusy means that the lock could not be had in time.
var ErrBusy = flock.ErrBusy

// A Ledger is a handle; the file is open only during a transaction. It is safe
// for concurrent use.
type Ledger struct {
	dir   string
	boot  string
	pause func() // between the steps of View
}

// Open returns the ledger of the running boot kept in dir. Nothing is made
// before the first Update, which also removes what earlier boots left.
func Open(dir string) (*Ledger, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return OpenBoot(dir, boot)
}

// bootID reads the kernel's number of this boot, random(4). It has 36 characters.
func bootID() (string, error) {
	const path = "/proc/sys/kernel/random/boot_id"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	text := make([]byte, 64)
	n, err := unix.Read(fd, text)
	if err != nil {
		return "", &os.PathError{Op: "read", Path: path, Err: err}
	}
	return strings.TrimSpace(string(text[:n])), nil
}

// OpenBoot is Open for a given boot ID; tests use it to pass through a reboot.
func OpenBoot(dir, boot string) (*Ledger, error) {
	return &Ledger{dir: dir, boot: boot, pause: func() {}}, nil
}

// WithPauses is the same ledger, whose View calls a function between its steps,
// of some 20 µs each, while it holds the lock: for a program that has more
// urgent things to do on the same processor.
func (l *Ledger) WithPauses(pause func()) *Ledger {
	gentle := *l
	gentle.pause = pause
	return &gentle
}

// Dir is the directory the ledger was opened in.
func (l *Ledger) Dir() string { return l.dir }

func (l *Ledger) path() string { return filepath.Join(l.dir, "ledger-"+l.boot+".db") }

// removeOlder drops the ledgers of earlier boots. Their namespaces are gone.
func (l *Ledger) removeOlder() error {
	files, err := filepath.Glob(filepath.Join(l.dir, "ledger-*.db"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if file == l.path() {
			continue
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Update runs fn in a transaction that is kept if fn returns nil and forgotten
// otherwise. Where fn changed nothing, nothing is written. It returns ErrBusy
// if the lock can't be had in time.
func (l *Ledger) Update(fn func(*Tx) error) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	file, err := l.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer file.Close()
	db, err := l.open()
	if err != nil {
		return fmt.Errorf("open ledger %s: %w", l.path(), err)
	}
	defer db.Close()
	return update(db, fn)
}

func update(db *bbolt.DB, fn func(*Tx) error) error {
	tx, err := begin(db)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	t := &Tx{tx: tx}
	if err := fn(t); err != nil || !t.dirty {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("ledger: write %s: %w", db.Path(), err)
	}
	return nil
}

// View runs fn in a transaction that changes nothing. A ledger that nobody has
// written to is empty, and so is a damaged one: the next Update sets it aside.
func (l *Ledger) View(fn func(*Tx) error) error {
	if _, err := os.Stat(l.path()); errors.Is(err, fs.ErrNotExist) {
		return fn(&Tx{}) // and no lock file is made
	}
	err := l.view(fn)
	if !errors.Is(err, errOld) {
		return err
	}
	if err := l.Update(func(*Tx) error { return nil }); err != nil {
		return err
	}
	return l.view(fn)
}

func (l *Ledger) view(fn func(*Tx) error) error {
	file, err := l.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer file.Close()
	l.pause()
	db, err := l.openFile(true)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errEmpty), errors.Is(err, errDamaged):
		return fn(&Tx{})
	case err != nil:
		return fmt.Errorf("open ledger %s: %w", l.path(), err)
	}
	defer db.Close()
	l.pause()
	err = db.View(func(tx *bbolt.Tx) error {
		if err := readable(tx); err != nil {
			return err
		}
		return fn(&Tx{tx: tx})
	})
	l.pause()
	return err
}

// open opens the file for writing, and makes it if it is new. A file that is
// damaged (cut short by a full disk, say) is set aside: the alternative is that
// no container starts until somebody deletes it by hand (plugins#498).
func (l *Ledger) open() (*bbolt.DB, error) {
	db, err := l.openFile(false)
	if errors.Is(err, errDamaged) {
		if err := os.Rename(l.path(), l.path()+".damaged"); err != nil {
			return nil, fmt.Errorf("set the damaged file aside: %w", err)
		}
		db, err = l.openFile(false)
	}
	return db, err
}

// mapped is how much of the file's place in memory is taken at once, so that a
// ledger that grows need not be mapped anew. It costs nothing before it is used.
const mapped = 1 << 20

func (l *Ledger) openFile(readOnly bool) (*bbolt.DB, error) {
	return bbolt.Open(l.path(), 0o600, &bbolt.Options{
		Timeout:         lockWait,
		NoSync:          true,
		NoGrowSync:      true,
		NoStatistics:    true,
		InitialMmapSize: mapped,
		// Read with each opening, and short: a map would cost more than it saves.
		FreelistType: bbolt.FreelistArrayType,
		ReadOnly:     readOnly,
		OpenFile:     l.openIntact,
	})
}

// openIntact opens the file for the database. A new one is the first of this
// boot.
func (l *Ledger) openIntact(path string, flag int, mode os.FileMode) (*os.File, error) {
	file, err := flock.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	size, err := intact(file)
	if err == nil && size == 0 {
		if flag&os.O_CREATE == 0 {
			err = errEmpty
		} else {
			err = l.removeOlder()
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// lock locks the ledger in the given way until the file is closed.
func (l *Ledger) lock(how int) (*os.File, error) {
	file, err := flock.Open(filepath.Join(l.dir, "ledger.lock"), how, lockWait)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return file, nil
}
