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

// Catalogue is every row, in order of identifier.
func Catalogue() []trial.Row {
	return slices.Concat(
		processRows,
		environmentRows,
		configurationRows,
		versionRows,
		addRows,
		addEffectRows,
		delRows,
		delHardRows,
		checkRows,
		statusRows,
		gcRows,
		errorRows,
		shapeRows,
		chainRows,
		delegateRows,
		portmapRows,
		capabilityRows,
		concurrencyRows,
		faultRows,
		securityRows,
	)
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
