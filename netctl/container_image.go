package netctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// creator writes the record of a container.
type creator func(*runner.Config) error

// make makes the container that the flags describe. Its image is fetched if
// need be, and can't be removed between being looked up and the container's
// record, which from then on keeps it. When it is there begin is called, and what
// that returns writes the record.
func (c containers) make(ctx context.Context, f *containerFlags, args []string, begin func() creator) (*runner.Config, error) {
	if len(f.rootfs) == 0 && isReference(args[0]) {
		if err := (images(c)).ensure(ctx, args[0], f.pull, f.source); err != nil {
			return nil, beforeRun(err)
		}
		release, err := images(c).store().Hold()
		if err != nil {
			return nil, err
		}
		defer release()
	}
	create := begin()
	cfg, err := c.newConfig(f, args)
	if err != nil {
		return nil, err
	}
	if err := c.replaced(ctx, f); err != nil {
		return nil, err
	}
	return cfg, noIDs(create(cfg))
}

// replaced removes the container that has the name (--replace), once it is known that
// the new one can be made.
func (c containers) replaced(ctx context.Context, f *containerFlags) error {
	if !f.replace {
		return nil
	}
	if f.name == "" {
		return usageError("--replace needs --name")
	}
	all := c.all()
	rec, err := all.Find(ctx, f.name)
	switch {
	case isMissing(err), err == nil && rec.Name != f.name: // found by its ID
		return nil
	case err != nil:
		return err
	}
	if err := all.Remove(ctx, &rec, true); err != nil {
		return fmt.Errorf("--replace %s: %w", f.name, err)
	}
	return nil
}

// beforeRun: whatever went wrong, it is not the program's status.
func beforeRun(err error) error {
	var own *Error
	if errors.As(err, &own) {
		return &Error{Status: ExitUsage, Err: own.Err, Hint: own.Hint}
	}
	return err
}

// fromImage takes from an image what the flags leave open.
func (c containers) fromImage(f *containerFlags, cfg *runner.Config, name string) error {
	s := images(c).store()
	img, err := s.Find(name)
	if err != nil {
		return beforeRun(images(c).explain(err))
	}
	if cfg.Layers, err = s.Layers(&img); err != nil {
		return err
	}
	cfg.ImageID = string(img.ID)
	f.defaults = defaultsOf(&img)
	return nil
}

// imageDefaults are what an image says about its containers. The zero value is
// that of a directory.
type imageDefaults struct {
	entrypoint, command, env  []string
	workdir, user, stopSignal string
	exposed                   []string
	volumes                   []string
	labels                    map[string]string
	health                    runner.HealthCheck
	isImage                   bool
}

func defaultsOf(img *image.Image) imageDefaults {
	c := img.Config.Config
	return imageDefaults{
		entrypoint: c.Entrypoint, command: c.Cmd, env: c.Env, workdir: c.WorkingDir, user: c.User, stopSignal: c.StopSignal,
		exposed: slices.Sorted(maps.Keys(c.ExposedPorts)), volumes: slices.Sorted(maps.Keys(c.Volumes)), labels: c.Labels, isImage: true, health: healthOf(img),
	}
}

// healthOf is the image's HEALTHCHECK. One that is to be run all the time is run as often
// as we do that.
func healthOf(img *image.Image) runner.HealthCheck {
	h := img.Config.Config.Healthcheck
	if h == nil {
		return runner.HealthCheck{}
	}
	check := runner.HealthCheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	for _, d := range []*time.Duration{&check.Interval, &check.Timeout} {
		if *d > 0 {
			*d = max(*d, runner.MinHealthInterval)
		}
	}
	return check
}

// fillCommand joins entry point and command. An entry point of the user's makes
// the image's command meaningless, and is given without it (docker). A root file
// system that is no image has a shell.
func (f *containerFlags) fillCommand(p *runner.Process, command []string) error {
	d := f.defaults
	entrypoint := d.entrypoint
	if f.entrypoint.given {
		entrypoint, d.command = nil, nil
		if f.entrypoint.text != "" {
			entrypoint = []string{f.entrypoint.text}
		}
	}
	if len(command) == 0 {
		command = d.command
	}
	p.Args, p.EntrypointArgs = slices.Concat(entrypoint, command), len(entrypoint)
	switch {
	case len(p.Args) > 0:
		return nil
	case d.isImage:
		e := usageError("no command given, and the image has none")
		e.Hint = "name the program after the image"
		return e
	}
	p.Args = []string{"/bin/sh"}
	return nil
}

// fillFromImage merges what the image says with what the flags say.
func (f *containerFlags) fillFromImage(cfg *runner.Config) error {
	d := f.defaults
	left := slices.DeleteFunc(slices.Clone(d.env), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(f.unsetEnv, name)
	})
	cfg.Process.Env = spec.MergeEnv(left, cfg.Process.Env)
	if cfg.Process.Dir == "" {
		cfg.Process.Dir = d.workdir
	}
	if cfg.Process.User == "" {
		cfg.Process.User = d.user
	}
	if cfg.StopSignal == "" && d.stopSignal != "" {
		if _, err := parseSignal(d.stopSignal); err != nil {
			return fmt.Errorf("image %s: stop signal: %w", cfg.Image, err)
		}
		cfg.StopSignal = d.stopSignal
	}
	if len(d.labels) > 0 {
		labels := maps.Clone(d.labels)
		maps.Copy(labels, cfg.Labels)
		cfg.Labels = labels
	}
	for _, target := range d.volumes {
		if err := addImageVolume(cfg, target); err != nil {
			return fmt.Errorf("image %s: volume %s: %w", cfg.Image, target, err)
		}
	}
	return nil
}

// addImageVolume gives the container a nameless volume, unless something is mounted
// there already. What the image says is a path and nothing but a path: read as -v
// is, "/etc:/x" would show it the host's files.
func addImageVolume(cfg *runner.Config, target string) error {
	if slices.ContainsFunc(cfg.Mounts, func(o runner.Mount) bool { return o.Target == filepath.Clean(target) }) {
		return nil
	}
	return addMount(cfg, runner.Mount{Kind: runner.MountVolume, Source: string(runner.NewID()), Target: target})
}

// optionalText is a flag for which empty and absent differ.
type optionalText struct {
	text  string
	given bool
}

func (o *optionalText) String() string     { return o.text }
func (o *optionalText) Set(v string) error { *o = optionalText{v, true}; return nil }
func (o *optionalText) Type() string       { return "string" }

// optionalInt is a number for which 0 and absent differ.
type optionalInt struct{ value *int }

func (o *optionalInt) String() string {
	if o.value == nil {
		return ""
	}
	return strconv.Itoa(*o.value)
}

func (o *optionalInt) Set(text string) error {
	n, err := strconv.Atoi(text)
	o.value = &n
	return err
}

func (o *optionalInt) Type() string { return "int" }

// pullPolicyFlag is --pull.
type pullPolicyFlag struct{ policy *pullPolicy }

func (p pullPolicyFlag) String() string {
	if p.policy == nil {
		return ""
	}
	return string(*p.policy)
}

func (p pullPolicyFlag) Set(v string) error {
	switch policy := pullPolicy(v); policy {
	case pullMissing, pullAlways, pullNever:
		*p.policy = policy
		return nil
	}
	return fmt.Errorf("want missing, always or never")
}
func (p pullPolicyFlag) Type() string { return "policy" }
