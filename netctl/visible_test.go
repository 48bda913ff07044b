package netctl

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/netctl/runner/events"
	"github.com/netctl/netctl/netctl/topology"
	"github.com/netctl/netctl/plugins/overlay/control"
)

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

// What an image says of itself forges no line of a table or of the events.
func TestHostileText(t *testing.T) {
	const hostile = "x\x1b[31m\x1b]0;title\a\n2026-01-01 forged\tline\r"
	const shown = "x^[[31m^[]0;title^G 2026-01-01 forged line "
	var out bytes.Buffer
	if err := show(&out, listing{Columns: []string{"ID", "CreatedBy"}}, []historyRow{{ID: "1", CreatedBy: hostile}}); err != nil {
		t.Fatal(err)
	}
	if want := "IMAGE     CREATED BY\n1         " + shown + "\n"; out.String() != want {
		t.Errorf("table: got\n%q, want\n%q", out.String(), want)
	}
	out.Reset()
	if status := report(&out, &Error{Err: errors.New("copy " + hostile + "end"), Hint: hostile}); status == 0 || strings.Count(out.String(), "\n") != 2 || strings.ContainsAny(out.String(), "\x1b\a\r") {
		t.Errorf("error: got %q", out.String())
	}
	out.Reset()
	slog.New(lineHandler{level: slog.LevelInfo, out: &lockedWriter{w: &out}}).Warn("skipped", "path", hostile)
	if strings.Count(out.String(), "\n") != 1 || strings.ContainsAny(out.String(), "\x1b\a\r") {
		t.Errorf("warning: got %q", out.String())
	}
	out.Reset()
	status := control.Status{Node: hostile, Degraded: hostile, Problems: []string{hostile}, Peers: []control.Peer{{Name: hostile}},
		Networks: []control.Network{{Name: "blue", Exhausted: hostile, Owners: []control.Owner{{Node: hostile}}}}}
	if err := showOverlay(&App{Stdout: &out}, status); err != nil || strings.ContainsAny(out.String(), "\x1b\a\r") || strings.Contains(out.String(), "\n2026") {
		t.Errorf("overlay: got %q, %v", out.String(), err)
	}
	out.Reset()
	if err := printEvent(&App{Stdout: &out}, "", events.Event{Attributes: map[string]string{"label": hostile}}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "label="+shown) {
		t.Errorf("event: got %q", got)
	}
	drawing := topology.Model{Networks: []topology.Network{drawnNetwork(network.Network{Name: "blue", Driver: hostile, Device: hostile}, nil, nil)}}
	for _, text := range []string{drawing.Tree(), drawing.SVG(), drawing.Mermaid()} {
		if strings.ContainsAny(text, "\x1b\a\r") || strings.Contains(text, "\n2026") {
			t.Errorf("drawing: got %q", text)
		}
	}
}
