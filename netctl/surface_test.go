package netctl

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryCommandIsTyped holds that there is no command, no other name of one
// and no flag that the scripts do not type. A flag counts where netctl took it,
// not where a script has it refused. Commands that are in two places
// (`netctl run`, `netctl container run`) are typed in both; their flags in one
// of them.
func TestEveryCommandIsTyped(t *testing.T) {
	root := surfaceRoot()
	seen := surface{commands: map[string]bool{}, flags: map[string]bool{}, refused: map[string]bool{}}
	for _, script := range scriptFiles(t) {
		for _, line := range typedLines(t, script) {
			seen.read(root, line)
		}
	}
	missing := map[string]bool{}
	visit(root, func(cmd *cobra.Command) {
		for _, name := range append([]string{cmd.Name()}, cmd.Aliases...) {
			path := strings.TrimSpace(strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + name)
			if !seen.commands[path] {
				t.Errorf("no script types %s", path)
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if flag := flagPath(root, cmd, f); f.Name != "help" && !seen.flags[flag] {
				missing[flag] = true
			}
		})
	})
	// These are there so that who knows them elsewhere is told why not.
	for _, flag := range []string{"netctl network create --ipam-opt", "netctl volume create --opt"} {
		if seen.refused[flag] && missing[flag] {
			delete(missing, flag)
		} else {
			t.Errorf("no script has %s refused, or one has it accepted", flag)
		}
	}
	for _, flag := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("no script has %s accepted", flag)
	}
}

// surfaceRoot is the tree of commands with those that cobra adds when it runs.
func surfaceRoot() *cobra.Command {
	root := newRoot(&App{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard}, func(string) string { return "" })
	root.InitDefaultCompletionCmd()
	root.InitDefaultVersionFlag()
	return root
}

func visit(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		visit(sub, f)
	}
}

// flagPath is where a flag is counted: once for all commands that have it from
// the same place.
func flagPath(root, cmd *cobra.Command, f *pflag.Flag) string {
	owner := canonical(root, cmd)
	if root.PersistentFlags().Lookup(f.Name) != nil {
		owner = root.Name()
	}
	if run, _, err := root.Find([]string{"container", "run"}); err == nil && owner == "netctl container create" && run.Flags().Lookup(f.Name) != nil {
		owner = run.CommandPath() // containerFlags, both
	}
	return owner + " --" + f.Name
}

// canonical is the one name of a command under which its flags are counted.
// Two are one command if they have the same flags and the same last word but one
// place is the top; `images` and `rmi`, docker's old words, are named here.
func canonical(root, cmd *cobra.Command) string {
	old := map[string]string{"ps": "container ls", "images": "image ls", "rmi": "image rm"}
	if to, ok := old[cmd.Name()]; ok {
		return root.Name() + " " + to
	}
	if cmd.Parent() != root || cmd.Name() == "inspect" { // the top one has --type
		return cmd.CommandPath()
	}
	for _, group := range []string{"network", "container", "image"} {
		// The top's create is the network's (spec cli 1.1).
		twin, _, err := root.Find([]string{group, cmd.Name()})
		if err == nil && twin.Name() == cmd.Name() && maps.Equal(flagNames(twin), flagNames(cmd)) {
			return twin.CommandPath()
		}
	}
	return cmd.CommandPath()
}

func flagNames(cmd *cobra.Command) map[string]string {
	names := map[string]string{}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { names[f.Name] = f.Usage })
	return names
}

func scriptFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return files
}

// typedLine is a call of netctl in a script.
type typedLine struct {
	words   []string // after netctl
	refused bool
}

// typedLines finds the calls in a script, those in its shell programs too.
func typedLines(t *testing.T, path string) []typedLine {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []typedLine
	for line := range strings.Lines(string(archive.Comment)) {
		words := shellWords(line)
		refused := len(words) > 0 && words[0] == "!"
		if refused {
			words = words[1:]
		}
		switch {
		case len(words) == 0:
		case words[0] == "netctl":
			lines = append(lines, typedLine{words[1:], refused})
		case words[0] == "status" && len(words) > 3 && words[2] != "netctl", words[0] == "exec":
			for _, word := range words[1:] {
				lines = append(lines, calls(word)...)
			}
			lines = append(lines, calls(strings.Join(words[1:], " "))...)
		case words[0] == "status" && len(words) > 3:
			lines = append(lines, typedLine{words[3:], words[1] == "125"}) // else it was taken, and failed
		}
	}
	for _, file := range archive.Files {
		if strings.HasSuffix(file.Name, ".sh") {
			lines = append(lines, calls(string(file.Data))...)
		}
	}
	return lines
}

