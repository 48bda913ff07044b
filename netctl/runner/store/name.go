package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

// NotFoundError: no container has this name or ID.
type NotFoundError struct{ Ref string }

func (e *NotFoundError) Error() string { return "no such container: " + e.Ref }

// AmbiguousError: several IDs begin so.
type AmbiguousError struct {
	Prefix string
	IDs    []runner.ID
}

func (e *AmbiguousError) Error() string {
	var short []string
	for _, id := range e.IDs {
		short = append(short, id.Short())
	}
	return fmt.Sprintf("container ID prefix %s is ambiguous: %s", e.Prefix, strings.Join(short, ", "))
}

// Lookup finds a container by exact name, exact ID, or unique ID prefix, in
// this order. A slash may come before it: docker's inspect writes names so.
func (s *Store) Lookup(ref string) (runner.ID, error) {
	ref = strings.TrimPrefix(ref, "/")
	// Neither a name nor an ID can leave its directory.
	if ref == "" || ref[0] == '.' || strings.Contains(ref, "/") {
		return "", &NotFoundError{Ref: ref}
	}
	if id, err := s.holder(ref); err == nil && s.hasDir(id) {
		return id, nil
	}
	ids, err := s.ids()
	if err != nil {
		return "", err
	}
	var found []runner.ID
	for _, id := range ids {
		if strings.HasPrefix(string(id), ref) {
			found = append(found, id)
		}
	}
	if len(found) == 0 {
		found = s.withLostName(ids, ref)
	}
	switch len(found) {
	case 0:
		return "", &NotFoundError{Ref: ref}
	case 1:
		return found[0], nil
	}
	return "", &AmbiguousError{Prefix: ref, IDs: found}
}

// withLostName finds containers by the name in their record: of one that was
// killed while it was made or removed, the name itself may be missing.
func (s *Store) withLostName(ids []runner.ID, name string) []runner.ID {
	var found []runner.ID
	for _, id := range ids {
		if c, err := s.Load(id); err == nil && c.Name == name {
			found = append(found, id)
		}
	}
	return found
}

// nameTaken says who has the name, if a container has it.
func (s *Store) nameTaken(name string) error {
	// With a record: a container takes its name last, and a boot may leave the
	// name of one whose record it has taken.
	if holder, err := s.holder(name); err == nil && isThere(s.configPath(holder)) {
		return &NameTakenError{Name: name, Holder: holder}
	}
	return nil
}

// takeName makes name point to id, unless a container has it.
func (s *Store) takeName(name string, id runner.ID) error {
	for {
		err := os.Symlink(string(id), s.namePath(name))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := s.nameTaken(name); err != nil {
			return err
		}
		holder, err := s.holder(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone in between
		}
		// Its container is gone.
		if err := s.dropName(name, holder); err != nil {
			return err
		}
	}
}

// dropName gives a name back if it is still id's. Two processes that drop a
// leftover at once could, in principle, drop a name a third has just taken;
// the name is therefore moved aside and looked at before it is removed.
func (s *Store) dropName(name string, id runner.ID) error {
	aside := s.namePath(".dropped-" + string(runner.NewID()))
	if err := os.Rename(s.namePath(name), aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("release name %s: %w", name, err)
	}
	if target, _ := os.Readlink(aside); target != string(id) {
		// Not ours: put it back, without overwriting.
		if err := os.Link(aside, s.namePath(name)); err != nil {
			return errors.Join(fmt.Errorf("restore name %s: %w", name, err), os.Remove(aside))
		}
	}
	return os.Remove(aside)
}

// holder reads whose name it is.
func (s *Store) holder(name string) (runner.ID, error) {
	target, err := os.Readlink(s.namePath(name))
	if err != nil {
		return "", err
	}
	return runner.ParseID(target)
}

func (s *Store) hasDir(id runner.ID) bool {
	return isThere(s.Dir(id))
}
