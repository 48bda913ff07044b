// Package tuning is the chained plugin that changes settings of a container's
// interface and network parameters (sysctls) of its namespace.
package tuning

import (
	"encoding/json"
	"fmt"
	"math"
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
	Sysctl       json.RawMessage `json:"sysctl"`
	MAC          string          `json:"mac"`
	MTU          *int            `json:"mtu"`
	Promiscuous  *bool           `json:"promisc"`
	AllMulticast *bool           `json:"allmulti"`
	TxQueueLen   *int            `json:"txQLen"`
}

// config is what the reference plugin's keys (spec cni 2.8) come to.
type config struct {
	settings
	sysctls  sysctls
	mac      wire.HardwareAddr
	backup   string
	previous attach.Previous
}

func parse(req *cni.Request) (attach.Conf, error) {
	c := config{backup: backup(req)}
	var more struct {
		DataDir string `json:"dataDir"`
		Args    struct {
			CNI settings `json:"cni"`
		} `json:"args"`
	}
	if err := req.Decode(&c.settings); err != nil {
		return nil, err
	}
	if err := req.Decode(&more); err != nil {
		return nil, err
	}
	if err := c.readSysctls(more.Args.CNI.Sysctl); err != nil {
		return nil, err
	}
	c.settings = c.settings.override(more.Args.CNI)
	if err := c.check(); err != nil {
		return nil, err
	}
	var err error
	if c.mac, err = c.wantedMAC(req); err != nil {
		return nil, err
	}
	c.previous, err = attach.ReadPrevious(req)
	return c, err
}

// readSysctls reads the configuration's parameters with others over them.
func (c *config) readSysctls(others json.RawMessage) error {
	own, err := parseSysctls(c.Sysctl)
	if err != nil {
		return fmt.Errorf("key sysctl: %w", err)
	}
	args, err := parseSysctls(others)
	if err != nil {
		return fmt.Errorf("key args.cni.sysctl: %w", err)
	}
	c.sysctls = own.override(args)
	return c.sysctls.check(allowlist)
}

// wantedMAC is the address that the caller asks for, else the configuration's.
func (c *config) wantedMAC(req *cni.Request) (wire.HardwareAddr, error) {
	mac, err := attach.RequestedMAC(req)
	if err != nil || mac.IsValid() || c.MAC == "" {
		return mac, err
	}
	if mac, err = wire.ParseHardwareAddr(c.MAC); err != nil {
		return mac, fmt.Errorf("key mac: %w", err)
	}
	return mac, nil
}

// override gives the settings with those of args.cni over them. The MAC has
// more channels, see attach.RequestedMAC.
func (s settings) override(args settings) settings {
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
	case s.TxQueueLen != nil && (*s.TxQueueLen < 0 || *s.TxQueueLen > math.MaxUint32):
		return fmt.Errorf("key txQLen: invalid value %d: want 0 to %d packets", *s.TxQueueLen, math.MaxUint32)
	}
	return nil
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
		Link: at.IfName, Sysctls: c.sysctls.wire(at.IfName), MAC: c.mac,
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
