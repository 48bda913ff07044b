package rows

import (
	"fmt"
	"testing"
)

// TestCatalogue: the identifiers are complete and in order, and every row says
// what explain prints.
func TestCatalogue(t *testing.T) {
	for i, r := range Catalogue() {
		if want := fmt.Sprintf("C%03d", i+1); r.ID != want {
			t.Fatalf("row %d is %s, want %s", i+1, r.ID, want)
		}
		if r.Statement == "" || r.Section == "" || r.Scope == 0 || r.Level == "" || r.Profile == "" {
			t.Errorf("%s is incomplete: %+v", r.ID, r)
		}
		if (r.Check == nil) != (r.Never != "") || (r.Check != nil) != (r.Judged != "") {
			t.Errorf("%s must either have a check and say how it judges, or say why there is none", r.ID)
		}
	}
}

func TestFilled(t *testing.T) {
	got := filled(map[string]any{"a": "", "b": []any{}, "c": map[string]any{"d": nil}, "e": []any{"x"}})
	if text := mustText(got); text != `{"e":["x"]}` {
		t.Errorf("filled leaves %s", text)
	}
}
