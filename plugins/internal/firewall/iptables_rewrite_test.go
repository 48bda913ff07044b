package firewall

import (
	"regexp"
	"strings"
	"testing"
)

// numbered is the command that puts a rule at a place.
var numbered = regexp.MustCompile(`(?m)^-I (\S+) \d+`)

// asSaved gives what iptables-save tells after a first rewrite.
func asSaved(f family, r Rules) *saved {
	made := rewrite(f, parseSaved(""), wanted(f, r), func(string) bool { return true })
	made = numbered.ReplaceAllString(made, "-A $1")
	for table, hooks := range map[string][]string{filter: {"FORWARD", "INPUT"}, nat: {"PREROUTING", "OUTPUT", "POSTROUTING"}} {
		made = strings.Replace(made, "*"+table+"\n", "*"+table+"\n:"+strings.Join(hooks, " ACCEPT [0:0]\n:")+" ACCEPT [0:0]\n", 1)
	}
	return parseSaved(made)
}

// A removal of all, in which the program asks the kernel nothing after its
// first commit: nat is first, whose matches include filter's. (Asked later,
// the question waits some 10 ms for the memory of what was deleted.)
func TestRemovalAsksBeforeItCommits(t *testing.T) {
	t.Parallel()
	match := regexp.MustCompile(`-m (\S+)`)
	for _, f := range families() {
		input := rewrite(f, asSaved(f, everything()), nil, func(string) bool { return true })
		first, rest, _ := strings.Cut(input, "\nCOMMIT\n")
		if !strings.HasPrefix(first, "*nat\n") || !strings.HasPrefix(rest, "*filter\n") || strings.Count(input, "\n-D ") < 5 {
			t.Fatalf("%s: a removal's tables:\n%s", f, input)
		}
		for _, m := range match.FindAllString(rest, -1) {
			if !strings.Contains(first, m+" ") {
				t.Errorf("%s: %s is met after the first commit:\n%s", f, m, input)
			}
		}
	}
}
