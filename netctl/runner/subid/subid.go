// Package subid finds ids of the host that nobody uses, for user namespaces:
// those that /etc/subuid and /etc/subgid (subuid(5)) set aside for containers,
// less those that other containers have.
package subid

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/moby/sys/user"
)

// Files are the two files; the zero value is the system's.
type Files struct{ UIDs, GIDs string }

// owners are the names that ids are looked up by: our own, and podman's, who
// shares with us what is set aside for containers.
func owners() []string { return []string{"netctl", "containers"} }

// Pick finds size ids of each kind that none of taken has. It is the caller's
// part that no other does the same at the same time.
func (f Files) Pick(size int64, taken []user.IdentityMapping) (user.IdentityMapping, error) {
	var uids, gids []user.IDMap
	for _, t := range taken {
		uids, gids = append(uids, t.UIDMaps...), append(gids, t.GIDMaps...)
	}
	var ids user.IdentityMapping
	var err error
	if ids.UIDMaps, err = pick(or(f.UIDs, "/etc/subuid"), size, uids); err != nil {
		return ids, err
	}
	ids.GIDMaps, err = pick(or(f.GIDs, "/etc/subgid"), size, gids)
	return ids, err
}

func or(path, system string) string {
	if path == "" {
		return system
	}
	return path
}

// NoRangeError: the file sets nothing aside for us.
type NoRangeError struct{ File string }

func (e *NoRangeError) Error() string {
	return fmt.Sprintf("%s sets no ids aside for netctl (nor for containers)", e.File)
}

// Hint is what to do about it. The ids are above those that useradd(8) gives to
// users; 256 containers find room there.
func (e *NoRangeError) Hint() string {
	return "echo netctl:2147483648:16777216 | tee -a /etc/subuid /etc/subgid"
}

// FullError: what is set aside is in use.
type FullError struct {
	File       string
	Size       int64
	Containers int // that have some of it
}

func (e *FullError) Error() string {
	return fmt.Sprintf("no %d ids in a row left of those that %s sets aside (%d containers have some)", e.Size, e.File, e.Containers)
}

// Hint is what to do about it.
func (e *FullError) Hint() string {
	return "set more aside, take fewer (--userns auto:size=N), or remove containers"
}

func pick(file string, size int64, taken []user.IDMap) ([]user.IDMap, error) {
	ranges, err := aside(file)
	if err != nil {
		return nil, err
	}
	if len(ranges) == 0 {
		return nil, &NoRangeError{file}
	}
	slices.SortFunc(taken, func(a, b user.IDMap) int { return int(a.ParentID - b.ParentID) })
	for _, r := range ranges {
		if first, ok := gap(r, size, taken); ok {
			return []user.IDMap{{ID: 0, ParentID: first, Count: size}}, nil
		}
	}
	return nil, &FullError{File: file, Size: size, Containers: len(taken)}
}

// aside reads the ranges of the first owner that has any.
func aside(file string) ([]user.SubID, error) {
	for _, owner := range owners() {
		ranges, err := user.ParseSubIDFileFilter(file, func(s user.SubID) bool { return s.Name == owner })
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for _, r := range ranges {
			if r.SubID < 1 || r.Count < 1 { // what is no number reads as 0, which is root
				return nil, fmt.Errorf("%s: malformed line of %s: want NAME:FIRST:COUNT", file, owner)
			}
		}
		if len(ranges) > 0 {
			return ranges, nil
		}
	}
	return nil, nil
}

// gap finds the first ids of a range that lie in none of taken, which are sorted.
func gap(r user.SubID, size int64, taken []user.IDMap) (first int64, ok bool) {
	first = r.SubID
	for _, t := range taken {
		if t.ParentID < first+size && first < t.ParentID+t.Count {
			first = t.ParentID + t.Count
		}
	}
	return first, first+size <= r.SubID+r.Count
}
