package netctl

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestLogger(t *testing.T) {
	var out strings.Builder
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	log := newLogger(&out, level)
	log.Info("not shown")
	log.Warn("passed over", "file", "/etc/x", "error", errors.New("two\nlines"))
	log.With("network", "n").WithGroup("link").With("name", "br0").Error("gone", "mtu", 1400)
	level.Set(slog.LevelDebug)
	log.Debug("details")
	want := "warning: passed over (file=/etc/x, error=two; lines)\n" +
		"error: gone (network=n, link.name=br0, link.mtu=1400)\n" +
		"debug: details\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
