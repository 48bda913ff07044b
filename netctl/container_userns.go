package netctl

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/netctl/netctl/netctl/runner"
)

// usernsFlags are those of the user namespace; the maps are podman's.
type usernsFlags struct {
	mode       string
	uids, gids []string
}

func (f *usernsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.mode, "userns", "", "user namespace: host, or auto[:size=N], which gives the container users of its own")
	flags.StringArrayVar(&f.uids, "uidmap", nil, "CONTAINER:HOST[:COUNT]: which users of the host its users are; repeatable")
	flags.StringArrayVar(&f.gids, "gidmap", nil, "the same for groups; default: as --uidmap")
}

func (f *usernsFlags) fill(cfg *runner.Config) (err error) {
	if cfg.Userns, err = runner.ParseUserns(f.mode); err != nil {
		e := usageError("--userns: %w", err)
		if mode, _, _ := strings.Cut(f.mode, ":"); mode == "keep-id" || mode == "nomap" {
			e.Hint = "that is for podman without root; netctl runs as root: '-u UID' runs a program as one of its users, '--userns auto' gives the container users of its own"
		}
		return e
	}
	if len(f.uids)+len(f.gids) == 0 {
		if f.mode == "private" {
			return usageError("--userns private: say which users with --uidmap, or use auto")
		}
		return nil
	}
	if f.mode != "" && f.mode != "private" {
		return usageError("--userns %s can't be combined with --uidmap or --gidmap", f.mode)
	}
	uids, gids, uidFlag := f.uids, f.gids, "--uidmap"
	if len(gids) == 0 {
		gids = uids
	} else if len(uids) == 0 {
		uids, uidFlag = gids, "--gidmap"
	}
	if cfg.Userns.IDs.UIDMaps, err = runner.ParseIDMaps("users", uids); err != nil {
		return usageError("%s: %w", uidFlag, err)
	}
	if cfg.Userns.IDs.GIDMaps, err = runner.ParseIDMaps("groups", gids); err != nil {
		return usageError("--gidmap: %w", err)
	}
	return nil
}

// noIDs gives a container for whom no ids were found its hint.
func noIDs(err error) error {
	var advised interface {
		error
		Hint() string
	}
	if errors.As(err, &advised) {
		return &Error{Status: ExitUsage, Err: fmt.Errorf("--userns auto: %w", advised), Hint: advised.Hint()}
	}
	return err
}
