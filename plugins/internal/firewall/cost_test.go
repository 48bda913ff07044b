package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
			call("the first Apply", func() error { return b.Apply(ctx, first) }, "ip6tables-restore", "iptables-restore")
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

// A process that has committed all of its tables need not have ended.
func TestCommittedIsDone(t *testing.T) {
	t.Parallel()
	b := &iptables{log: slog.New(slog.DiscardHandler), programs: variantPrograms(t, "nft")}
	host := newHost(t, b)
	host.sh(t, "iptables -N X; iptables -t nat -N X")
	input := restores{ipv4: "*filter\n-X X\nCOMMIT\n*nat\n-X X\nCOMMIT\n"}
	host.do(t, func() {
		c := b.commitsOf(input)
		defer c.close()
		restore := exec.Command(filepath.Join(b.programs.dir, "iptables-restore"), "--noflush")
		restore.Stdin = strings.NewReader(input[ipv4])
		check(t, restore.Run())
		for range 2 {
			select {
			case by := <-c.by:
				if by != restore.Process.Pid {
					t.Errorf("committed by %d, want %d", by, restore.Process.Pid)
				}
			case <-time.After(answered):
				t.Error("the kernel does not tell who committed")
			}
		}
	})
	for _, done := range []int{1, 2} {
		busy := exec.Command("sleep", "300")
		check(t, busy.Start())
		c := &commits{by: make(chan int, 2)}
		for range done {
			c.by <- busy.Process.Pid
		}
		if done == 1 {
			_ = busy.Process.Kill()
		}
		failed := c.await(map[family]*process{ipv4: {ctx: context.Background(), cmd: busy}}, input)
		if (failed[ipv4] != nil) != (done == 1) {
			t.Errorf("after %d of 2 commits: %v", done, failed)
		}
		_ = busy.Process.Kill()
	}
}
