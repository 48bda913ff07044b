package netctl

import (
	"fmt"
	"strconv"
	"time"

	"github.com/docker/go-units"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// usedImageRow is a line of `system df -v` about images; the names are docker's.
type usedImageRow struct {
	Repository string
	Tag        string
	ID         string `header:"IMAGE ID"`
	Created    string
	Size       string
	Containers string
}

// usedContainerRow is one about containers.
type usedContainerRow struct {
	ID           string `header:"CONTAINER ID"`
	Image        string
	Command      string
	LocalVolumes string `header:"LOCAL VOLUMES"`
	Size         string
	Created      string
	Status       string
	Names        string
}

// usedVolumeRow is one about volumes.
type usedVolumeRow struct {
	Name  string `header:"VOLUME NAME"`
	Links string
	Size  string
}

// showUsage prints what each image, container and volume takes, in docker's three
// tables.
func showUsage(app *App) error {
	now := time.Now()
	s := store.Open(app.StateDir, app.DataDir)
	records, err := s.List()
	if err != nil {
		return err
	}
	rows, err := images{app}.rows(nil, false, false)
	if err != nil {
		return err
	}
	var imageRows []usedImageRow
	for _, r := range rows {
		imageRows = append(imageRows, usedImageRow{r.Repository, r.Tag, r.ID, r.CreatedSince, r.Size, r.Containers})
	}
	var containerRows []usedContainerRow
	links := map[string]int{}
	for _, rec := range records {
		r := newContainerRow(rec, false, now)
		containerRows = append(containerRows, usedContainerRow{
			r.ID, r.Image, r.Command, r.LocalVolumes, units.HumanSize(float64(s.Usage(rec.Config.ID))), r.RunningFor, r.Status, r.Names})
		for _, m := range rec.Mounts {
			if m.Kind == runner.MountVolume {
				links[m.Source]++
			}
		}
	}
	list, err := s.Volumes()
	if err != nil {
		return err
	}
	var volumeRows []usedVolumeRow
	for _, v := range list {
		volumeRows = append(volumeRows, usedVolumeRow{v.Name, strconv.Itoa(links[v.Name]), units.HumanSize(float64(store.DiskUsage(v.Path)))})
	}
	return showUsageTables(app, imageRows, containerRows, volumeRows)
}

func showUsageTables(app *App, images []usedImageRow, containers []usedContainerRow, volumes []usedVolumeRow) error {
	title := func(text string) { fmt.Fprintf(app.Stdout, "%s space usage:\n\n", text) }
	title("Images")
	if err := show(app.Stdout, listing{Columns: []string{"Repository", "Tag", "ID", "Created", "Size", "Containers"}}, images); err != nil {
		return err
	}
	fmt.Fprintln(app.Stdout)
	title("Containers")
	err := show(app.Stdout, listing{Columns: []string{"ID", "Image", "Command", "LocalVolumes", "Size", "Created", "Status", "Names"}}, containers)
	if err != nil {
		return err
	}
	fmt.Fprintln(app.Stdout)
	title("Local Volumes")
	return show(app.Stdout, listing{Columns: []string{"Name", "Links", "Size"}}, volumes)
}
