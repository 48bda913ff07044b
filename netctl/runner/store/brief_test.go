package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/sys/user"

	"github.com/netctl/netctl/netctl/runner"
)

// createBrief makes a container that is removed at its end.
func createBrief(t *testing.T, s *Store, name string, userns runner.Userns) *runner.Config {
	t.Helper()
	cfg := &runner.Config{ID: runner.NewID(), Name: name, AutoRemove: true, Userns: userns}
	if err := s.Create(cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// What does not outlive the boot is kept in the directory that doesn't either;
// what may grow is on the disk.
func TestBriefRecordIsInTheStateDirectory(t *testing.T) {
	s := newStore(t)
	brief, kept := createBrief(t, s, "brief", runner.Userns{}), mustCreate(t, s, "kept")
	ids := user.IdentityMapping{UIDMaps: []user.IDMap{{ParentID: 100000, Count: 1}}}
	mapped := createBrief(t, s, "mapped", runner.Userns{IDs: ids}) // its root passes through
	for path, want := range map[string]string{
		s.configPath(brief.ID):    s.RunDir(brief.ID),
		s.SpecPath(brief.ID):      s.RunDir(brief.ID),
		s.File(brief.ID, "hosts"): s.RunDir(brief.ID),
		s.MergedDir(brief.ID):     s.RunDir(brief.ID),
		s.LogPath(brief.ID):       s.Dir(brief.ID),
		s.WorkDir(brief.ID):       s.Dir(brief.ID),
		s.configPath(kept.ID):     s.Dir(kept.ID),
		s.MergedDir(kept.ID):      s.Dir(kept.ID),
		s.MergedDir(mapped.ID):    s.Dir(mapped.ID),
	} {
		if filepath.Dir(path) != want {
			t.Errorf("%s is not in %s", path, want)
		}
	}
	if c, err := s.Load(brief.ID); err != nil || c.Name != "brief" || c.State.Status != runner.StatusCreated {
		t.Errorf("loaded %q, %q, %v", c.Name, c.State.Status, err)
	}
	if list, err := s.List(); err != nil || len(list) != 3 {
		t.Errorf("listed %d, %v", len(list), err)
	}
	if err := s.Remove(brief.ID, "brief"); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{s.Dir(brief.ID), s.RunDir(brief.ID), s.namePath("brief")} {
		if exists(left) {
			t.Errorf("%s is left", left)
		}
	}
}

// A boot takes the record. The name is free at once, and the rest is swept away.
func TestBriefContainerAfterABoot(t *testing.T) {
	s := newStore(t)
	old, kept := createBrief(t, s, "web", runner.Userns{}), mustCreate(t, s, "kept")
	if err := os.RemoveAll(s.state); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(old.ID); err == nil {
		t.Error("it can still be loaded")
	}
	fresh := createBrief(t, s, "web", runner.Userns{})
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if exists(s.Dir(old.ID)) || !exists(s.Dir(fresh.ID)) || !exists(s.Dir(kept.ID)) {
		t.Errorf("there: the old one %v, the new one %v, the kept one %v", exists(s.Dir(old.ID)), exists(s.Dir(fresh.ID)), exists(s.Dir(kept.ID)))
	}
	if id, err := s.Lookup("web"); err != nil || id != fresh.ID {
		t.Errorf("web is %s, %v", id, err)
	}
}

// A removal that was killed after its first step is one that is done, and is swept.
func TestBriefRemovalKilled(t *testing.T) {
	s := newStore(t)
	half := createBrief(t, s, "web", runner.Userns{})
	if err := os.Rename(s.Dir(half.ID), s.Dir(half.ID)+doomed); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(half.ID); err == nil {
		t.Error("it can still be loaded")
	}
	if err := s.Sweep(); err != nil || exists(s.Dir(half.ID)+doomed) || exists(s.RunDir(half.ID)) {
		t.Errorf("left: %v %v, %v", exists(s.Dir(half.ID)+doomed), exists(s.RunDir(half.ID)), err)
	}
}

// Its changes may be deleted ahead of its record.
func TestRemoveWork(t *testing.T) {
	s := newStore(t)
	cfg := createBrief(t, s, "web", runner.Userns{})
	if err := os.MkdirAll(filepath.Join(s.WorkDir(cfg.ID), "upper", "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time is no error
		if err := s.RemoveWork(cfg.ID); err != nil || exists(s.WorkDir(cfg.ID)) {
			t.Errorf("left: %v, %v", exists(s.WorkDir(cfg.ID)), err)
		}
	}
	if c, err := s.Load(cfg.ID); err != nil || c.Name != "web" {
		t.Errorf("loaded %q, %v", c.Name, err)
	}
}
