package netctl

import (
	"path"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/image"
)

// imageRow is a line of `images`; the names are docker's.
type imageRow struct {
	Repository   string
	Tag          string
	Digest       string
	ID           string `header:"IMAGE ID"`
	CreatedSince string `header:"CREATED"`
	CreatedAt    string `header:"CREATED AT"`
	Size         string
	Containers   string
}

func imageFilters() []string {
	return []string{"before", "dangling", "label", "label!", "reference", "since", "until"}
}

// list is `images`, by this and further names.
func (i images) list(name string, aliases ...string) *cobra.Command {
	var f struct {
		listing
		full, digests bool
		filters       []string
	}
	cmd := &cobra.Command{
		Use:               name + " [OPTIONS] [REPOSITORY[:TAG]]",
		Aliases:           aliases,
		Short:             "List images",
		Args:              args(0, 1),
		ValidArgsFunction: one(i.completion()),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.filters = append(f.filters, "reference="+args[0])
			}
			rows, err := i.rows(f.filters, f.full, f.digests)
			if err != nil {
				return err
			}
			f.Columns = []string{"Repository", "Tag", "ID", "CreatedSince", "Size"}
			if f.digests {
				f.Columns = []string{"Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"}
			}
			return show(i.app.Stdout, f.listing, rows)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.Quiet, "quiet", "q", false, "show IDs only")
	flags.BoolVarP(&f.NoHeading, "noheading", "n", false, "leave the column heads out")
	flags.StringVar(&f.Format, "format", "", "'table', 'table TEMPLATE', 'json' (an object a line) or a Go template")
	flags.BoolVar(&f.full, "no-trunc", false, "shorten nothing")
	flags.BoolVar(&f.digests, "digests", false, "show digests")
	flags.BoolP("all", "a", false, "as without: there are no hidden images")
	flags.StringArrayVarP(&f.filters, "filter", "f", nil, "KEY=VALUE, by "+strings.Join(imageFilters(), ", "))
	return cmd
}

func (i images) rows(pairs []string, full, digests bool) ([]imageRow, error) {
	list, err := i.filtered(pairs, imageFilters()...)
	if err != nil {
		return nil, err
	}
	users, err := i.users()
	if err != nil {
		return nil, err
	}
	var rows []imageRow
	now := time.Now()
	for _, img := range list {
		row := imageRow{
			Repository: "<none>", Tag: "<none>", Digest: "<none>", ID: img.ID.Short(),
			CreatedSince: since(img.Config.Created.Time, now), CreatedAt: img.Config.Created.Format("2006-01-02 15:04:05 -0700 MST"),
			Size: units.HumanSizeWithPrecision(float64(img.Size), 3), Containers: counted(len(users[img.ID]), "container"),
		}
		if full {
			row.ID = string(img.ID)
		}
		if len(img.Names) == 0 {
			rows = append(rows, row)
		}
		for _, name := range img.Names {
			row.Repository, row.Tag, row.Digest = image.FamiliarRepository(name.Repository()), name.Tag(), digestOf(&img, name)
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func digestOf(img *image.Image, name image.Reference) string {
	for _, d := range img.Digests {
		if repository, digest, _ := strings.Cut(d, "@"); repository == name.Repository() {
			return digest
		}
	}
	return "<none>"
}

// since: many images are built with no time at all, so that they are the same
// again.
func since(at, now time.Time) string {
	if at.Unix() <= 0 {
		return "N/A"
	}
	return units.HumanDuration(now.Sub(at)) + " ago"
}

// filtered gives the images that satisfy the conditions; of one that is chosen
// by name, only the names that fit.
func (i images) filtered(pairs []string, known ...string) ([]image.Image, error) {
	f, err := parseFilters(pairs, known...)
	if err != nil {
		return nil, err
	}
	list, err := i.store().List()
	if err != nil {
		return nil, err
	}
	until, err := f.before("until", time.Now())
	if err != nil {
		return nil, err
	}
	before, since, err := i.bounds(f)
	if err != nil {
		return nil, err
	}
	var chosen []image.Image
	for _, img := range list {
		created := img.Config.Created.Time
		dangling := "false"
		if len(img.Names) == 0 {
			dangling = "true"
		}
		if !f.labels(img.Config.Config.Labels) || !f.equals("dangling", dangling) ||
			!until.IsZero() && !img.Stored.Before(until) || !before.IsZero() && !created.Before(before) || !since.IsZero() && !created.After(since) {
			continue
		}
		if len(f["reference"]) > 0 {
			if img.Names = fitting(img.Names, f["reference"]); len(img.Names) == 0 {
				continue
			}
		}
		chosen = append(chosen, img)
	}
	return chosen, nil
}

// bounds are the times of creation of the images that before and since name.
func (i images) bounds(f filters) (before, since time.Time, err error) {
	for key, at := range map[string]*time.Time{"before": &before, "since": &since} {
		if len(f[key]) == 0 {
			continue
		}
		img, err := i.store().Find(f[key][0])
		if err != nil {
			return before, since, i.explain(err)
		}
		*at = img.Config.Created.Time
	}
	return before, since, nil
}

// fitting are the names that one of the patterns fits: REPOSITORY[:TAG], with
// path.Match's stars, with or without what goes without saying.
func fitting(names []image.Reference, patterns []string) []image.Reference {
	var chosen []image.Reference
	for _, name := range names {
		for _, pattern := range patterns {
			if fits(name, pattern) {
				chosen = append(chosen, name)
				break
			}
		}
	}
	return chosen
}

func fits(name image.Reference, pattern string) bool {
	repository := image.FamiliarRepository(name.Repository())
	for _, text := range []string{repository, repository + ":" + name.Tag(), name.Repository(), name.String()} {
		if ok, err := path.Match(pattern, text); err == nil && ok {
			return true
		}
	}
	return false
}
