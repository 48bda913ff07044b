package netctl

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/store"
)

// A user is a container that is attached to a network, or is configured to be
// when it starts. Containers of other runtimes have an ID only.
type user struct {
	ID, Name string
	Status   runner.Status // "" for containers of other runtimes
	IfName   string
	MAC      string
	// Redirects are the gateways at which the resolver has another port than 53.
	Redirects []netip.AddrPort
	Addresses []netip.Prefix
}

func (u user) String() string {
	name, status := u.Name, string(u.Status)
	if name == "" {
		name = "container of another runtime"
	}
	if status == "" {
		status = "attached"
	}
	return fmt.Sprintf("%s (%s, %s)", name, shortID(u.ID, false), status)
}

// users gives the users of every network by its name: from the ledger what is
// attached, from the container records what is stopped and will come back.
func (c networkCommands) users() (map[string][]user, error) {
	containers, err := store.Open(c.app.StateDir, c.app.DataDir).List()
	if err != nil {
		return nil, err
	}
	records, err := c.attachments()
	if err != nil {
		return nil, err
	}
	users := map[string][]user{}
	byID := map[string]runner.Container{}
	for _, container := range containers {
		byID[string(container.ID)] = container
	}
	attached := map[string]bool{}
	for _, r := range records {
		attached[r.Network+"/"+r.Container] = true
		u := user{ID: r.Container, IfName: r.IfName, Redirects: r.Redirects}
		if container, ours := byID[r.Container]; ours {
			u.Name, u.Status = container.Name, container.State.Status
			if a := container.State.Network(r.Network); a != nil {
				u.MAC = a.MAC
			}
		}
		for _, a := range r.Addresses {
			u.Addresses = append(u.Addresses, a.Prefix)
		}
		users[r.Network] = append(users[r.Network], u)
	}
	for _, container := range containers {
		for _, e := range container.Endpoints {
			if !attached[e.Network+"/"+string(container.ID)] {
				users[e.Network] = append(users[e.Network], user{
					ID: string(container.ID), Name: container.Name, Status: container.State.Status, IfName: e.IfName})
			}
		}
	}
	for _, list := range users {
		slices.SortFunc(list, func(a, b user) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID)) })
	}
	return users, nil
}

// endpointID is docker's name for an attachment: 64 hex digits.
func endpointID(networkID, container, ifName string) string {
	sum := sha256.Sum256([]byte(networkID + "/" + container + "/" + ifName))
	return hex.EncodeToString(sum[:])
}

// attachments reads the ledger; nothing is attached where there is none.
func (c networkCommands) attachments() ([]ledger.Record, error) {
	if _, err := os.Stat(c.app.StateDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	l, err := ledger.Open(c.app.StateDir)
	if err != nil {
		return nil, err
	}
	var records []ledger.Record
	err = l.View(func(tx *ledger.Tx) error {
		records, err = tx.Attachments("")
		return err
	})
	return records, err
}
