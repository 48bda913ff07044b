package netctl

import (
	"strings"
	"testing"
	"time"
)

func TestFilters(t *testing.T) {
	labels := map[string]string{"team": "a", "tier": "web"}
	for _, tt := range []struct {
		pairs string
		want  bool
	}{
		{"", true},
		{"driver=bridge", true},
		{"driver=host", false},
		{"driver=host driver=bridge", true},
		{"driver=bridge name=nope", false},
		{"name=my", true},
		{"name=^my-.r", true},
		{"name=^bridge", false},
		{"name=[", false},
		{"NAME=my", true},
		{"label=team", true},
		{"label=team=a label=tier=web", true},
		{"label=team=a label=tier=db", false},
		{"label=nope", false},
		{"label!=team=a", false},
		{"label!=team=b", true},
		{"label!=nope", true},
	} {
		f, err := parseFilters(strings.Fields(tt.pairs), "driver", "name", "label", "label!")
		if err != nil {
			t.Errorf("%s: %v", tt.pairs, err)
			continue
		}
		got := f.equals("driver", "bridge") && f.contains("name", "my-bridge") && f.labels(labels)
		if got != tt.want {
			t.Errorf("%s: got %t", tt.pairs, got)
		}
	}
	for _, bad := range []string{"colour=red", "name", "=x"} {
		if _, err := parseFilters([]string{bad}, "name"); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	local := func(text string) string {
		at, err := time.ParseInLocation("2006-01-02 15:04:05", text, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		return at.UTC().Format(time.RFC3339Nano)
	}
	for _, tt := range []struct{ text, want string }{
		{"10m", "2026-05-06T06:58:09Z"},
		{"1h30m", "2026-05-06T05:38:09Z"},
		{"2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"},
		{"2026-01-02T03:04:05.5+02:00", "2026-01-02T01:04:05.5Z"},
		{"2026-01-02T03:04:05", local("2026-01-02 03:04:05")},
		{"2026-01-02T03:04", local("2026-01-02 03:04:00")},
		{"2026-01-02", local("2026-01-02 00:00:00")},
		{"1136073845", "2006-01-01T00:04:05Z"},
		{"1136073845.000000001", "2006-01-01T00:04:05.000000001Z"},
		{"1136073845.5", "2006-01-01T00:04:05.5Z"},
		{"yesterday", ""},
		{"", ""},
		{"12.-5", ""},
		{"2026-13-01", ""},
	} {
		got, err := parseMoment(tt.text, now)
		if tt.want == "" && err == nil || tt.want != "" && (err != nil || got.UTC().Format(time.RFC3339Nano) != tt.want) {
			t.Errorf("parseMoment(%q) = %s, %v; want %s", tt.text, got.UTC(), err, tt.want)
		}
	}
}
