package probe

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/netctl/netctl/netctl/doctor"
)

// counted is a place that drops, with what its counter says.
type counted struct {
	drop    doctor.Drop
	packets uint64
	// blind places have no counter; sure ones would drop the packet in
	// question.
	blind, sure bool
}

// Drops implements doctor.World: the counters before and after the attempt
// tell. Rules of nftables need have none; those are judged by what they match.
func (w World) Drops(ctx context.Context, p doctor.Packet, attempt func()) ([]doctor.Drop, error) {
	before := w.places(ctx, p)
	attempt()
	after := w.places(ctx, p)
	var drops []doctor.Drop
	for key, now := range after {
		if then, ok := before[key]; ok && !now.blind && now.packets > then.packets {
			drops = append(drops, now.drop)
		}
	}
	if len(drops) > 0 {
		return sorted(drops), nil
	}
	for _, now := range after {
		if now.blind && now.sure {
			drops = append(drops, now.drop)
		}
	}
	return sorted(drops), nil
}

func sorted(drops []doctor.Drop) []doctor.Drop {
	slices.SortFunc(drops, func(a, b doctor.Drop) int { return strings.Compare(a.String(), b.String()) })
	return drops
}

// places are all those that drop, of all tools that this host has.
func (w World) places(ctx context.Context, p doctor.Packet) map[string]counted {
	places := map[string]counted{}
	tools := []string{"iptables", "ip6tables"}
	// Asking the legacy programs would load their kernel modules where nobody
	// has rules in them.
	if names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names"); err == nil && len(names) > 0 {
		tools = append(tools, "iptables-legacy", "ip6tables-legacy")
	}
	for _, tool := range tools {
		out, err := exec.CommandContext(ctx, tool+"-save", "-c").Output() //nolint:gosec // names of ours
		if err == nil {
			for _, c := range iptablesPlaces(tool, string(out)) {
				places[c.drop.String()] = c
			}
		}
	}
	if out, err := exec.CommandContext(ctx, "nft", "-j", "-a", "list", "ruleset").Output(); err == nil {
		for key, c := range nftPlaces(out, p) {
			places[key] = c
		}
	}
	return places
}

// iptablesPlaces reads the output of iptables-save -c.
func iptablesPlaces(tool, text string) []counted {
	var places []counted
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			// :FORWARD DROP [12:3456]
			f := strings.Fields(line[1:])
			if len(f) == 3 && f[1] == "DROP" {
				packets := counter(f[2])
				places = append(places, counted{drop: doctor.Drop{
					Tool: tool, Chain: f[0], Delete: fmt.Sprintf("%s -t %s -P %s ACCEPT", tool, table, f[0]),
				}, packets: packets})
			}
		case strings.HasPrefix(line, "["):
			// [12:3456] -A FORWARD -i eth0 -j DROP
			counters, rule, _ := strings.Cut(line, " -A ")
			chain, rest, _ := strings.Cut(rule, " ")
			if !strings.Contains(rest+" ", "-j DROP ") && !strings.Contains(rest+" ", "-j REJECT ") {
				continue
			}
			places = append(places, counted{drop: doctor.Drop{
				Tool: tool, Chain: chain, Rule: rest, Delete: fmt.Sprintf("%s -t %s -D %s %s", tool, table, chain, rest),
			}, packets: counter(counters)})
		}
	}
	return places
}

// counter reads [PACKETS:BYTES].
func counter(text string) uint64 {
	packets, _, _ := strings.Cut(strings.Trim(text, "[]"), ":")
	n, _ := strconv.ParseUint(packets, 10, 64)
	return n
}
