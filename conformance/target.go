package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/suite"
	"github.com/netctl/netctl/conformance/trial"
)

// target is what the flags say is to be judged.
func (f *runFlags) target() (suite.Target, error) {
	self, err := os.Executable()
	if err != nil {
		return suite.Target{}, fmt.Errorf("find the program's own file: %w", err)
	}
	target := suite.Target{Confs: f.confs, Self: self, Kinds: map[string]trial.Kind{}, Env: map[string]string{}}
	for _, dir := range f.dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return suite.Target{}, fmt.Errorf("--plugin-dir %q: %w", dir, err)
		}
		target.Dirs = append(target.Dirs, abs)
	}
	kinds := []trial.Kind{trial.Interface, trial.Chained, trial.IPAM, trial.Other}
	for _, pair := range f.kinds {
		plugin, name, _ := strings.Cut(pair, "=")
		i := slices.IndexFunc(kinds, func(k trial.Kind) bool { return k.String() == name })
		if i < 0 {
			return suite.Target{}, fmt.Errorf("--kind %q: want TYPE=interface, chained, ipam or other", pair)
		}
		target.Kinds[plugin] = kinds[i]
	}
	for _, pair := range f.env {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return suite.Target{}, fmt.Errorf("--env %q: want KEY=VALUE", pair)
		}
		target.Env[key] = value
	}
	return target, nil
}

// command is the command line of the run, without what only this one wanted:
// filter, subjects, reports. The program is called what it was called by.
func (p *plan) command() string {
	words := []string{os.Args[0], "run"}
	add := func(flag string, values ...string) {
		for _, v := range values {
			words = append(words, flag, v)
		}
	}
	add("--plugin-dir", p.dirs...)
	add("--conf", p.confs...)
	add("--kind", p.kinds...)
	add("--env", p.env...)
	add("--profile", string(p.profile))
	for i := range words {
		words[i] = protocol.Quote(words[i])
	}
	return strings.Join(words, " ")
}
