package netctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/archive"
)

func (i images) load() *cobra.Command {
	var input string
	var f pullFlags
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Take images from an archive or an OCI layout",
		Long: `Take images from what 'docker save', 'podman save' or 'netctl save' wrote (also
compressed with gzip or zstd), from an OCI archive, or from a directory with an
OCI layout.`,
		Example:           "  netctl load -i alpine.tar\n  docker save alpine | netctl load",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return i.explain(i.loadFrom(cmd.Context(), input, f))
		},
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "file or directory (default: standard input)")
	cmd.Flags().StringVar(&f.platform, "platform", "", "OS/ARCHITECTURE[/VARIANT] to take of an image for several (default: this machine's)")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "do not show progress")
	return cmd
}

func (i images) loadFrom(ctx context.Context, input string, f pullFlags) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	want, err := image.ParsePlatform(f.platform)
	if err != nil {
		return usageError("--platform: %w", err)
	}
	a, err := i.openArchive(input)
	if err != nil {
		return fmt.Errorf("load %s: %w", orStdin(input), err)
	}
	defer a.Close()
	found, err := a.Images(want)
	if err != nil {
		return fmt.Errorf("load %s: %w", orStdin(input), err)
	}
	for _, n := range found {
		display := newPullDisplay(i.app.Stderr, f.quiet || !isTerminalWriter(i.app.Stderr))
		img, err := i.store().Add(ctx, n.Source, n.Names, display.report)
		display.end()
		if err != nil {
			return fmt.Errorf("load %s: %w", orStdin(input), interruption(ctx, err))
		}
		for _, name := range n.Names {
			fmt.Fprintf(i.app.Stdout, "Loaded image: %s\n", name.Familiar())
		}
		if len(n.Names) == 0 {
			fmt.Fprintf(i.app.Stdout, "Loaded image ID: %s\n", img.ID)
		}
	}
	return nil
}

func orStdin(input string) string {
	if input == "" {
		return "standard input"
	}
	return input
}

func (i images) openArchive(input string) (*archive.Archive, error) {
	if input != "" {
		return archive.Open(input, i.spoolDir())
	}
	if isTerminal(i.app.Stdin) {
		return nil, usageError("there is no archive: give one with -i, or by a pipe")
	}
	return archive.Read(i.app.Stdin, i.spoolDir())
}

func (i images) save() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "save [OPTIONS] IMAGE...",
		Short: "Write images to an archive",
		Long: `Write images to an archive that docker, podman, skopeo and 'netctl load' read (it
is a docker archive and an OCI archive at once).`,
		Example:           "  netctl save -o alpine.tar alpine",
		Args:              args(1, -1),
		ValidArgsFunction: i.completion(),
		RunE: func(_ *cobra.Command, args []string) error {
			return i.explain(i.saveTo(output, args))
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file (default: standard output)")
	return cmd
}

func (i images) saveTo(output string, refs []string) error {
	s := i.store()
	release, err := s.Hold()
	if err != nil {
		return err
	}
	defer release()
	var saved []archive.Saved
	for _, ref := range refs {
		img, err := s.Find(ref)
		if err != nil {
			return err
		}
		saved = append(saved, archive.Saved{Image: img, Names: namesMeant(&img, ref)})
	}
	if output == "" {
		if isTerminalWriter(i.app.Stdout) {
			return usageError("an archive would fill the terminal: give a file with -o, or a pipe")
		}
		return archive.Write(i.app.Stdout, saved, s.Blob)
	}
	return writeWhole(output, func(w io.Writer) error { return archive.Write(w, saved, s.Blob) })
}

// namesMeant is the name that was given, or all names where an ID was given.
func namesMeant(img *image.Image, ref string) []image.Reference {
	for _, name := range img.Names {
		if parsed, err := image.ParseReference(ref); err == nil && parsed.String() == name.String() {
			return []image.Reference{name}
		}
	}
	return img.Names
}

// writeWhole gives a file its name only when all of it is written.
func writeWhole(path string, write func(io.Writer) error) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = write(f)
	if err = errors.Join(err, f.Close()); err == nil {
		return os.Rename(part, path)
	}
	return errors.Join(err, os.Remove(part))
}
