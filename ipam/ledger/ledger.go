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
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return OpenBoot(dir, strings.TrimSpace(string(boot)))
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
	return l.locked(unix.LOCK_EX, func() error {
		db, err := l.open()
		if err != nil {
			return fmt.Errorf("open ledger %s: %w", l.path(), err)
		}
		defer db.Close()
		return update(db, fn)
	})
}

func update(db *bbolt.DB, fn func(*Tx) error) error {
	tx, err := db.Begin(true)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
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
// written to is empty.
func (l *Ledger) View(fn func(*Tx) error) error {
	if size, err := l.size(); errors.Is(err, fs.ErrNotExist) || size == 0 {
		return fn(&Tx{})
	}
	return l.locked(unix.LOCK_SH, func() error {
		if !intact(l.path()) {
			return fn(&Tx{}) // the next Update sets the file aside
		}
		l.pause()
		db, err := l.openFile(true)
		if err != nil {
			return fmt.Errorf("open ledger %s: %w", l.path(), err)
		}
		defer db.Close()
		l.pause()
		err = db.View(func(tx *bbolt.Tx) error { return fn(&Tx{tx: tx}) })
		l.pause()
		return err
	})
}

func (l *Ledger) size() (int64, error) {
	info, err := os.Stat(l.path())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// open opens the file for writing, and makes it if it is new. A file that is
// damaged (cut short by a full disk, say) is set aside: the alternative is that
// no container starts until somebody deletes it by hand (plugins#498).
func (l *Ledger) open() (*bbolt.DB, error) {
	size, err := l.size()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := l.removeOlder(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case size > 0 && !intact(l.path()):
		if err := os.Rename(l.path(), l.path()+".damaged"); err != nil {
			return nil, fmt.Errorf("set the damaged file aside: %w", err)
		}
	}
	db, err := l.openFile(false)
	if err != nil {
		return nil, err
	}
	if err := makeBuckets(db); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

func (l *Ledger) openFile(readOnly bool) (*bbolt.DB, error) {
	return bbolt.Open(l.path(), 0o600, &bbolt.Options{
		Timeout:      lockWait,
		NoSync:       true,
		NoGrowSync:   true,
		FreelistType: bbolt.FreelistMapType,
		ReadOnly:     readOnly,
		OpenFile:     flock.OpenFile,
	})
}

func makeBuckets(db *bbolt.DB) error {
	missing := true
	err := db.View(func(tx *bbolt.Tx) error {
		missing = tx.Bucket(bucketMeta) == nil || tx.Bucket(bucketRemotes) == nil
		return nil
	})
	if err != nil || !missing {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// locked runs fn while holding the lock file in the given way.
func (l *Ledger) locked(how int, fn func() error) error {
	file, err := flock.Open(filepath.Join(l.dir, "ledger.lock"), how, lockWait)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer file.Close()
	return fn()
}
