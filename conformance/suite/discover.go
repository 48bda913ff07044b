// Package suite decides which rows are judged on which plugins, runs them in
// parallel, and settles what counts as a known deviation.
package suite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/netctl/netctl/conformance/lab"
	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

// Target says what to judge.
type Target struct {
	Dirs  []string              // where the plugins are, in CNI_PATH order
	Confs []string              // .conf and .conflist files
	Kinds map[string]trial.Kind // stated parts, by plugin type
	Env   map[string]string     // additional environment of every call
	Self  string                // the executable that plays the delegate
}

// List is a network configuration: a name and its plugins.
type List struct {
	Name    string
	Version string
	Plugins []protocol.Conf
}

// ReadList reads a configuration list, or a single configuration as a list of one.
func ReadList(file string) (*List, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	conf, err := protocol.ParseConf(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	l := &List{Name: conf.String("name"), Version: conf.String("cniVersion")}
	if l.Name == "" {
		return nil, fmt.Errorf(`%s: "name" is missing`, file)
	}
	entries, isList := conf["plugins"].([]any)
	if !isList {
		entries = []any{map[string]any(conf)}
	}
	for i, entry := range entries {
		obj, _ := entry.(map[string]any)
		plugin := protocol.Conf(obj)
		if plugin.String("type") == "" {
			return nil, fmt.Errorf(`%s: plugins[%d]: "type" is missing`, file, i)
		}
		l.Plugins = append(l.Plugins, privateState(plugin.WithKey("name", l.Name)))
	}
	return l, nil
}

// privateState moves a stated data directory into the lab's private /var/lib.
func privateState(conf protocol.Conf) protocol.Conf {
	for _, path := range []string{"dataDir", "ipam.dataDir"} {
		if conf.String(path) != "" {
			conf = conf.With(path, "/var/lib/cni/conformance-data")
		}
	}
	return conf
}

// discovery asks the plugins of a target, all on one lab host.
type discovery struct {
	Target
	host *lab.Host
}

// Discover finds the subjects of a target: each plugin of each list in its
// place, the IPAM plugin it delegates to, and the list itself.
func Discover(ctx context.Context, target Target) ([]*trial.Subject, error) {
	host, err := lab.NewHost(lab.Options{Keep: target.Dirs, Self: target.Self})
	if err != nil {
		return nil, err
	}
	defer host.Close()
	d := discovery{target, host}
	var out []*trial.Subject
	for _, file := range target.Confs {
		list, err := ReadList(file)
		if err != nil {
			return nil, err
		}
		subjects, err := d.list(ctx, list)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, subjects...)
	}
	return distinct(out), nil
}

// distinct drops what need not be judged twice: a plugin that stands in several
// lists with the same configuration, and an IPAM plugin that several plugins
// delegate to. A plugin that stands in another list with another configuration
// gets a name with the list's in it.
func distinct(subjects []*trial.Subject) []*trial.Subject {
	seen := map[string][]string{} // configurations by name
	var out []*trial.Subject
	for _, s := range subjects {
		conf := string(s.Conf.Without("name").JSON())
		if slices.Contains(seen[s.Name], conf) || s.Kind == trial.IPAM && len(seen[s.Name]) > 0 {
			continue
		}
		first := s.Name
		seen[first] = append(seen[first], conf)
		if len(seen[first]) > 1 {
			s.Name += "@" + s.Conf.String("name")
			seen[s.Name] = append(seen[s.Name], conf)
		}
		if n := len(seen[s.Name]); n > 1 {
			s.Name += fmt.Sprintf("#%d", n)
		}
		out = append(out, s)
	}
	return out
}

func (d discovery) list(ctx context.Context, list *List) ([]*trial.Subject, error) {
	var members, out []*trial.Subject
	for i, conf := range list.Plugins {
		s, err := d.subject(ctx, conf, conf.String("type"), list.Version, uplink(list))
		if err != nil {
			return nil, err
		}
		if s.Kind, err = d.kind(ctx, s, i); err != nil {
			return nil, err
		}
		members, out = append(members, s), append(out, s)
		if ipam, err := d.ipam(ctx, s); err != nil {
			return nil, err
		} else if ipam != nil {
			s.Kind |= trial.Delegating
			out = append(out, ipam)
		}
	}
	if members[0].Kind&trial.Interface == 0 {
		return out, nil
	}
	whole := *members[0]
	whole.Name, whole.Kind, whole.Members = "list:"+list.Name, trial.List, members
	return append(out, &whole), nil
}

// uplink is the name the configuration expects the parent interface to have.
func uplink(list *List) string {
	for _, conf := range list.Plugins {
		if master := conf.String("master"); master != "" {
			return master
		}
	}
	return ""
}

// subject finds the executable of a type and asks it for its versions.
func (d discovery) subject(ctx context.Context, conf protocol.Conf, plugin, version, uplink string) (*trial.Subject, error) {
	path, err := find(d.Dirs, plugin)
	if err != nil {
		return nil, err
	}
	s := &trial.Subject{Name: plugin, Type: plugin, Plugin: path, Path: d.Dirs, Env: d.Env, Uplink: uplink, Conf: conf, Delegate: conf.String("ipam.type")}
	ask := trial.Probe(s, protocol.Version, protocol.Conf{"cniVersion": "1.0.0"})
	reply, err := d.host.Call(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", path, err)
	}
	versions, err := reply.Versions()
	if err != nil {
		return nil, fmt.Errorf("%s does not answer VERSION: %w", path, err)
	}
	s.Versions = versions.Supported
	if !s.Supports(version) {
		version = s.Latest()
	}
	s.Conf = conf.WithKey("cniVersion", version)
	return s, nil
}

// find looks a type up the way runtimes do: the first regular file.
func find(dirs []string, plugin string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, plugin)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("plugin %q is not in %v: %w", plugin, dirs, fs.ErrNotExist)
}

// ipam is the subject for the plugin that s delegates to. A type without a
// file is part of s itself and is judged through it.
func (d discovery) ipam(ctx context.Context, s *trial.Subject) (*trial.Subject, error) {
	if s.Delegate == "" || s.Kind&trial.IPAM != 0 {
		return nil, nil
	}
	sub, err := d.subject(ctx, s.Conf, s.Delegate, s.Conf.String("cniVersion"), s.Uplink)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sub.Kind, sub.Delegate = trial.IPAM, ""
	return sub, nil
}

// kind is the part a plugin plays: stated, or found out by trying. A plugin
// behind another one is chained. The first one shows by its result what it is.
func (d discovery) kind(ctx context.Context, s *trial.Subject, position int) (trial.Kind, error) {
	if kind, stated := d.Kinds[s.Type]; stated {
		return kind, nil
	}
	if position > 0 {
		return trial.Chained, nil
	}
	var kind trial.Kind
	probe := &trial.Row{ID: "discover", Check: func(t *trial.T) { kind = trial.Recognise(t) }}
	out := trial.Judge(ctx, probe, s, d.Self)
	if kind == 0 {
		return 0, fmt.Errorf("cannot find out what part %s plays; state it with --kind %[1]s=interface: %s", s.Name, out.Reason)
	}
	return kind, nil
}
