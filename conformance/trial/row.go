// Package trial is one row judged on one plugin: what a row is, what it is
// judged on, and the T a row's check works with.
//
// A check calls the plugin through T, looks at the kernel through the lab, and
// states what it wanted beside what it got. It never returns an opinion about
// a situation it could not bring about: a precondition that fails blocks the
// row, and a row that does not concern the plugin says why.
package trial

import "strings"

// Level is how binding a row is.
type Level string

// Levels, as the specification and RFC 2119 use the words.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	May    Level = "MAY"
)

// Profile names the least demanding audience a row belongs to. Each profile
// contains the ones before it.
type Profile string

// Profiles, least strict first.
const (
	Spec    Profile = "spec"    // the specification and its conventions
	Runtime Profile = "runtime" // what containerd, CRI-O, podman and nerdctl depend on besides
	Netctl  Profile = "netctl"  // stricter: what users have asked for
)

// Profiles lists them, least strict first.
func Profiles() []Profile { return []Profile{Spec, Runtime, Netctl} }

// Includes reports whether running profile p runs a row of profile q.
func (p Profile) Includes(q Profile) bool { return rank(q) <= rank(p) }

func rank(p Profile) int {
	for i, known := range Profiles() {
		if p == known {
			return i
		}
	}
	return len(Profiles())
}

// Kind is the part a plugin plays in a list.
type Kind uint8

// Kinds of subject; a row's scope is a set of them.
const (
	Interface  Kind = 1 << iota // makes an interface in the container
	Chained                     // works on what a plugin before it made
	IPAM                        // gives out addresses, called by an interface plugin
	Other                       // makes no interface of its own (loopback)
	Delegating                  // an interface plugin that calls an IPAM plugin
	List                        // the whole list, one plugin after the other

	All = Interface | Chained | IPAM | Other
)

func (k Kind) String() string {
	if k == All {
		return "all"
	}
	var names []string
	for _, n := range []struct {
		kind Kind
		name string
	}{{Interface, "interface"}, {Chained, "chained"}, {IPAM, "ipam"}, {Other, "other"}, {Delegating, "delegating"}, {List, "list"}} {
		if k&n.kind != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// Row is one testable statement.
type Row struct {
	ID        string
	Level     Level
	Profile   Profile
	Scope     Kind
	Section   string // where the statement comes from
	Statement string
	Judged    string // how the check decides, for explain

	Check func(*T)
	Never string // why no check exists; such a row is never applicable
	Alone bool   // measures time: runs when nothing else does
}
