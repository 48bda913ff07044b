package runner

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
)

// Userns is the user namespace of a container: the host's, or one of its own, in
// which its users are others than they seem.
type Userns struct {
	// Auto: the ids are found when the container is made, Size of them.
	Auto bool  `json:"auto,omitempty"`
	Size int64 `json:"size,omitempty"`
	// IDs are the container's and which of the host they stand for; empty: the
	// same ones.
	IDs user.IdentityMapping `json:"ids,omitzero"`
}

// Own tells whether it is not the host's.
func (u Userns) Own() bool { return !u.IDs.Empty() }

// String is as --userns has it.
func (u Userns) String() string {
	switch {
	case u.Auto:
		return "auto:size=" + strconv.FormatInt(u.Size, 10)
	case u.Own():
		return "private"
	}
	return "host"
}

// DefaultIDs is how many ids a container gets. Images have a "nobody" of 65534.
const DefaultIDs = 65536

// ParseUserns reads --userns; private stands for ids that are given elsewhere.
func ParseUserns(text string) (u Userns, err error) {
	mode, option, given := strings.Cut(text, ":")
	switch {
	case text == "", text == "host", text == "private":
		return u, nil
	case mode != "auto":
		return u, fmt.Errorf("invalid user namespace %q: want host, auto or auto:size=N", text)
	}
	u = Userns{Auto: true, Size: DefaultIDs}
	if !given {
		return u, nil
	}
	number, ok := strings.CutPrefix(option, "size=")
	u.Size, err = strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || u.Size < 1 || u.Size > 1<<31 {
		return u, fmt.Errorf("invalid user namespace %q: want auto:size=N, N ids of %d to %d", text, 1, 1<<31)
	}
	return u, nil
}

// ParseIDMap reads CONTAINER:HOST[:COUNT].
func ParseIDMap(text string) (user.IDMap, error) {
	fields := strings.Split(text, ":")
	if len(fields) == 2 {
		fields = append(fields, "1")
	}
	var n [3]int64
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, 32)
		if len(fields) != 3 || err != nil {
			return user.IDMap{}, fmt.Errorf("invalid id map %q: want CONTAINER:HOST[:COUNT]", text)
		}
		n[i] = int64(v)
	}
	m := user.IDMap{ID: n[0], ParentID: n[1], Count: n[2]}
	const noID = 1<<32 - 1 // (uid_t)-1 is nobody's
	if m.Count == 0 || m.ID+m.Count > noID || m.ParentID+m.Count > noID {
		return m, fmt.Errorf("invalid id map %q: ids are 0 to %d", text, int64(noID-1))
	}
	return m, nil
}

// ParseIDMaps reads the maps of one kind of ids and checks them together.
func ParseIDMaps(kind string, texts []string) ([]user.IDMap, error) {
	var maps []user.IDMap
	for _, text := range texts {
		m, err := ParseIDMap(text)
		if err != nil {
			return nil, err
		}
		maps = append(maps, m)
	}
	return maps, CheckIDMaps(kind, maps)
}

// IDMapTexts is the other way round.
func IDMapTexts(maps []user.IDMap) []string {
	var out []string
	for _, m := range maps {
		out = append(out, fmt.Sprintf("%d:%d:%d", m.ID, m.ParentID, m.Count))
	}
	return out
}

// CheckIDMaps refuses what the kernel would, in words, and a namespace without a
// root.
func CheckIDMaps(kind string, maps []user.IDMap) error {
	const most = 340 // user_namespaces(7)
	if len(maps) > most {
		return fmt.Errorf("%d maps of %s: the kernel takes %d", len(maps), kind, most)
	}
	root := false
	for i, m := range maps {
		root = root || m.ID == 0
		for _, o := range maps[:i] {
			if m.ID < o.ID+o.Count && o.ID < m.ID+m.Count || m.ParentID < o.ParentID+o.Count && o.ParentID < m.ParentID+m.Count {
				return fmt.Errorf("%s %d:%d:%d and %d:%d:%d overlap", kind, o.ID, o.ParentID, o.Count, m.ID, m.ParentID, m.Count)
			}
		}
	}
	if !root {
		return fmt.Errorf("no %s for 0: a container needs a root", kind)
	}
	return nil
}
