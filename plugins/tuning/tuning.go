// Package tuning is the chained plugin that changes settings of a container's
// interface and network parameters (sysctls) of its namespace.
package tuning

import (
	"fmt"
	"path/filepath"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "tuning", Parse: parse, Chained: true, NoRules: true, Backup: backup}
}

const (
	// allowlist is where the host's administrator says which sysctls may be set.
	allowlist = "/etc/cni/tuning/allowlist.conf"
	// defaultDataDir is on a file system that a reboot empties: the interfaces
	// are gone then too.
	defaultDataDir = "/run/cni/tuning"
)

// settings are the keys that stand in the configuration and in args.cni.
type settings struct {
	Sysctl       sysctls `json:"sysctl"`
	MAC          string  `json:"mac"`
	MTU          *int    `json:"mtu"`
	Promiscuous  *bool   `json:"promisc"`
	AllMulticast *bool   `json:"allmulti"`
	TxQueueLen   *int    `json:"txQLen"`
}

// config holds the reference plugin's keys (spec cni 2.8).
type config struct {
	settings
	Args struct {
		CNI settings `json:"cni"`
	} `json:"args"`

	mac      wire.HardwareAddr
	backup   string
	previous attach.Previous
}

func parse(req *cni.Request) (attach.Conf, error) {
	var c config
	if err := req.Decode(&c); err != nil {
		return nil, err
	}
	c.settings = c.settings.override(c.Args.CNI)
	c.backup = backup(req)
	if err := c.check(); err != nil {
		return nil, err
	}
	mac, err := attach.RequestedMAC(req)
	if err == nil && !mac.IsValid() && c.MAC != "" {
		if mac, err = wire.ParseHardwareAddr(c.MAC); err != nil {
			err = fmt.Errorf("key mac: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	c.mac = mac
	c.previous, err = attach.ReadPrevious(req)
	return c, err
}

// override gives the settings with those of args.cni over them. The MAC has
// more channels, see attach.RequestedMAC.
func (s settings) override(args settings) settings {
	s.Sysctl = s.Sysctl.override(args.Sysctl)
	if args.MTU != nil {
		s.MTU = args.MTU
	}
	if args.Promiscuous != nil {
		s.Promiscuous = args.Promiscuous
	}
	if args.AllMulticast != nil {
		s.AllMulticast = args.AllMulticast
	}
	if args.TxQueueLen != nil {
		s.TxQueueLen = args.TxQueueLen
	}
	return s
}

func (s settings) check() error {
	switch {
	case s.MTU != nil && (*s.MTU < 0 || *s.MTU > 65535):
		return fmt.Errorf("key mtu: invalid value %d: want 68 to 65535, or 0 to leave it", *s.MTU)
	case s.TxQueueLen != nil && *s.TxQueueLen < 0:
		return fmt.Errorf("key txQLen: invalid value %d: want 0 or more packets", *s.TxQueueLen)
	}
	return s.Sysctl.check(allowlist)
}

// backup is the file with the interface's settings of before, named as the
// reference plugin names it.
func backup(req *cni.Request) string {
	var keys struct {
		DataDir string `json:"dataDir"`
	}
	if err := req.Decode(&keys); err != nil || keys.DataDir == "" {
		keys.DataDir = defaultDataDir
	}
	return filepath.Join(keys.DataDir, req.ContainerID+"_"+req.IfName+".json")
}

// Previous is what the result is made from.
func (c config) Previous() attach.Previous { return c.previous }

// Wire changes the interface that the plugin before has made.
func (c config) Wire(at wire.Attachment, _ attach.Grant) (wire.Wiring, error) {
	w := wire.Wiring{Attachment: at, Shared: wire.Shared{Network: wire.NetworkPolicy{Network: at.NetworkLabel()}}}
	t := wire.Tuning{
		Link: at.IfName, Sysctls: c.Sysctl.wire(at.IfName), MAC: c.mac,
		AllMulticast: c.AllMulticast, TxQueueLen: c.TxQueueLen, Backup: c.backup,
	}
	if c.MTU != nil {
		t.MTU = *c.MTU
	}
	if c.Promiscuous != nil {
		t.Promiscuous = *c.Promiscuous
	}
	if !t.IsZero() {
		w.Owned.Tuning = &t
	}
	return w, nil
}
