package netctl

import "testing"

// Row 17 of the runner's checklist, what `logs` shows on a terminal.
func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain\tänderung 漢 \u00a0": "plain\tänderung 漢 \u00a0",
		"\x1b[1;31mred\x1b[0m":     "\x1b[1;31mred\x1b[0m",
		"\x1b]0;title\a":           "^[]0;title^G",
		"\x1b]52;c;ZXZpbA==\a":     "^[]52;c;ZXZpbA==^G",
		"\x1b[2J\x1b[Hgone":        "^[[2J^[[Hgone",
		"\x1b[31":                  "^[[31",
		"shown\rhidden":            "shown^Mhidden",
		"of a terminal\r":          "of a terminal\r",
		"a\x7fb\x00":               "a^?b^@",
		"\u009b2J":                 `\x9b2J`,
		"\x9b2J":                   `\x9b2J`,
		"\xff\xfe":                 `\xff\xfe`,
		"\ufffd":                   "\ufffd",
		"":                         "",
	} {
		if got := string(visible([]byte(text))); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
