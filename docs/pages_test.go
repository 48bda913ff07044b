// Package docs is the pages for users; its only code is this test of them.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = ".."

// files gives the tree's files with one of the endings, by their path from the top.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return fs.SkipDir
		}
		if !d.IsDir() && slices.Contains(endings, filepath.Ext(path)) {
			rel, err := filepath.Rel(top, path)
			found = append(found, rel)
			return err
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no files: %v", err)
	}
	return found
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(top, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// all gives the first group of each match.
func all(pattern, in string) []string {
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(in, -1) {
		found = append(found, m[1])
	}
	return found
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	kept := regexp.MustCompile(`[^\pL\pN_ -]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(kept, " ", "-")
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, page := range files(t, ".md") {
		for _, link := range all(`\]\(([^)\s]+)\)`, text(t, page)) {
			if strings.Contains(link, "://") {
				continue
			}
			name, heading, deep := strings.Cut(link, "#")
			to := page
			if name != "" {
				to = filepath.Join(filepath.Dir(page), name)
			}
			if _, err := os.Stat(filepath.Join(top, to)); err != nil {
				t.Errorf("%s: link %s leads nowhere", page, link)
				continue
			}
			isIt := func(h string) bool { return anchor(h) == heading }
			if deep && !slices.ContainsFunc(all(`(?m)^#+ (.*)$`, text(t, to)), isIt) {
				t.Errorf("%s: link %s leads to no heading of %s", page, link, to)
			}
		}
	}
}

// Pages and comments send readers to tests and targets.
func TestWhatPagesNameIsThere(t *testing.T) {
	functions, targets := map[string]bool{}, map[string]bool{}
	for _, file := range files(t, ".go") {
		if strings.HasSuffix(file, "_test.go") {
			for line := range strings.Lines(text(t, file)) {
				if name, is := strings.CutPrefix(line, "func "); is {
					name, _, _ = strings.Cut(name, "(")
					functions[name] = true
				}
			}
		}
	}
	for _, target := range all(`(?m)^([a-z0-9-]+):`, text(t, "Makefile")) {
		targets[target] = true
	}
	for _, page := range files(t, ".md") {
		for _, name := range all(`\b((?:Test|Benchmark|Fuzz)[A-Z]\w+)`, text(t, page)) {
			if !functions[name] {
				t.Errorf("%s names %s, which is no test", page, name)
			}
		}
		for _, target := range all("(?m)(?:`|^    )make ([a-z0-9-]+)", text(t, page)) {
			if !targets[target] {
				t.Errorf("%s names `make %s`, which is no target", page, target)
			}
		}
	}
	for _, file := range files(t, ".go", ".sh") {
		if content := text(t, file); strings.Contains(content, "`make ") {
			for _, target := range all("`make ([a-z0-9-]+)", content) {
				if !targets[target] {
					t.Errorf("%s names `make %s`, which is no target", file, target)
				}
			}
		}
	}
}
