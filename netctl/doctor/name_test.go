package doctor

import "testing"

func TestOneLetterApart(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"db", "dd", true}, {"db", "d", true}, {"db", "dbx", true}, {"web", "wbe", false}, {"web", "wxeb", true},
		{"web", "web", true}, {"web", "db", false}, {"", "a", true}, {"web", "webxx", false}, {"abc", "xbc", true},
	} {
		if got := oneLetterApart(test.a, test.b); got != test.want {
			t.Errorf("%q, %q: %v", test.a, test.b, got)
		}
		if got := oneLetterApart(test.b, test.a); got != test.want {
			t.Errorf("%q, %q: %v", test.b, test.a, got)
		}
	}
}