// calls finds netctl in a shell program.
func calls(program string) []typedLine {
	var lines []typedLine
	for _, command := range strings.FieldsFunc(program, func(r rune) bool { return strings.ContainsRune(";|&()\n", r) }) {
		words := shellWords(command)
		if i := slices.Index(words, "netctl"); i >= 0 {
			lines = append(lines, typedLine{words: words[i+1:]})
		}
	}
	return lines
}

// shellWords splits at spaces outside of quotes, and takes the quotes away.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	inside := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inside = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inside || word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
			inside = false
		default:
			word.WriteRune(r)
		}
	}
	if inside || word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}

// surface is what has been typed: commands by their paths, flags as
// "COMMAND --FLAG".
type surface struct{ commands, flags, refused map[string]bool }

func (s surface) read(root *cobra.Command, line typedLine) {
	cmd, path, words := root, root.Name(), line.words
	s.commands[path] = true
	for len(words) > 0 {
		switch word := words[0]; {
		case word == "--":
			return
		case len(word) > 1 && word[0] == '-':
			words = words[1:]
			if s.flag(root, cmd, word, line.refused) && len(words) > 0 {
				words = words[1:]
			}
			continue
		case cmd.HasSubCommands():
			sub := subCommand(cmd, word)
			if sub == nil {
				return
			}
			cmd, path = sub, path+" "+word
			s.commands[path] = true
		case !interspersed(cmd):
			return
		}
		words = words[1:]
	}
}

func subCommand(cmd *cobra.Command, word string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == word || slices.Contains(sub.Aliases, word) {
			return sub
		}
	}
	return nil
}

// interspersed tells whether flags may follow arguments: pflag knows it and does
// not tell, but looks at a flag behind an argument only then.
func interspersed(cmd *cobra.Command) bool {
	return cmd.Flags().Parse([]string{"argument", "--no-such-flag"}) != nil
}

// flag notes a word such as --name, --name=value or -it, and tells whether the
// next word is its value.
func (s surface) flag(root, cmd *cobra.Command, word string, refused bool) (takesNext bool) {
	note := func(f *pflag.Flag) bool {
		if f == nil {
			return false
		}
		if refused {
			s.refused[flagPath(root, cmd, f)] = true
		} else {
			s.flags[flagPath(root, cmd, f)] = true
		}
		return f.NoOptDefVal == ""
	}
	if long, ok := strings.CutPrefix(word, "--"); ok {
		name, _, given := strings.Cut(long, "=")
		f := cmd.Flags().Lookup(name)
		if f == nil {
			f = root.PersistentFlags().Lookup(name)
		}
		return note(f) && !given
	}
	for i, letter := range word[1:] {
		f := cmd.Flags().ShorthandLookup(string(letter))
		if f == nil {
			f = root.PersistentFlags().ShorthandLookup(string(letter))
		}
		if note(f) {
			return i == len(word)-2
		}
	}
	return false
}

// TestEveryRowIsTyped holds testdata/rows.txt to the scripts. It has a line for
// each row of the specification's command line that is marked M or S, with the
// line of a script that types it:
//
//	SECTION | PRIORITY | WHAT | SCRIPT | LINE
//
// The script has a line that begins with LINE.
func TestEveryRowIsTyped(t *testing.T) {
	text, err := os.ReadFile("testdata/rows.txt")
	if err != nil {
		t.Fatal(err)
	}
	scripts := map[string][]string{}
	for _, path := range scriptFiles(t) {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		scripts[name] = strings.Split(string(archive.Comment), "\n")
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		rows++
		if err := checkRow(line, scripts); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if rows < 100 {
		t.Errorf("%d rows: where are the others?", rows)
	}
}

func checkRow(row string, scripts map[string][]string) error {
	column := strings.SplitN(row, " | ", 5)
	if len(column) != 5 {
		return fmt.Errorf("want five columns, not %d", len(column))
	}
	if !slices.Contains([]string{"M", "S", "-"}, column[1]) {
		return fmt.Errorf("priority %s", column[1])
	}
	lines, ok := scripts[column[3]]
	if !ok {
		return fmt.Errorf("no script %s", column[3])
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, column[4]) }) {
		return fmt.Errorf("script %s has no such line", column[3])
	}
	return nil
}
