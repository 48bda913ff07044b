package netctl

import (
	"fmt"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner/store"
)

// usageRow is a line of `system df`; the names are docker's.
type usageRow struct {
	ID          string `json:"-"`
	Type        string
	TotalCount  string `header:"TOTAL"`
	Active      string
	Size        string
	Reclaimable string
}

// usage is what objects of one kind take on disk.
type usage struct {
	total, active     int
	size, reclaimable int64 // bytes
}

func (u usage) row(kind string) usageRow {
	share := ""
	if u.size > 0 {
		share = fmt.Sprintf(" (%d%%)", u.reclaimable*100/u.size)
	}
	return usageRow{
		Type: kind, TotalCount: fmt.Sprint(u.total), Active: fmt.Sprint(u.active),
		Size: units.HumanSize(float64(u.size)), Reclaimable: units.HumanSize(float64(u.reclaimable)) + share,
	}
}

func dfCommand(app *App) *cobra.Command {
	l := listing{Columns: []string{"Type", "TotalCount", "Active", "Size", "Reclaimable"}}
	var each bool
	cmd := &cobra.Command{
		Use:               "df [OPTIONS]",
		Short:             "Show what images, containers and volumes take on disk",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if each && l.Format != "" {
				return usageError("--verbose has tables of its own: it can't be combined with --format")
			}
			if each {
				return showUsage(app)
			}
			rows, err := diskUsage(app)
			if err != nil {
				return err
			}
			return show(app.Stdout, l, rows)
		},
	}
	cmd.Flags().StringVar(&l.Format, "format", "", "'table', 'table TEMPLATE', 'json' (an object a line) or a Go template")
	cmd.Flags().BoolVarP(&each, "verbose", "v", false, "each image, container and volume by itself")
	return cmd
}

func diskUsage(app *App) ([]usageRow, error) {
	s := store.Open(app.StateDir, app.DataDir)
	records, err := s.List()
	if err != nil {
		return nil, err
	}
	var containers, volumeUse usage
	for _, rec := range records {
		size := s.Usage(rec.Config.ID)
		containers.total++
		containers.size += size
		if rec.State.Status.Active() {
			containers.active++
		} else {
			containers.reclaimable += size
		}
	}
	list, err := s.Volumes()
	if err != nil {
		return nil, err
	}
	used, err := volumes{app}.used(volumes{app}.all())
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		size := store.DiskUsage(v.Path)
		volumeUse.total++
		volumeUse.size += size
		if used[v.Name] {
			volumeUse.active++
		} else {
			volumeUse.reclaimable += size
		}
	}
	imageUse, err := images{app}.usage()
	if err != nil {
		return nil, err
	}
	return []usageRow{imageUse.row("Images"), containers.row("Containers"), volumeUse.row("Local Volumes")}, nil
}
