package netctl

import (
	"errors"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/image"
)

// imageObject is an image as inspect shows it: docker's JSON.
type imageObject struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Created      stamp
	Author       string
	Architecture string
	Variant      string `json:",omitempty"`
	Os           string
	Size         int64
	Config       imageConfigObject
	RootFS       rootFSObject
	GraphDriver  graphDriverObject
	Metadata     struct{ LastTagTime stamp }

	// Id is how docker's own templates spell it.
	Id string `json:"-"`
}

type imageConfigObject struct {
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Volumes      map[string]struct{} `json:",omitempty"`
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
}

type rootFSObject struct {
	Type   string
	Layers []string
}

type graphDriverObject struct {
	Name string
	Data struct{ LowerDir string }
}

func (i images) newObject(img *image.Image) imageObject {
	c := img.Config.Config
	o := imageObject{
		ID: string(img.ID), Id: string(img.ID), RepoTags: []string{}, RepoDigests: orNone(img.Digests), Created: newStamp(img.Config.Created.Time),
		Author: img.Config.Author, Architecture: img.Config.Architecture, Variant: img.Config.Variant, Os: img.Config.OS, Size: img.Size,
		Config: imageConfigObject{
			User: c.User, ExposedPorts: c.ExposedPorts, Env: orNone(c.Env), Entrypoint: c.Entrypoint, Cmd: c.Cmd,
			Volumes: c.Volumes, WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal,
		},
		RootFS: rootFSObject{Type: "layers", Layers: []string{}}, GraphDriver: graphDriverObject{Name: "overlay"},
	}
	for _, name := range img.Names {
		o.RepoTags = append(o.RepoTags, name.Familiar())
	}
	for _, d := range img.Config.RootFS.DiffIDs {
		o.RootFS.Layers = append(o.RootFS.Layers, d.String())
	}
	if dirs, err := i.store().Layers(img); err == nil {
		o.GraphDriver.Data.LowerDir = strings.Join(dirs, ":")
	}
	o.Metadata.LastTagTime = newStamp(img.Stored)
	return o
}

func (i images) inspect() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] IMAGE...",
		Short:             "Show images in full",
		Args:              args(1, -1),
		ValidArgsFunction: i.completion(),
		RunE: func(_ *cobra.Command, args []string) error {
			var objects []any
			var failures []error
			for _, ref := range args {
				img, err := i.store().Find(ref)
				if err != nil {
					failures = append(failures, i.explain(err))
					continue
				}
				objects = append(objects, i.newObject(&img))
			}
			return errors.Join(showObjects(i.app.Stdout, format, objects), errors.Join(failures...))
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	return cmd
}

// historyRow is a line of `history`; the names are docker's.
type historyRow struct {
	ID           string `header:"IMAGE"`
	CreatedSince string `header:"CREATED"`
	CreatedAt    string `header:"CREATED AT"`
	CreatedBy    string `header:"CREATED BY"`
	Size         string
	Comment      string
}

func (i images) history() *cobra.Command {
	var f listing
	var full bool
	cmd := &cobra.Command{
		Use:               "history [OPTIONS] IMAGE",
		Short:             "Show how an image was made",
		Args:              args(1, 1),
		ValidArgsFunction: one(i.completion()),
		RunE: func(_ *cobra.Command, args []string) error {
			img, err := i.store().Find(args[0])
			if err != nil {
				return i.explain(err)
			}
			f.Columns = []string{"ID", "CreatedSince", "CreatedBy", "Size", "Comment"}
			return show(i.app.Stdout, f, i.historyRows(&img, full))
		},
	}
	listingFlags(cmd.Flags(), &f)
	cmd.Flags().BoolVar(&full, "no-trunc", false, "shorten nothing")
	return cmd
}

// historyRows are the steps of an image, the last first. Steps that changed no
// file have no layer.
func (i images) historyRows(img *image.Image, full bool) []historyRow {
	var rows []historyRow
	now := time.Now()
	layer := len(img.Config.RootFS.DiffIDs) - 1
	for at := len(img.Config.History) - 1; at >= 0; at-- {
		h := img.Config.History[at]
		row := historyRow{
			ID: "<missing>", CreatedSince: since(h.Created.Time, now), CreatedAt: h.Created.Format(time.RFC3339),
			CreatedBy: h.CreatedBy, Size: "0B", Comment: h.Comment,
		}
		if at == len(img.Config.History)-1 {
			row.ID = img.ID.Short()
		}
		if !full && len([]rune(row.CreatedBy)) > 45 {
			row.CreatedBy = truncate(row.CreatedBy, 44) + "…"
		}
		if !h.EmptyLayer && layer >= 0 {
			row.Size = units.HumanSize(float64(i.store().LayerSize(img, layer)))
			layer--
		}
		rows = append(rows, row)
	}
	return rows
}
