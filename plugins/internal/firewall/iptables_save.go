package firewall

import (
	"strings"
)

// saved is what iptables-save told, as far as it concerns us: the hooks and
// our chains, with the rules in them.
type saved struct {
	chains []chain
	rules  map[chain][]savedRule
	// others are chains that are neither hooks nor ours.
	others map[chain]bool
}

// savedRule is a rule as iptables itself writes it, which is also what -D
// takes.
type savedRule struct {
	text    string // without "-A CHAIN "
	comment string
	target  string // behind -j, without options
}

func (s *saved) has(c chain) bool {
	_, ok := s.rules[c]
	return ok
}

// parseSaved reads the output of iptables-save. Lines of other people's chains
// and lines it does not understand are left out.
func parseSaved(text string) *saved {
	s := &saved{rules: map[chain][]savedRule{}, others: map[chain]bool{}}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			if c, ok := savedChain(table, line[1:]); ok && !s.has(c) {
				s.chains = append(s.chains, c)
				s.rules[c] = nil
			} else if !ok {
				s.others[chain{table, c.name, true}] = true
			}
		case strings.HasPrefix(line, "-A "):
			s.addRule(table, line[len("-A "):])
		}
	}
	return s
}

// savedChain reads "NAME POLICY [packets:bytes]"; the policy of a chain that
// is not a hook is "-".
func savedChain(table, line string) (chain, bool) {
	name, rest, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(rest, "-") {
		return chain{table, name, true}, true
	}
	own, found := strings.CutPrefix(name, chainPrefix)
	return chain{table, own, false}, found
}

func (s *saved) addRule(table, line string) {
	name, text, _ := strings.Cut(line, " ")
	c := chain{table, name, true}
	if own, found := strings.CutPrefix(name, chainPrefix); found {
		c = chain{table, own, false}
	}
	if !s.has(c) {
		return
	}
	r := savedRule{text: text}
	words := splitWords(text)
	for i, word := range words[:max(0, len(words)-1)] {
		switch word {
		case "--comment":
			r.comment = words[i+1]
		case "-j", "-g":
			r.target = words[i+1]
		}
	}
	s.rules[c] = append(s.rules[c], r)
}

// splitWords splits a line into words as iptables-restore does: double quotes
// hold words together, and a backslash in them takes the next character as
// it is.
func splitWords(line string) []string {
	var words []string
	var word strings.Builder
	quoted, escaped, open := false, false, false
	for _, c := range []byte(line) {
		switch {
		case escaped:
			word.WriteByte(c)
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted, open = !quoted, true
		case c == ' ' && !quoted:
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words
}
