package netctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/go-archive"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner/engine"
	"github.com/netctl/netctl/netctl/runner/lifecycle"
)

func (c containers) copy() *cobra.Command {
	var o lifecycle.CopyOptions
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:PATH PATH|-  or  cp [OPTIONS] PATH|- CONTAINER:PATH",
		Short: "Copy files between a container, running or stopped, and the host",
		Long: `Copy files between a container, running or stopped, and the host. What is copied
belongs to root afterwards, and on the host without set-user-ID bits, capabilities
and device nodes, unless --archive is given. '-' is an archive (tar) on standard
output or input.`,
		Example: `  netctl cp web:/etc/nginx ./nginx
  netctl cp index.html web:/usr/share/nginx/html/`,
		Args:              args(2, 2),
		ValidArgsFunction: c.completeCopy,
		RunE: func(cmd *cobra.Command, args []string) error {
			engine.LogTo(c.app.Log, "cp") // says which files could not be read
			return c.copyBetween(cmd.Context(), args[0], args[1], o)
		},
	}
	cmd.Flags().BoolVarP(&o.KeepOwner, "archive", "a", false, "keep the numbers of user and group, set-user-ID bits and device nodes")
	cmd.Flags().BoolVarP(&o.FollowLink, "follow-link", "L", false, "copy what a symbolic link PATH leads to")
	cmd.Flags().BoolP("quiet", "q", false, "")
	_ = cmd.Flags().MarkHidden("quiet") // there is nothing to silence
	return cmd
}

func (c containers) copyBetween(ctx context.Context, from, to string, o lifecycle.CopyOptions) error {
	source, sourcePath, outOf := cutContainer(from)
	dest, destPath, into := cutContainer(to)
	switch {
	case outOf && into:
		return usageError("cp between two containers: copy to the host first, or pipe: netctl cp %s - | netctl cp - %s", from, to)
	case outOf:
		return c.explain(c.copyOut(ctx, source, sourcePath, to, o), source)
	case into:
		return c.explain(c.copyIn(ctx, from, dest, destPath, o), dest)
	}
	e := usageError("neither %s nor %s names a container", from, to)
	e.Hint = "write CONTAINER:PATH on one side"
	return e
}

// cutContainer splits CONTAINER:PATH. A path of the host that has a colon in it
// is written with a slash before the colon, as in ./a:b.
func cutContainer(text string) (container, path string, ok bool) {
	container, path, ok = strings.Cut(text, ":")
	if !ok || container == "" || strings.HasPrefix(text, ".") || strings.Contains(container, "/") {
		return "", "", false
	}
	return container, path, true
}

func (c containers) copyOut(ctx context.Context, ref, path, to string, o lifecycle.CopyOptions) error {
	all := c.all()
	rec, err := all.Find(ctx, ref)
	if err != nil {
		return err
	}
	if to == "-" && isTerminal(c.app.Stdin) && isTerminalOut(c.app.Stdout) {
		return usageError("cp to -: standard output is a terminal, and an archive is no text; redirect it")
	}
	return all.CopyOut(ctx, &rec, path, o, func(content io.Reader, info archive.CopyInfo) error {
		if to == "-" {
			_, err := io.Copy(c.app.Stdout, content)
			return err
		}
		return unpackHere(content, info, to, o)
	})
}

func isTerminalOut(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}

// unpackHere is docker's rules for a destination on the host.
func unpackHere(content io.Reader, info archive.CopyInfo, to string, o lifecycle.CopyOptions) error {
	path, err := hostPath(to)
	if err != nil {
		return err
	}
	dest, err := archive.CopyInfoDestinationPath(path)
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	dir, ready, err := archive.PrepareArchiveCopy(content, info, dest)
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	defer ready.Close()
	if !o.KeepOwner {
		ready = withoutPowers(ready)
		defer ready.Close()
	}
	return archive.UntarUncompressed(ready, dir, &archive.TarOptions{NoLchown: !o.KeepOwner, NoOverwriteDirNonDir: true, BestEffortXattrs: true})
}

func (c containers) copyIn(ctx context.Context, from, ref, path string, o lifecycle.CopyOptions) error {
	all := c.all()
	rec, err := all.Find(ctx, ref)
	if err != nil {
		return err
	}
	if from == "-" {
		return all.CopyIn(ctx, &rec, c.app.Stdin, archive.CopyInfo{}, path, o)
	}
	host, err := hostPath(from)
	if err != nil {
		return err
	}
	info, err := archive.CopyInfoSourcePath(host, o.FollowLink)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	content, err := archive.TarResource(info)
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return errors.Join(all.CopyIn(ctx, &rec, content, info, path, o), content.Close())
}

// hostPath makes a path absolute and keeps a slash or dot at its end, which mean
// something to cp.
func hostPath(text string) (string, error) {
	path, err := filepath.Abs(text)
	return archive.PreserveTrailingDotOrSeparator(path, text), err
}

// completeCopy proposes containers with a colon, beside files.
func (c containers) completeCopy(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 1 || strings.ContainsAny(typed, ":/.") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	names, _ := c.completion(anyStatus)(cmd, nil, typed)
	for i := range names {
		name, _, _ := strings.Cut(names[i], "\t")
		names[i] = name + ":"
	}
	return names, cobra.ShellCompDirectiveDefault | cobra.ShellCompDirectiveNoSpace
}
