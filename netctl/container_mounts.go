package netctl

import (
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// fillMounts reads -v, --mount, --tmpfs and --volumes-from.
func (c containers) fillMounts(f *containerFlags) func(*runner.Config) error {
	return func(cfg *runner.Config) error {
		for _, kind := range []struct {
			flag  string
			texts []string
			parse func(string) (runner.Mount, error)
		}{
			{"--volume", f.volumes, parseVolume}, {"--mount", f.mounts, parseMount}, {"--tmpfs", f.tmpfs, parseTmpfs},
		} {
			for _, text := range kind.texts {
				m, err := kind.parse(text)
				if err == nil && !f.privilegedPaths {
					err = c.checkSource(m)
				}
				if err == nil {
					err = addMount(cfg, m)
				}
				if err != nil {
					return usageError("%s %s: %w", kind.flag, text, err)
				}
			}
		}
		for _, text := range f.volumesFrom {
			if err := c.mountsOf(cfg, text, f.privilegedPaths); err != nil {
				return usageError("--volumes-from %s: %w", text, err)
			}
		}
		return nil
	}
}

// mountsOf adds what another container, CONTAINER[:ro], has mounted from volumes
// and the host; what this one has at the same place already comes first (docker).
func (c containers) mountsOf(cfg *runner.Config, text string, privileged bool) error {
	ref, mode, _ := strings.Cut(text, ":")
	if mode != "" && mode != "ro" && mode != "rw" {
		return fmt.Errorf("unknown option %q (known: ro, rw)", mode)
	}
	id, err := c.all().Store.Lookup(ref)
	if err != nil {
		return err
	}
	rec, err := c.all().Store.Load(id)
	if err != nil {
		return err
	}
	for _, m := range rec.Mounts {
		taken := slices.ContainsFunc(cfg.Mounts, func(o runner.Mount) bool { return o.Target == m.Target })
		if m.Kind == runner.MountTmpfs || taken {
			continue
		}
		if err := c.checkSource(m); err != nil && !privileged {
			return err
		}
		m.Named, m.ReadOnly = true, m.ReadOnly || mode == "ro"
		cfg.Mounts = append(cfg.Mounts, m)
	}
	return nil
}

func addMount(cfg *runner.Config, m runner.Mount) error {
	if !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) == "/" {
		return fmt.Errorf("the target must be an absolute path below /")
	}
	m.Target = filepath.Clean(m.Target)
	if slices.ContainsFunc(cfg.Mounts, func(o runner.Mount) bool { return o.Target == m.Target }) {
		return fmt.Errorf("something else is mounted at %s already", m.Target)
	}
	cfg.Mounts = append(cfg.Mounts, m)
	return nil
}

// checkSource: the host's root, or our own directories with the files of all
// containers, would make the container a second host.
func (c containers) checkSource(m runner.Mount) error {
	if m.Kind != runner.MountBind {
		return nil
	}
	source := m.Source
	if real, err := filepath.EvalSymlinks(source); err == nil {
		source = real
	}
	for _, own := range []string{c.app.StateDir, c.app.DataDir} {
		if contains(source, own) || contains(own, source) {
			return fmt.Errorf("%s holds or contains netctl's own directory %s; allow it with --privileged-paths", m.Source, own)
		}
	}
	return nil
}

// contains tells whether path lies in dir or is dir.
func contains(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// parseVolume reads SOURCE:TARGET[:OPTIONS], or TARGET for a nameless volume.
func parseVolume(text string) (runner.Mount, error) {
	parts := strings.Split(text, ":")
	switch len(parts) {
	case 1:
		return runner.Mount{Kind: runner.MountVolume, Source: string(runner.NewID()), Target: text}, nil
	case 2, 3:
	default:
		return runner.Mount{}, fmt.Errorf("want SOURCE:TARGET[:OPTIONS]")
	}
	m, err := sourceOf(parts[0])
	if err != nil {
		return m, err
	}
	m.Target = parts[1]
	if len(parts) == 3 {
		err = readVolumeOptions(&m, parts[2])
	}
	return m, err
}

// sourceOf: a path has a slash or begins with a dot, a volume has neither.
func sourceOf(text string) (runner.Mount, error) {
	if strings.ContainsRune(text, '/') || strings.HasPrefix(text, ".") {
		path, err := filepath.Abs(text)
		return runner.Mount{Kind: runner.MountBind, Source: path}, err
	}
	if err := store.CheckVolumeName(text); err != nil {
		return runner.Mount{}, err
	}
	return runner.Mount{Kind: runner.MountVolume, Source: text, Named: true}, nil
}

func readVolumeOptions(m *runner.Mount, list string) error {
	for o := range strings.SplitSeq(list, ",") {
		switch o {
		case "ro", "readonly":
			m.ReadOnly = true
		case "nocopy":
			m.NoCopy = true
		case "idmap":
			m.MapIDs = true
		case "rw", "z", "Z", "rbind", "cached", "delegated", "consistent":
			// the default, or of no meaning here
		case "private", "rprivate", "slave", "rslave", "shared", "rshared", "noexec", "nosuid", "nodev":
			m.Options = append(m.Options, o)
		default:
			return fmt.Errorf("unknown option %q", o)
		}
	}
	return nil
}

// parseTmpfs reads TARGET[:OPTIONS]; the options are mount(8)'s.
func parseTmpfs(text string) (runner.Mount, error) {
	target, options, given := strings.Cut(text, ":")
	m := runner.Mount{Kind: runner.MountTmpfs, Target: target}
	if given && options != "" {
		m.Options = strings.Split(options, ",")
	}
	return m, nil
}

// parseMount reads docker's long form.
func parseMount(text string) (runner.Mount, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return runner.Mount{}, err
	}
	m := runner.Mount{Kind: runner.MountVolume}
	for _, field := range fields {
		key, value, given := strings.Cut(field, "=")
		switch strings.ToLower(key) {
		case "type":
			m.Kind = runner.MountKind(value)
		case "source", "src":
			m.Source = value
		case "target", "destination", "dst":
			m.Target = value
		case "readonly", "ro":
			m.ReadOnly = !given || value == "true" || value == "1"
		case "bind-propagation":
			m.Options = append(m.Options, value)
		case "idmap":
			m.MapIDs = !given || value == "true" || value == "1"
		case "volume-nocopy":
			m.NoCopy = !given || value == "true" || value == "1"
		case "tmpfs-size":
			m.Options = append(m.Options, "size="+value)
		case "tmpfs-mode":
			m.Options = append(m.Options, "mode="+value)
		default:
			return m, fmt.Errorf("unknown key %q", key)
		}
	}
	return m, checkMount(&m)
}

func checkMount(m *runner.Mount) error {
	switch m.Kind {
	case runner.MountBind:
		path, err := filepath.Abs(m.Source)
		if m.Source == "" || err != nil {
			return fmt.Errorf("a bind mount needs a source")
		}
		m.Source = path
	case runner.MountVolume:
		m.Named = m.Source != ""
		if !m.Named {
			m.Source = string(runner.NewID())
		}
		if err := store.CheckVolumeName(m.Source); err != nil {
			return err
		}
	case runner.MountTmpfs:
		if m.Source != "" {
			return fmt.Errorf("a tmpfs has no source")
		}
	default:
		return fmt.Errorf("unknown type %q (known: bind, volume, tmpfs)", m.Kind)
	}
	return nil
}
