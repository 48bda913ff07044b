package netctl

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/registry"
)

// pullFlags are about where images come from.
type pullFlags struct {
	platform  string
	tlsVerify bool
	quiet     bool
}

func (f *pullFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.platform, "platform", "", "OS/ARCHITECTURE[/VARIANT] of the image (default: this machine's)")
	flags.BoolVar(&f.tlsVerify, "tls-verify", true, "refuse registries without a certificate we trust")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing about fetching an image")
}

func (i images) pull() *cobra.Command {
	var f pullFlags
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Fetch an image from a registry",
		Long: `Fetch an image from a registry. A name without a registry is one of docker.io's.
Credentials are those that 'docker login' or 'podman login' have left.`,
		Example:           "  netctl pull alpine\n  netctl pull registry.example/team/app:1.2",
		Args:              args(1, 1),
		ValidArgsFunction: one(i.completion()),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := image.ParseReference(args[0])
			if err != nil {
				return usageError("%w", err)
			}
			if _, err := i.fetch(cmd.Context(), ref, f); err != nil {
				return i.explain(err)
			}
			_, err = fmt.Fprintln(i.app.Stdout, ref)
			return err
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// fetch brings an image from its registry into the store. Ctrl-C leaves whole
// layers only.
func (i images) fetch(ctx context.Context, ref image.Reference, f pullFlags) (image.Image, error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	want, err := image.ParsePlatform(f.platform)
	if err != nil {
		return image.Image{}, usageError("--platform: %w", err)
	}
	display := newPullDisplay(i.app.Stderr, f.quiet)
	display.say("pulling %s", ref)
	client := registry.Client{Insecure: !f.tlsVerify, UserAgent: "netctl/" + version(), CertDirs: registry.DefaultCertDirs()}
	src, err := client.Find(ctx, ref, want, f.platform != "")
	if err != nil {
		return image.Image{}, interruption(ctx, err)
	}
	img, err := i.store().Add(ctx, src, []image.Reference{ref}, display.report)
	display.end()
	if err != nil {
		return img, fmt.Errorf("pull %s: %w", ref, interruption(ctx, err))
	}
	if has := img.Platform(); !image.Fits(has, want) {
		fmt.Fprintf(i.app.Stderr, "Warning: image %s is for platform %s, not %s\n", ref.Familiar(), has, want)
	}
	return img, nil
}

// interruption: what failed because the user wished so failed for that reason.
func interruption(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Canceled
	}
	return err
}

// pullPolicy is when `run` asks the registry.
type pullPolicy string

const (
	pullMissing pullPolicy = "missing"
	pullAlways  pullPolicy = "always"
	pullNever   pullPolicy = "never"
)

// isReference tells an image's name from what else the word IMAGE can be: the
// host, or a directory, which is written as a path.
func isReference(text string) bool {
	return text != "host" && !isDirectory(text)
}

func isDirectory(text string) bool {
	return text == "." || text == ".." || len(text) > 0 && text[0] == '/' ||
		len(text) > 1 && text[:2] == "./" || len(text) > 2 && text[:3] == "../"
}

// ensure makes sure that the image is here, as the policy says.
func (i images) ensure(ctx context.Context, name string, policy pullPolicy, f pullFlags) error {
	img, err := i.store().Find(name)
	if err == nil && policy != pullAlways {
		return i.checkPlatform(&img, name, f.platform)
	}
	if err != nil && !isMissingImage(err) {
		return err
	}
	ref, parseErr := image.ParseReference(name)
	if parseErr != nil {
		e := usageError("%w", parseErr)
		e.Hint = "an image is a name, 'host' (this machine's root, copy-on-write), or a directory such as ./" + name
		return e
	}
	if policy == pullNever {
		return &Error{Status: ExitUsage, Err: err, Hint: fmt.Sprintf("'netctl pull %s' fetches it", name)}
	}
	_, err = i.fetch(ctx, ref, f)
	if err == nil {
		return nil
	}
	if st, statErr := os.Stat(name); statErr == nil && st.IsDir() {
		return &Error{Status: ExitUsage, Err: err, Hint: "there is a directory of this name: write it as ./" + name}
	}
	return i.explain(err)
}

// checkPlatform refuses an image that is here, but for another platform than
// was asked for.
func (i images) checkPlatform(img *image.Image, name, platform string) error {
	if platform == "" {
		return nil
	}
	want, err := image.ParsePlatform(platform)
	if err != nil {
		return usageError("--platform: %w", err)
	}
	if has := img.Platform(); !image.Fits(has, want) {
		e := usageError("image %s is for platform %s, not %s", name, has, want)
		e.Hint = fmt.Sprintf("'netctl pull --platform %s %s' fetches the other one", platform, name)
		return e
	}
	return nil
}
