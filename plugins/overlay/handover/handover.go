// Package handover is what overlayd tells the overlay plugin: one small file
// for each network, in the state directory, that says which pools this host
// owns. The plugin reads it and talks to nobody, so containers start and stop
// whether overlayd and its store are up or not.
package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netctl/netctl/ipam/quickjson"
)

// Device is the tunnel through which every overlay network of the host reaches
// the others.
const Device = "netctl-overlay"

// schema of the file; one with a larger number was written by a newer overlayd.
const schema = 1

// A Network is what this host has of one overlay network.
type Network struct {
	Schema  int    `json:"schema"`
	Network string `json:"network"`
	Group   uint16 `json:"group"`
	// MTU is what fits through the tunnel, in bytes; containers get it when
	// they are made.
	MTU int `json:"mtu"`
	// Pools of this host, in the order in which they are used up.
	Pools []Pool `json:"pools"`
	// Inside are the network's own ranges: all its containers, on whatever host.
	Inside []netip.Prefix `json:"inside"`
	// Ranges are those of all overlay networks: what goes there is never
	// masqueraded.
	Ranges []netip.Prefix `json:"ranges"`
	// Exhausted says why the network gets no further pool on this host; "" if
	// one is claimed when those it has are nearly used up.
	Exhausted string `json:"exhausted,omitempty"`
	// Degraded says why other hosts may not be reached, or not all of them.
	Degraded string `json:"degraded,omitempty"`
}

// A Pool is a prefix that this host gives addresses out from.
type Pool struct {
	Prefix netip.Prefix `json:"prefix"`
	// Lost pools belong to somebody else now: containers that have addresses
	// of it keep them, and new ones get none.
	Lost bool `json:"lost,omitempty"`
}

// Usable are the pools of a family to give addresses out from.
func (n Network) Usable(is4 bool) []netip.Prefix {
	var usable []netip.Prefix
	for _, p := range n.Pools {
		if !p.Lost && p.Prefix.Addr().Is4() == is4 {
			usable = append(usable, p.Prefix)
		}
	}
	return usable
}

// Dir is where the files are, below the state directory.
func Dir(stateDir string) string { return filepath.Join(stateDir, "overlay", "networks") }

func file(stateDir, network string) string {
	return filepath.Join(Dir(stateDir), network+".json")
}

// Read reads the file of a network. The error is fs.ErrNotExist if there is
// none: the network has no pool on this host yet.
func Read(stateDir, network string) (Network, error) {
	data, err := os.ReadFile(file(stateDir, network))
	if err != nil {
		return Network{}, err
	}
	var n Network
	if err := quickjson.Unmarshal(data, &n); err != nil {
		return Network{}, fmt.Errorf("%s: %w", file(stateDir, network), err)
	}
	if n.Schema > schema {
		return Network{}, fmt.Errorf("%s has schema %d, and this program knows %d: update it", file(stateDir, network), n.Schema, schema)
	}
	return n, nil
}

// Lock is the file that a running overlayd holds locked.
func Lock(stateDir string) string { return filepath.Join(stateDir, "overlay", "overlayd.lock") }

// Write replaces the file if it says something else, by a rename, and tells
// whether it did.
func Write(stateDir string, n Network) (changed bool, err error) {
	n.Schema = schema
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return false, fmt.Errorf("encode network %s: %w", n.Network, err)
	}
	return ReplaceForBoot(file(stateDir, n.Network), append(data, '\n'), 0o600)
}

// Replace writes a file by way of a draft beside it, so that nobody sees half
// of it, also after a power cut. A file that says the same already is left alone.
func Replace(path string, data []byte, mode fs.FileMode) (changed bool, err error) {
	return replace(path, data, mode, (*os.File).Sync)
}

// ReplaceForBoot is Replace for a file that nobody reads after this boot, and that
// need not be on the disk.
func ReplaceForBoot(path string, data []byte, mode fs.FileMode) (changed bool, err error) {
	return replace(path, data, mode, func(*os.File) error { return nil })
}

func replace(path string, data []byte, mode fs.FileMode, sync func(*os.File) error) (changed bool, err error) {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	draft, err := os.CreateTemp(filepath.Dir(path), ".draft-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(draft.Name()) // does nothing after the rename
	_, err = draft.Write(data)
	err = errors.Join(err, draft.Chmod(mode), sync(draft), draft.Close())
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return true, os.Rename(draft.Name(), path)
}

// Remove takes the file of a network away; one that is not there is no error.
func Remove(stateDir, network string) error {
	err := os.Remove(file(stateDir, network))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List gives the names of the networks that have a file.
func List(stateDir string) ([]string, error) {
	files, err := filepath.Glob(file(stateDir, "*"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".json"); !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
