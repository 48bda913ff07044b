package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	return Open(filepath.Join(dir, "state"), filepath.Join(dir, "data"))
}

func mustCreate(t *testing.T, s *Store, name string) *runner.Config {
	t.Helper()
	cfg := &runner.Config{ID: runner.NewID(), Name: name, Created: time.Now().Round(0)}
	if err := s.Create(cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestCreateAndLoad(t *testing.T) {
	s := newStore(t)
	cfg := mustCreate(t, s, "web")
	c, err := s.Load(cfg.ID)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "web" || c.State.Status != runner.StatusCreated || !c.Created.Equal(cfg.Created) {
		t.Errorf("got %+v", c)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Config.ID != cfg.ID {
		t.Errorf("list %v, %v", list, err)
	}
}

func TestNothingExistsBeforeTheFirstContainer(t *testing.T) {
	s := newStore(t)
	if list, err := s.List(); err != nil || len(list) > 0 {
		t.Errorf("list %v, %v", list, err)
	}
	var missing *NotFoundError
	if _, err := s.Lookup("web"); !errors.As(err, &missing) {
		t.Errorf("lookup: %v", err)
	}
	if _, err := os.Stat(s.data); !errors.Is(err, os.ErrNotExist) {
		t.Error("looking made a directory")
	}
}

func TestNameIsTakenOnce(t *testing.T) {
	s := newStore(t)
	first := mustCreate(t, s, "web")
	err := s.Create(&runner.Config{ID: runner.NewID(), Name: "web"})
	var taken *NameTakenError
	if !errors.As(err, &taken) || taken.Holder != first.ID {
		t.Fatalf("got %v", err)
	}
	if ids, _ := s.ids(); len(ids) != 1 {
		t.Errorf("the refused container left its directory: %v", ids)
	}
}

// Of many that want a name at once, one gets it and nothing of the others stays.
func TestNameRace(t *testing.T) {
	s := newStore(t)
	const n = 50
	results := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { results[i] = s.Create(&runner.Config{ID: runner.NewID(), Name: "web"}) })
	}
	all.Wait()
	winners := 0
	for _, err := range results {
		var taken *NameTakenError
		switch {
		case err == nil:
			winners++
		case !errors.As(err, &taken):
			t.Error(err)
		}
	}
	if ids, _ := s.ids(); winners != 1 || len(ids) != 1 {
		t.Errorf("%d winners, %d directories", winners, len(ids))
	}
}

// A removal that was killed in the middle leaves a name without a directory.
func TestLeftoverNameCanBeTaken(t *testing.T) {
	s := newStore(t)
	old := mustCreate(t, s, "web")
	if err := os.RemoveAll(s.Dir(old.ID)); err != nil {
		t.Fatal(err)
	}
	fresh := mustCreate(t, s, "web")
	if id, err := s.Lookup("web"); err != nil || id != fresh.ID {
		t.Errorf("web is %s, %v", id, err)
	}
}

// A creation that was killed before it had the name: it is listed, can be found,
// and does not keep the name from anyone.
func TestLostName(t *testing.T) {
	s := newStore(t)
	lost := mustCreate(t, s, "web")
	if err := os.Remove(s.namePath("web")); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Lookup("web"); err != nil || id != lost.ID {
		t.Errorf("web is %s, %v", id, err)
	}
	fresh := mustCreate(t, s, "web")
	if id, err := s.Lookup("web"); err != nil || id != fresh.ID {
		t.Errorf("web is %s, %v", id, err)
	}
	if err := s.Remove(lost.ID, "web"); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Lookup("web"); err != nil || id != fresh.ID {
		t.Errorf("after removing the other, web is %s, %v", id, err)
	}
}

func TestSweep(t *testing.T) {
	s := newStore(t)
	kept := mustCreate(t, s, "web")
	left := runner.NewID()
	half := string(runner.NewID()) + doomed
	for _, dir := range []string{s.Dir(left), filepath.Join(s.containersDir(), half, "deep")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []runner.ID{kept.ID, runner.NewID()} {
		if err := os.MkdirAll(s.RunDir(id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(s.RunDir(kept.ID))); len(entries) != 1 || entries[0].Name() != string(kept.ID) {
		t.Errorf("run directories %v", entries)
	}
	for path, want := range map[string]bool{
		s.Dir(kept.ID): true, s.Dir(left): false, filepath.Join(s.containersDir(), half): false,
	} {
		if exists(path) != want {
			t.Errorf("%s: there %v, want %v", path, exists(path), want)
		}
	}
}

// A directory without a record is not swept away while somebody is making one.
func TestSweepBesideCreate(t *testing.T) {
	s := newStore(t)
	mustCreate(t, s, "web")
	making, err := s.lockContainers(unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	fresh := s.Dir(runner.NewID())
	if err := os.Mkdir(fresh, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(); err != nil || !exists(fresh) {
		t.Errorf("beside a maker: there %v, %v", exists(fresh), err)
	}
	making.Close()
	if err := s.Sweep(); err != nil || exists(fresh) {
		t.Errorf("after its death: there %v, %v", exists(fresh), err)
	}
}

func TestCreateBesideSweep(t *testing.T) {
	s := newStore(t)
	done := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := s.Sweep(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 300 {
		cfg := mustCreate(t, s, "web")
		if _, err := s.Load(cfg.ID); err != nil {
			t.Error(err)
		}
		if err := s.Remove(cfg.ID, "web"); err != nil {
			t.Error(err)
		}
	}
	close(done)
	sweeper.Wait()
}

func TestDroppingDoesNotTakeAnothersName(t *testing.T) {
	s := newStore(t)
	cfg := mustCreate(t, s, "web")
	if err := s.dropName("web", runner.NewID()); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Lookup("web"); err != nil || id != cfg.ID {
		t.Errorf("web is %s, %v", id, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(s.namePath("x"))); len(entries) != 1 {
		t.Errorf("names: %v", entries)
	}
}

func TestLookup(t *testing.T) {
	s := newStore(t)
	a := mustCreate(t, s, "web")
	b := mustCreate(t, s, string(a.ID.Short())) // named like the other's ID
	for ref, want := range map[string]runner.ID{
		"web":                a.ID,
		string(a.ID):         a.ID,
		"/web":               a.ID, // docker's inspect says it so
		string(b.ID):         b.ID,
		string(a.ID[:20]):    a.ID,
		string(a.ID.Short()): b.ID, // an exact name wins
	} {
		if got, err := s.Lookup(ref); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", ref, got, err, want)
		}
	}
	for _, ref := range []string{"", ".", "..", "nope", "../names/web", "/../names/web", "//web", "/", string(a.ID) + "0"} {
		var missing *NotFoundError
		if id, err := s.Lookup(ref); !errors.As(err, &missing) {
			t.Errorf("%q: got %s, %v", ref, id, err)
		}
	}
}

func TestAmbiguousPrefixListsCandidates(t *testing.T) {
	s := newStore(t)
	var ids []runner.ID
	for i := range 2 {
		id := runner.ID(fmt.Sprintf("abc%061d", i))
		ids = append(ids, id)
		if err := s.Create(&runner.Config{ID: id, Name: fmt.Sprintf("c%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Lookup("abc")
	var ambiguous *AmbiguousError
	if !errors.As(err, &ambiguous) || len(ambiguous.IDs) != 2 || !strings.Contains(err.Error(), ids[0].Short()) {
		t.Errorf("got %v", err)
	}
}

// After a power cut the state may be empty. It then reads as a container whose
// process died with the machine.
func TestTornState(t *testing.T) {
	s := newStore(t)
	cfg := mustCreate(t, s, "web")
	if err := os.WriteFile(s.statePath(cfg.ID), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := s.Load(cfg.ID)
	if err != nil || !c.State.Status.Active() || s.Locked(cfg.ID) {
		t.Errorf("got %+v, %v", c.State, err)
	}
}

func TestPausedIsOnlyForTheRunning(t *testing.T) {
	s := newStore(t)
	cfg := mustCreate(t, s, "web")
	lock, err := s.Lock(cfg.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	status := func() runner.Status {
		c, err := s.Load(cfg.ID)
		if err != nil {
			t.Fatal(err)
		}
		return c.State.Status
	}
	for _, step := range []struct {
		do   func() error
		want runner.Status
	}{
		{func() error { return s.SetState(cfg.ID, runner.State{Status: runner.StatusRunning}) }, runner.StatusRunning},
		{func() error { return s.SetPaused(cfg.ID, true) }, runner.StatusPaused},
		{func() error { return s.SetState(cfg.ID, runner.State{Status: runner.StatusExited}) }, runner.StatusExited},
		{func() error { return s.SetPaused(cfg.ID, false) }, runner.StatusExited},
		{func() error { return s.SetPaused(cfg.ID, false) }, runner.StatusExited},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := status(); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
}

func TestLock(t *testing.T) {
	s := newStore(t)
	cfg := mustCreate(t, s, "web")
	if s.Locked(cfg.ID) {
		t.Error("locked before anyone locked it")
	}
	lock, err := s.Lock(cfg.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Locked(cfg.ID) {
		t.Error("not locked")
	}
	if _, err := s.Lock(cfg.ID); !errors.Is(err, ErrBusy) {
		t.Errorf("second lock: %v", err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Wait(short, cfg.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
	woken := make(chan error)
	go func() { woken <- s.Wait(context.Background(), cfg.ID) }()
	lock.Close()
	if err := <-woken; err != nil {
		t.Error(err)
	}
	if s.Locked(cfg.ID) {
		t.Error("still locked")
	}
}

// Someone who wakes up from Wait shares the lock for a moment; that must not
// make a start fail.
func TestLockBesideWaiters(t *testing.T) {
	s := newStore(t)
	cfg := mustCreate(t, s, "web")
	for range 50 {
		lock, err := s.Lock(cfg.ID)
		if err != nil {
			t.Fatal(err)
		}
		var waiters sync.WaitGroup
		for range 4 {
			waiters.Go(func() { _ = s.Wait(context.Background(), cfg.ID) })
		}
		lock.Close()
		again, err := s.Lock(cfg.ID)
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
		waiters.Wait()
	}
}

func TestLockOfARemovedContainer(t *testing.T) {
	s := newStore(t)
	cfg := mustCreate(t, s, "web")
	lock, err := s.Lock(cfg.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(cfg.ID, "web"); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	var missing *NotFoundError
	if _, err := s.Lock(cfg.ID); !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(s.RunDir(cfg.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Error("locking made the directory again")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"id":"x","name":"web"}`), []byte(`{"status":"running"}`))
	f.Add([]byte(``), []byte(`null`))
	s := Open(f.TempDir(), f.TempDir())
	id := runner.NewID()
	if err := os.MkdirAll(s.Dir(id), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, config, state []byte) {
		if err := errors.Join(os.WriteFile(s.configPath(id), config, 0o600), os.WriteFile(s.statePath(id), state, 0o600)); err != nil {
			t.Fatal(err)
		}
		_, _ = s.Load(id) // must not panic
		_, _ = s.List()
	})
}

// On a full disk the state is written over the old one, as far as that has room.
func TestOverwrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	long := runner.State{Status: runner.StatusRunning, Error: strings.Repeat("x", 3000)}
	if err := writeJSON(path, long, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []runner.State{{Status: runner.StatusExited, ExitCode: 3}, long} {
		var got runner.State
		if err := errors.Join(overwriteJSON(path, want), readJSON(path, &got)); err != nil || got.ExitCode != want.ExitCode || got.Error != want.Error {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	longer := runner.State{Error: strings.Repeat("x", 5000)}
	if err := overwriteJSON(path, longer); !NoRoom(err) {
		t.Errorf("more than the file's blocks hold: %v", err)
	}
	var got runner.State
	if err := readJSON(path, &got); err != nil || got.Error != long.Error {
		t.Errorf("what did not fit has spoilt it: %v", err)
	}
}
