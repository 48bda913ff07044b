// Package page writes what a benchmark found into a page of documentation: a
// generated section between two markers, so that prose and figures can't drift
// apart, and plots as SVG files beside it.
package page

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A Section is what one benchmark has to say. It is Markdown.
type Section struct {
	name string
	text strings.Builder
	// plots are SVG files by the end of their name.
	plots map[string]string
}

// New begins the section of a benchmark, such as "attach".
func New(name string) *Section {
	return &Section{name: name, plots: map[string]string{}}
}

// Printf adds a line.
func (s *Section) Printf(format string, args ...any) {
	fmt.Fprintf(&s.text, format+"\n", args...)
}

// Table adds a table; the first row is its head.
func (s *Section) Table(rows [][]string) {
	s.Printf("")
	for i, row := range rows {
		s.Printf("| %s |", strings.Join(row, " | "))
		if i == 0 {
			s.Printf("|%s", strings.Repeat(" --- |", len(row)))
		}
	}
	s.Printf("")
}

// Plot adds a picture of that name, an SVG document.
func (s *Section) Plot(name, title, svg string) {
	s.plots[name] = svg
	s.Printf("![%s](%s)", title, s.file(name))
	s.Printf("")
}

func (s *Section) file(plot string) string { return s.name + "-" + plot + ".svg" }

// String gives the section's text.
func (s *Section) String() string { return s.text.String() }

// Write puts the section into the page at path in place of the one of the same
// name, or at its end, and the plots beside the page.
func (s *Section) Write(path string) error {
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read page: %w", err)
	}
	if err := os.WriteFile(path, s.into(old), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	for name, svg := range s.plots {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), s.file(name)), []byte(svg), 0o644); err != nil {
			return fmt.Errorf("write plot: %w", err)
		}
	}
	return nil
}

// into replaces the section in a page.
func (s *Section) into(old []byte) []byte {
	begin := fmt.Sprintf("<!-- begin bench/%s: generated, do not edit -->\n", s.name)
	end := fmt.Sprintf("<!-- end bench/%s -->\n", s.name)
	section := begin + s.text.String() + end
	before, rest, found := bytes.Cut(old, []byte(begin))
	if !found {
		return append(bytes.TrimRight(old, "\n"), "\n\n"+section...)
	}
	_, after, _ := bytes.Cut(rest, []byte(end))
	return bytes.Join([][]byte{before, []byte(section), after}, nil)
}

// Machine says where and when a run was made.
func Machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%s, Linux %s, %d CPUs, load average at the end %s", time.Now().Format("2006-01-02 15:04"),
		strings.TrimSpace(string(kernel)), runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:1], " "))
}
