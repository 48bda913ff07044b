package netctl

import (
	"os"
	"strings"
	"testing"
)

// TestFlagsOfOthers: who types a flag of docker's or podman's gets it, or is told what to
// do instead; "see --help" is no answer.
func TestFlagsOfOthers(t *testing.T) {
	text, err := os.ReadFile("testdata/flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	root := surfaceRoot()
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		for i, word := range words {
			if !strings.HasPrefix(word, "-") {
				continue
			}
			path := words[1:min(3, i)]
			for len(path) > 0 && strings.HasPrefix(path[len(path)-1], "-") {
				path = path[:len(path)-1]
			}
			cmd, _, err := root.Find(path)
			if err != nil || cmd == root {
				t.Fatalf("%s: %v", strings.Join(path, " "), err)
			}
			name, short := strings.TrimLeft(word, "-"), !strings.HasPrefix(word, "--")
			has := cmd.Flags().Lookup(name) != nil || name == "help"
			if short {
				has = cmd.Flags().ShorthandLookup(name) != nil
			}
			if !has && elsewhereFlag(cmd.CommandPath(), name) == "" {
				t.Errorf("%s %s: neither a flag nor a hint", strings.Join(path, " "), word)
			}
		}
	}
}
