package netctl

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/image"
	"github.com/netctl/netctl/netctl/image/registry"
	imagestore "github.com/netctl/netctl/netctl/image/store"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// images are the verbs of `netctl image`, most of which have a second place at
// the top level, as in docker.
type images struct{ app *App }

func imageCommands(app *App) []*cobra.Command {
	i := images{app}
	top := []*cobra.Command{i.pull(), i.list("images"), i.remove("rmi"), i.tag(), i.load(), i.save(), i.history()}
	group := newGroup("image", "Fetch images and look after them",
		i.pull(), i.list("ls", "list"), i.inspect(), i.history(), i.tag(), i.remove("rm", "remove"), i.prune(), i.load(), i.save(), i.exists())
	all := append(top, group)
	for _, cmd := range all {
		cmd.GroupID = groupImages
	}
	return all
}

func (i images) store() *imagestore.Store { return imagestore.Open(i.app.DataDir) }

// spoolDir is where an archive from a pipe is kept while it is read.
func (i images) spoolDir() string { return filepath.Join(i.app.DataDir, "images", "tmp") }

// users are the containers of each image by name, read from their records.
func (i images) users() (map[image.ID][]string, error) {
	records, err := store.Open(i.app.StateDir, i.app.DataDir).List()
	if err != nil {
		return nil, err
	}
	users := map[image.ID][]string{}
	for _, rec := range records {
		if rec.ImageID != "" {
			id := image.ID(rec.ImageID)
			users[id] = append(users[id], "container "+rec.Name+" ("+rec.Config.ID.Short()+", "+string(rec.State.Status)+")")
		}
	}
	for _, names := range users {
		slices.Sort(names)
	}
	return users, nil
}

// explain gives an error about images its hint.
func (i images) explain(err error) error {
	var (
		own     *Error
		pull    *registry.Error
		missing *imagestore.NotFoundError
		inUse   *imagestore.InUseError
	)
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.As(err, &pull):
		return &Error{Status: ExitFailed, Err: err, Hint: pull.Hint}
	case errors.As(err, &missing):
		return &Error{Status: ExitFailed, Err: err, Hint: fmt.Sprintf("'netctl images' lists those that are here; 'netctl pull %s' fetches one", missing.Ref)}
	case errors.As(err, &inUse):
		return &Error{Status: ExitFailed, Err: err, Hint: "remove the containers first, or take only the name away with -f"}
	case errors.Is(err, imagestore.ErrManyNames):
		return &Error{Status: ExitFailed, Err: err, Hint: "remove one name after the other, or all with -f"}
	case errors.Is(err, context.Canceled):
		return &Error{Status: ExitFailed, Err: errors.New("interrupted; layers that were complete are kept for the next attempt")}
	}
	return err
}

// completion proposes images by name.
func (i images) completion() cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return i.familiarNames(), cobra.ShellCompDirectiveNoFileComp
	}
}

func (i images) familiarNames() []string {
	list, _ := i.store().List()
	var names []string
	for _, img := range list {
		for _, name := range img.Names {
			names = append(names, name.Familiar())
		}
	}
	return names
}

// isImage tells whether rec was made from the image that ref names: as it was
// typed, by another of the image's names, or by ID.
func (i images) isImage(rec *runner.Container, ref string) bool {
	if rec.Image == ref {
		return true
	}
	if rec.ImageID == "" {
		return false
	}
	img, err := i.store().Find(ref)
	return err == nil && string(img.ID) == rec.ImageID
}
