package firewall

import (
	"fmt"
	"slices"
	"strings"
)

// rewrite gives the input of iptables-restore that turns what is there into
// what is wanted: adds what is missing, takes away what is not wanted and may
// go, then what has become empty. What is right already is not touched. When
// nothing of any network is left, our chains go too.
func rewrite(f family, now *saved, want []placed, gone func(comment string) bool) string {
	d := &difference{now: now, gone: gone}
	d.compare(want)
	if len(want) == 0 && d.alive() {
		d.compare(sharedRules(f))
	}
	d.prune()
	tables := []script{d.script(filter), d.script(nat)}
	if len(want) == 0 {
		// The program asks the kernel about each match that it meets for the
		// first time, by a socket of its own. Closing that one after a commit
		// that deletes waits for an RCU grace period, some 10 ms (see
		// commits). Removals from nat have all the matches of those from filter.
		slices.Reverse(tables)
	}
	return join(tables...)
}

// difference is the work of one rewrite.
type difference struct {
	now  *saved
	want []placed
	gone func(comment string) bool
	// keep says for each rule that is there whether it stays.
	keep map[chain][]bool
	// missing are the wanted rules that are not there.
	missing map[placed]bool
	// doomed are the chains to delete.
	doomed map[chain]bool
}

// key is what makes two rules equal: a comment tells all that can change.
type key struct {
	chain
	target, comment string
}

func keyOf(p placed) key {
	words := strings.Fields(iptablesTarget(p.do))
	return key{p.chain, words[1], p.comment}
}

// compare decides which rules stay and which are missing.
func (d *difference) compare(want []placed) {
	d.want = unique(want)
	d.keep, d.missing = map[chain][]bool{}, map[placed]bool{}
	open := map[key]int{}
	for _, p := range d.want {
		open[keyOf(p)]++
	}
	for c, rules := range d.now.rules {
		d.keep[c] = make([]bool, len(rules))
		for i, r := range rules {
			k := key{c, r.target, r.comment}
			if open[k] > 0 {
				open[k]--
				d.keep[c][i] = true
			} else {
				d.keep[c][i] = !d.mayGo(c, r)
			}
		}
	}
	for _, p := range d.want {
		if open[keyOf(p)] > 0 {
			open[keyOf(p)]--
			d.missing[p] = true
		}
	}
	d.refill()
}

// mayGo tells whether a rule that is not wanted goes. Jumps down a port tree
// stay until the chain they lead to is empty; a network's rules in a hook are
// openings (see foreignChain).
func (d *difference) mayGo(c chain, r savedRule) bool {
	switch {
	case !isOurs(r.comment) || c.hook && isPolicy(r.comment):
		return false
	case r.comment == layout:
		_, _, tree := treeSpan(chain{nat, strings.TrimPrefix(r.target, chainPrefix), false})
		return !tree
	case strings.HasPrefix(r.comment, prefix+" layout="):
		return true
	}
	return d.gone(r.comment)
}

// refill makes the chains that one network fills anew when anything in them is
// missing, because their order matters.
func (d *difference) refill() {
	broken := map[chain]bool{}
	for p := range d.missing {
		if isNetworks(p.chain) {
			broken[p.chain] = true
			clear(d.keep[p.chain])
		}
	}
	for _, p := range d.want {
		if broken[p.chain] {
			d.missing[p] = true
		}
	}
}

// alive tells whether any network or attachment still has a rule.
func (d *difference) alive() bool {
	for c, rules := range d.now.rules {
		for i, r := range rules {
			if d.keep[c][i] && !c.hook && isOurs(r.comment) && r.comment != layout {
				return true
			}
		}
	}
	return false
}

// prune dooms our chains that nobody wants and that hold no rule, then the
// jumps to them, then the chains that have become empty by that.
func (d *difference) prune() {
	d.doomed = map[chain]bool{}
	wanted := map[chain]bool{}
	for _, p := range d.want {
		wanted[p.chain] = true
		if p.do.action == jump {
			wanted[p.do.chain] = true
		}
	}
	for again := true; again; {
		again = false
		for _, c := range d.now.chains {
			if !c.hook && !wanted[c] && !d.doomed[c] && !slices.Contains(d.keep[c], true) {
				d.doomed[c], again = true, true
				d.dropJumps(c)
			}
		}
	}
}

func (d *difference) dropJumps(to chain) {
	for c, rules := range d.now.rules {
		for i, r := range rules {
			if c.table == to.table && r.target == iptablesChain(to) {
				d.keep[c][i] = false
			}
		}
	}
}

// script writes one table's commands: make, delete, add, and remove at last
// the chains that nothing leads to any more.
func (d *difference) script(table string) script {
	s := script{table: table}
	for _, name := range missingTargets(d.want, d.now, table) {
		s.lines = append(s.lines, fmt.Sprintf(":%s - [0:0]", name))
	}
	for _, c := range d.newChains(table) {
		s.lines = append(s.lines, fmt.Sprintf(":%s - [0:0]", iptablesChain(c)))
	}
	for _, c := range d.now.chains {
		if c.table == table {
			d.deletions(&s, c)
		}
	}
	d.additions(&s)
	for _, c := range d.now.chains {
		if c.table == table && d.doomed[c] {
			s.command("-X", c)
		}
	}
	return s
}

// deletions empties a chain at once where nothing in it stays.
func (d *difference) deletions(s *script, c chain) {
	rules, keep := d.now.rules[c], d.keep[c]
	if len(rules) > 0 && !c.hook && !slices.Contains(keep, true) {
		s.command("-F", c)
		return
	}
	for i, r := range rules {
		if !keep[i] {
			s.lines = append(s.lines, fmt.Sprintf("-D %s %s", iptablesChain(c), r.text))
		}
	}
}

// additions puts shared rules at their place from the top, so that they come
// before everybody else's; all others at the end.
func (d *difference) additions(s *script) {
	position := map[chain]int{}
	for _, p := range d.want {
		if p.table != s.table {
			continue
		}
		command := "-A " + iptablesChain(p.chain)
		if p.ahead || p.comment == layout && !isTreeJump(p) {
			position[p.chain]++
			command = fmt.Sprintf("-I %s %d", iptablesChain(p.chain), position[p.chain])
		}
		if d.missing[p] {
			s.lines = append(s.lines, command+" "+iptablesRule(p.rule))
		}
	}
}

// newChains are those that wanted rules stand in or lead to and that are not
// there.
func (d *difference) newChains(table string) []chain {
	var all []chain
	add := func(c chain) {
		if c.table == table && !c.hook && !d.now.has(c) && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	for _, p := range d.want {
		add(p.chain)
		if p.do.action == jump {
			add(p.do.chain)
		}
	}
	return all
}

// unique leaves out what is wanted twice, by several networks or attachments.
func unique(want []placed) []placed {
	seen := make(map[placed]bool, len(want))
	return slices.DeleteFunc(slices.Clone(want), func(p placed) bool {
		twice := seen[p]
		seen[p] = true
		return twice
	})
}
