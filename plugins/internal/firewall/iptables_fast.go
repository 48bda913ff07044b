package firewall

import (
	"fmt"
	"strings"
)

// restores is the input of iptables-restore for each family that has any.
type restores map[family]string

// script collects one table's commands of an iptables-restore input.
type script struct {
	table string
	lines []string
}

func (s *script) add(command string, p placed) {
	s.lines = append(s.lines, fmt.Sprintf("%s %s %s", command, iptablesChain(p.chain), iptablesRule(p.rule)))
}

func (s *script) command(command string, c chain) {
	s.lines = append(s.lines, command+" "+iptablesChain(c))
}

// join writes the scripts that have anything to say.
func join(scripts ...script) string {
	var b strings.Builder
	for _, s := range scripts {
		if len(s.lines) > 0 {
			fmt.Fprintf(&b, "*%s\n%s\nCOMMIT\n", s.table, strings.Join(s.lines, "\n"))
		}
	}
	return b.String()
}

// fastApply is Apply on a host where all that is shared is in place and the
// attachment is new.
func fastApply(r Rules) restores {
	all := restores{}
	for _, f := range families() {
		if want := wanted(f, r); len(want) > 0 {
			all[f] = fastApplyFamily(want)
		}
	}
	return all
}

// fastApplyFamily checks the shared rules by the jumps from the hooks and by
// one rule a table of each owner: rules of one owner and table are committed
// together.
func fastApplyFamily(want []placed) string {
	tables := []script{{table: filter}, {table: nat}}
	for i := range tables {
		s, checked := &tables[i], map[string]bool{}
		for _, p := range want {
			switch {
			case p.table != s.table || isTreeJump(p):
			case isReceipt(p.chain):
				s.command("-N", p.chain)
				s.add("-A", p)
			case isMapping(p):
				s.add("-A", p)
			case p.hook || p.comment != layout && !checked[p.comment]:
				checked[p.comment] = true
				s.add("-C", p)
			}
		}
	}
	return join(tables...)
}

// fastRemove is Remove of exactly what Apply has made.
func fastRemove(r Rules) restores {
	all := restores{}
	for _, f := range families() {
		s := script{table: nat}
		for _, p := range wanted(f, r) {
			switch {
			case isReceipt(p.chain):
				s.command("-F", p.chain)
				s.command("-X", p.chain)
			case isMapping(p):
				s.add("-D", p)
			}
		}
		if text := join(s); text != "" {
			all[f] = text
		}
	}
	return all
}

func isReceipt(c chain) bool { return strings.HasPrefix(c.name, "ATT-") }

// isMapping tells a rule of one published port.
func isMapping(p placed) bool { return p.do.action == dnat || p.do.action == mark }

func isTreeJump(p placed) bool {
	if p.do.action != jump {
		return false
	}
	_, _, ok := treeSpan(p.do.chain)
	return ok
}
