// Package rows is the checklist: what each row says and how it is judged.
//
// A file holds the rows of one subject as a table, followed by their checks in
// the same order. The identifiers are permanent: a row that turns out to be
// wrong is withdrawn, never renumbered.
package rows

import (
	"slices"

	"github.com/netctl/netctl/conformance/trial"
)

// Chapter is the rows about one subject.
type Chapter struct {
	Title string
	Rows  []trial.Row
}

// Chapters is the checklist, in order of identifier.
func Chapters() []Chapter {
	return []Chapter{
		{"Process", processRows},
		{"Parameters", environmentRows},
		{"Configuration", configurationRows},
		{"VERSION and negotiation", versionRows},
		{"ADD", slices.Concat(addRows, addEffectRows)},
		{"DEL", slices.Concat(delRows, delHardRows)},
		{"CHECK", checkRows},
		{"STATUS", statusRows},
		{"GC", gcRows},
		{"Errors", errorRows},
		{"Results of each version", shapeRows},
		{"Chained plugins", chainRows},
		{"Delegation to IPAM plugins", delegateRows},
		{"Port mappings", portmapRows},
		{"Other capabilities and arguments", capabilityRows},
		{"Many at once", concurrencyRows},
		{"Faults", faultRows},
		{"Security", securityRows},
	}
}

// Catalogue is every row, in order of identifier.
func Catalogue() []trial.Row {
	var out []trial.Row
	for _, c := range Chapters() {
		out = append(out, c.Rows...)
	}
	return out
}

// Find looks a row up by identifier.
func Find(id string) (trial.Row, bool) {
	all := Catalogue()
	i := slices.IndexFunc(all, func(r trial.Row) bool { return r.ID == id })
	if i < 0 {
		return trial.Row{}, false
	}
	return all[i], true
}
