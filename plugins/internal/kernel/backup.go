package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// A backup is what a link was like before it was tuned: only what is to be
// changed. The JSON is the reference plugin's, so that an attachment made by
// one can be deleted by the other.
type backup struct {
	MAC          string `json:"mac,omitempty"`
	Promiscuous  *bool  `json:"promisc,omitempty"`
	MTU          int    `json:"mtu,omitempty"`
	AllMulticast *bool  `json:"allmulti,omitempty"`
	TxQueueLen   *int   `json:"txQLen,omitempty"`
}

// backupOf reads what a tuning will change.
func backupOf(attrs *netlink.LinkAttrs, want wire.Tuning) backup {
	var b backup
	if want.MAC.IsValid() {
		b.MAC = attrs.HardwareAddr.String()
	}
	if want.Promiscuous {
		on := attrs.Promisc != 0
		b.Promiscuous = &on
	}
	if want.MTU != 0 {
		b.MTU = attrs.MTU
	}
	if want.AllMulticast != nil {
		on := attrs.RawFlags&unix.IFF_ALLMULTI != 0
		b.AllMulticast = &on
	}
	if want.TxQueueLen != nil {
		b.TxQueueLen = &attrs.TxQLen
	}
	return b
}

// tuning is what brings the link back.
func (b backup) tuning(link string) (wire.Tuning, error) {
	t := wire.Tuning{Link: link, MTU: b.MTU, AllMulticast: b.AllMulticast, TxQueueLen: b.TxQueueLen}
	if b.MAC == "" {
		return t, nil
	}
	var err error
	t.MAC, err = wire.ParseHardwareAddr(b.MAC)
	return t, err
}

// write puts the backup into a file, whole or not at all.
func (b backup) write(file string) error {
	data, err := json.MarshalIndent(b, "", " ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		_ = os.Remove(file + ".new")
		return fmt.Errorf("save the settings of the link: %w", err)
	}
	return nil
}

// readBackup reads a file. One that is empty or broken holds nothing.
func readBackup(file string) (backup, error) {
	var b backup
	data, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	if json.Unmarshal(data, &b) != nil {
		return backup{}, nil
	}
	return b, nil
}

// RemoveBackup removes a backup whose link is gone. One that is not there is no
// error.
func RemoveBackup(file string) error {
	var failures []error
	for _, name := range []string{file, file + ".new"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, fmt.Errorf("remove backup: %w", err))
		}
	}
	return errors.Join(failures...)
}
