package firewall

import (
	"fmt"
	"strings"
)

// Lines are the commands that a person would type on a fresh host to get what
// Apply makes of r. Nothing is asked of the machine, but for Auto, which looks
// for iptables.
func Lines(name BackendName, r Rules) ([]string, error) {
	b, err := Open(name, nil)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range families() {
		if b.Name() == IPTables {
			all = append(all, iptablesLines(f, wanted(f, r))...)
		} else {
			all = append(all, nftLines(f, nftWanted(f, r))...)
		}
	}
	return all, nil
}

// iptablesLines turns the input of iptables-restore for an empty host into
// commands.
func iptablesLines(f family, want []placed) []string {
	input := rewrite(f, parseSaved(""), want, func(string) bool { return false })
	var all []string
	table := ""
	for line := range strings.Lines(input) {
		line = strings.TrimSuffix(line, "\n")
		switch line[0] {
		case '*':
			table = line[1:]
		case ':':
			name, _, _ := strings.Cut(line[1:], " ")
			all = append(all, fmt.Sprintf("%s -t %s -N %s", f.tool(), table, name))
		case '-':
			all = append(all, fmt.Sprintf("%s -t %s %s", f.tool(), table, line))
		}
	}
	return all
}

// nftLines writes our table as nft commands.
func nftLines(f family, want nftWant) []string {
	if len(want.chains) == 0 {
		return nil
	}
	table := f.nft() + " " + nftTable
	all := []string{"nft add table " + table}
	for _, d := range nftSets(f) {
		kind, body, _ := strings.Cut(d.text, " ")
		all = append(all, fmt.Sprintf("nft add %s %s %s '%s'", kind, table, d.name, body))
	}
	for _, d := range nftHooks() {
		all = append(all, fmt.Sprintf("nft add chain %s %s '{ %s }'", table, d.name, d.text))
	}
	made := map[string]bool{}
	for _, name := range want.chains {
		if !isNFTHook(name) && !made[name] {
			made[name] = true
			all = append(all, fmt.Sprintf("nft add chain %s %s", table, name))
		}
	}
	for _, p := range unique(want.rules) {
		all = append(all, fmt.Sprintf("nft add rule %s %s '%s'", table, p.chain.name, nftRule(f, p.rule)))
	}
	for _, e := range uniqueElements(want.elements) {
		all = append(all, fmt.Sprintf("nft add element %s %s '{ %s }'", table, e.set, nftElement(f, e)))
	}
	return all
}
