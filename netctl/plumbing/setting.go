package plumbing

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/netctl/netctl/netctl/network"
	"github.com/netctl/netctl/plugins"
)

// Setting is where networks and what belongs to them are found. A command has it
// from its flags, a monitor from the environment that the command gives it.
type Setting struct {
	// StateDir holds what dies with the boot, DataDir what must not,
	// ConfDir the networks' CNI configuration lists.
	StateDir, DataDir, ConfDir string
	// CNIPath are the directories in which foreign plugins are looked for.
	CNIPath []string
	// Firewall is the packet filter to use: iptables, nftables, or "" for
	// whichever the host has.
	Firewall string
}

// The variables of a monitor's environment; commands have their defaults from the
// same ones.
const (
	stateVariable    = "NETCTL_STATE_DIR"
	dataVariable     = "NETCTL_DATA_DIR"
	confVariable     = "NETCTL_CONF_DIR"
	cniPathVariable  = "NETCTL_CNI_PATH"
	firewallVariable = "NETCTL_FIREWALL"
)

// Environ is a monitor's whole environment: what it needs to find the same
// directories as the command, and nothing of the user's.
func (s Setting) Environ() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		stateVariable + "=" + s.StateDir,
		dataVariable + "=" + s.DataDir,
		confVariable + "=" + s.ConfDir,
		cniPathVariable + "=" + strings.Join(s.CNIPath, string(os.PathListSeparator)),
		firewallVariable + "=" + s.Firewall,
	}
	// For whoever looks for a mistake in a monitor: the Go runtime's own.
	for _, name := range []string{"GODEBUG", "GOTRACEBACK", "GORACE"} {
		if value, given := os.LookupEnv(name); given {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// OfMonitor reads what Environ has set.
func OfMonitor(getenv func(string) string) Setting {
	return Setting{
		StateDir: getenv(stateVariable), DataDir: getenv(dataVariable), ConfDir: getenv(confVariable),
		CNIPath: filepath.SplitList(getenv(cniPathVariable)), Firewall: getenv(firewallVariable),
	}
}

// Host is where plugins work.
func (s Setting) Host(log *slog.Logger) plugins.Host {
	return plugins.Host{StateDir: s.StateDir, CNIPath: s.CNIPath, Firewall: s.Firewall, Log: log}
}

// Open gives the plumbing of a setting; it tells log of trouble.
func (s Setting) Open(log *slog.Logger) Plumbing {
	return Plumbing{store: network.Open(s.ConfDir, log), host: s.Host(log)}
}
