package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// countPrograms makes every start of an iptables program leave a line, and
// gives a function that reads and clears them.
func countPrograms(t *testing.T, p programs) (counted programs, started func() []string) {
	t.Helper()
	dir := t.TempDir()
	record := filepath.Join(dir, "started")
	for _, tool := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		real, err := p.find(tool)
		if err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\necho %s >> %s\nexec %s \"$@\"\n", tool, record, real)
		if err := os.WriteFile(filepath.Join(dir, tool), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return programs{dir, p.lock}, func() []string {
		text, _ := os.ReadFile(record)
		_ = os.Remove(record)
		lines := strings.Fields(string(text))
		slices.Sort(lines)
		return lines
	}
}

// One process per family does an ADD, and one a DEL, whatever the number of
// ports; a family without addresses is left alone.
func TestUsualCallIsOneProcess(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"nft", "legacy"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			counted, started := countPrograms(t, variantPrograms(t, kind))
			host := newSpace(t, "host")
			b := &iptables{log: slog.New(slog.DiscardHandler), programs: counted}
			ctx := context.Background()
			call := func(name string, f func() error, want ...string) {
				t.Helper()
				started()
				host.do(t, func() { check(t, f()) })
				if got := started(); !slices.Equal(got, want) {
					t.Errorf("%s started %v, want %v", name, got, want)
				}
			}
			first, second, many := publishing("first", 2, 8080, 80), publishing("second", 3, 8081, 80), publishing("many", 4, 8082, 80)
			for port := range uint16(10) {
				many.Publish = append(many.Publish, publishing("many", 4, 8083+port, 80).Publish...)
			}
			call("the first Apply", func() error { return b.Apply(ctx, first) },
				"ip6tables-restore", "ip6tables-restore", "ip6tables-save", "iptables-restore", "iptables-restore", "iptables-save")
			call("Apply", func() error { return b.Apply(ctx, second) }, "ip6tables-restore", "iptables-restore")
			call("Apply of many", func() error { return b.Apply(ctx, many) }, "ip6tables-restore", "iptables-restore")
			call("Check", func() error { return b.Check(ctx, many) }, "ip6tables-restore", "iptables-restore")
			call("Remove of many", func() error { return b.Remove(ctx, many, nil) }, "ip6tables-restore", "iptables-restore")
			call("Remove", func() error { return b.Remove(ctx, second, nil) }, "ip6tables-restore", "iptables-restore")
			only4 := publishing("only4", 5, 8090, 80)
			only4.Network.Subnets = only4.Network.Subnets[:1]
			only4.Network.DNS = only4.Network.DNS[:1]
			only4.Network.Network, only4.Attachment.Network = "four", "four"
			only4.Publish = only4.Publish[:2]
			call("first Apply of IPv4", func() error { return b.Apply(ctx, only4) }, "iptables-restore", "iptables-restore", "iptables-save")
			call("Remove of IPv4", func() error { return b.Remove(ctx, only4, unused) }, "iptables-restore", "iptables-save")
			nothing := Rules{Attachment: only4.Attachment, Network: wire.NetworkPolicy{Network: "four"}}
			call("Apply of nothing", func() error { return b.Apply(ctx, nothing) })
		})
	}
}

// The nftables mechanism starts no program at all, so a host without iptables
// has all of it (C189).
func TestNFTablesStartsNothing(t *testing.T) {
	counted, started := countPrograms(t, programs{})
	t.Setenv("PATH", counted.dir+":"+os.Getenv("PATH"))
	host := newSpace(t, "host")
	b := &nftables{log: slog.New(slog.DiscardHandler)}
	ctx := context.Background()
	r := publishing("web", 2, 8080, 80)
	host.do(t, func() {
		check(t, b.Apply(ctx, r))
		check(t, b.Check(ctx, r))
		check(t, b.Restore(ctx, []Rules{r}))
		check(t, b.Remove(ctx, r, nil))
		check(t, b.RemoveNetwork(ctx, "net1", nil))
	})
	if got := started(); len(got) != 0 {
		t.Errorf("started %v", got)
	}
}
