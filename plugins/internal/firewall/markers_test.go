package firewall

import (
	"maps"
	"slices"
	"testing"
)

// What the usual ADD looks for and adds is a part of what the rules as a whole
// are, for each option that the page shows.
func TestMarkersAndOwnAreOfTheRules(t *testing.T) {
	all := []Rules{{}, everything()}
	for _, c := range docsCases() {
		if c.rules != nil {
			all = append(all, *c.rules)
		}
	}
	for _, r := range all {
		for _, f := range families() {
			want, markers, own := nftWanted(f, r), nftMarkers(f, r), nftOwn(f, r)
			if concern := r.concern(f); concern != (len(wanted(f, r)) > 0) || concern != (len(want.rules) > 0) {
				t.Errorf("%s, %+v: concern is %v", f, r, concern)
			}
			for _, m := range markers {
				if !slices.Contains(want.chains, m) {
					t.Errorf("%s, %+v: no rule makes the marker %s", f, r, m)
				}
			}
			owners := map[string]bool{} // of rules beside the shared ones and the attachment's
			for _, p := range want.rules {
				if isOurs(p.comment) && p.comment != layout && !ofLabel(p.comment, attachmentLabel(r.Attachment)) {
					owners[p.comment] = true
				}
			}
			if len(markers) != len(owners) {
				t.Errorf("%s, %+v: markers %v stand for the rules of %v", f, r, markers, slices.Collect(maps.Keys(owners)))
			}
			for _, e := range want.elements {
				mine := slices.ContainsFunc(own, func(o element) bool { return o.sameKey(e) && o.equal(e) })
				if mine != (e.chain == "") {
					t.Errorf("%s, %+v: element %+v is the attachment's own: %v", f, r, e, mine)
				}
			}
		}
	}
}
