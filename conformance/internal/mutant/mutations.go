package mutant

import "slices"

// Mutation is one way to be wrong.
type Mutation struct {
	Name   string
	Plugin string   // the reference plugin it wraps
	Row    string   // the row meant to catch it
	Also   []string // rows that rightly see the same defect, every one of them
	Why    string   // why they do
	Break  func(*Call)
}

// Unbroken spoils nothing: the measure the others are held against.
func Unbroken(plugin string) Mutation {
	return Mutation{Name: "unbroken", Plugin: plugin, Break: (*Call).Run}
}

// Mutations lists every mutant, and the one that is none.
func Mutations() []Mutation {
	return slices.Concat([]Mutation{Unbroken("bridge")}, processMutations, addMutations, delMutations, otherMutations, chainedMutations)
}

// CaughtBy reports whether a row is to catch the mutant.
func (m Mutation) CaughtBy(row string) bool { return row == m.Row || slices.Contains(m.Also, row) }
