package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A program holds our lock as long as it lives: when we are killed, what it still
// does must not come after somebody else's.
func TestProgramsHoldOurLock(t *testing.T) {
	t.Parallel()
	host := newSpace(t, "host")
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte("#!/bin/sh\nreadlink /proc/self/fd/3\n"), 0o755))
	b := &iptables{log: slog.New(slog.DiscardHandler), programs: programs{dir: dir}}
	host.do(t, func() {
		l, err := acquire(context.Background())
		check(t, err)
		defer l.release()
		p, err := b.start(context.Background(), l, "iptables-restore", "")
		check(t, err)
		check(t, p.wait())
		want, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", l.file.Fd()))
		check(t, err)
		if got := strings.TrimSpace(p.stdout.String()); got != want || want == "" {
			t.Errorf("it has %q open, want the lock, %q", got, want)
		}
	})
}

// Runtimes start plugins with paths of all kinds, most without sbin.
func TestProgramsAreFoundWithoutSbin(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	if path, err := (programs{}).find("iptables-restore"); err != nil || !filepath.IsAbs(path) {
		t.Errorf("found %q, %v", path, err)
	}
	if _, err := (programs{}).find("no-such-program"); err == nil || !strings.Contains(err.Error(), "install iptables") {
		t.Errorf("of one that is not there: %v", err)
	}
}
