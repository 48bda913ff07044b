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

// TestCommandsOfOthers is the same for their commands.
func TestCommandsOfOthers(t *testing.T) {
	root := surfaceRoot()
	for group, verbs := range map[string]string{
		"": `attach auto-update build builder buildx checkpoint clone commit compose config container context cp create diff events exec export
			farm generate healthcheck history image images import info init inspect kill kube load login logout logs machine manifest mount network node
			pause play plugin pod port ps pull push rename restart restore rm rmi run save search secret service stack start stats stop swarm system tag
			top trust umount unmount unpause unshare untag update version volume wait artifact quadlet`,
		"container": `attach checkpoint cleanup clone commit cp create diff exec exists export init inspect kill list logs ls mount pause port prune ps
			rename restart restore rm run runlabel start stats stop top unmount unpause update wait`,
		"image":   "build diff exists history import inspect list load ls mount prune pull push rm save scp search sign tag tree trust unmount untag",
		"network": "connect create disconnect exists inspect ls prune reload rm update",
		"volume":  "create exists export import inspect ls mount prune reload rm unmount update",
		"system":  "connection df events info migrate prune renumber reset service check",
	} {
		for _, verb := range strings.Fields(verbs) {
			path := strings.Fields(group + " " + verb)
			cmd, rest, err := root.Find(path)
			ours := err == nil && len(rest) == 0 && cmd.Name() != group && cmd != root
			if !ours && elsewhereCommand(strings.TrimSpace("netctl "+group), verb) == "" {
				t.Errorf("%s: neither a command nor a hint", strings.Join(path, " "))
			}
		}
	}
}
