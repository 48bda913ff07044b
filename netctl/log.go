package netctl

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// lineHandler prints messages for somebody at a terminal:
//
//	warning: network configuration passed over (file=/etc/cni/net.d/x.conflist, error=...)
//
// The time is left to whoever collects the lines.
type lineHandler struct {
	level slog.Leveler
	attrs []slog.Attr // of With, their keys complete
	group string      // put before keys: "a.b."
	out   *lockedWriter
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(lineHandler{level: level, out: &lockedWriter{w: w}})
}

func (h lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h lineHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.group += name + "."
	}
	return h
}

func (h lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], h.grouped(attrs)...)
	return h
}

func (h lineHandler) grouped(attrs []slog.Attr) []slog.Attr {
	var list []slog.Attr
	for _, a := range attrs {
		a.Key = h.group + a.Key
		list = append(list, a)
	}
	return list
}

func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	var attrs []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	var details []string
	for _, a := range append(h.attrs[:len(h.attrs):len(h.attrs)], h.grouped(attrs)...) {
		details = append(details, fmt.Sprintf("%s=%v", a.Key, a.Value.Resolve()))
	}
	line := levelWord(r.Level) + ": " + r.Message
	if len(details) > 0 {
		line += " (" + strings.Join(details, ", ") + ")"
	}
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := fmt.Fprintln(h.out.w, visibleLine(strings.ReplaceAll(line, "\n", "; ")))
	return err
}

func levelWord(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "debug"
	case level < slog.LevelWarn:
		return "info"
	case level < slog.LevelError:
		return "warning"
	}
	return "error"
}

// silent swallows messages that nobody asked for.
func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
