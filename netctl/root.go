package netctl

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/netctl/netctl/netctl/runner/grace"
)

// The groups of commands in the help text.
const (
	groupNetworks   = "networks"
	groupContainers = "containers"
	groupImages     = "images"
)

// Main runs the command line args, without the program's name, and returns the
// exit status.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if isRun(args) {
		// The wait that this begins is the longest of the whole start.
		grace.Begin()
	}
	app := &App{Stdin: stdin, Stdout: stdout, Stderr: stderr}
	root := newRoot(app, os.Getenv, args...)
	root.SetArgs(args)
	return report(stderr, root.ExecuteContext(ctx))
}

// newRoot makes the tree of commands, or as much of it as args need. Every global
// flag has its default from the environment.
func newRoot(app *App, getenv func(string) string, args ...string) *cobra.Command {
	root := newGroup("netctl", "Networks for Linux containers, and the containers")
	root.Long = `netctl gives Linux containers their network. A network is a CNI configuration
list, which containerd, CRI-O and nerdctl can load too.`
	root.Version = version()
	root.SetVersionTemplate("netctl version {{.Version}}\n")
	root.SetIn(app.Stdin)
	root.SetOut(app.Stdout)
	root.SetErr(app.Stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	globalFlags(root, app, getenv)
	if isRun(args) {
		// To describe all the others takes as long as its own work.
		root.AddCommand(containers{app}.run())
	} else {
		addCommands(root, app)
	}
	plainUsage(root)
	return root
}

// isRun tells the command that scripts and benchmarks call again and again.
func isRun(args []string) bool { return len(args) > 0 && args[0] == "run" }

func addCommands(root *cobra.Command, app *App) {
	root.AddGroup(&cobra.Group{ID: groupNetworks, Title: "Networks:"},
		&cobra.Group{ID: groupContainers, Title: "Containers:"},
		&cobra.Group{ID: groupImages, Title: "Images:"})
	networkCommands{app}.addTo(root)
	root.AddCommand(dnsCommands{app}.group())
	root.AddCommand(overlayCommands(app))
	root.AddCommand(containerCommands(app)...)
	root.AddCommand(imageCommands(app)...)
	root.AddCommand(doctorCommand(app), topologyCommand(app), volumeCommands(app), systemCommands(app), versionCommand(app), infoCommand(app), eventsCommand(app), pruneRefusal())
}

// plainUsage keeps cobra from adding "[flags]" to usage lines, which say
// [OPTIONS] where it belongs.
func plainUsage(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUsage(sub)
	}
}

func globalFlags(root *cobra.Command, app *App, getenv func(string) string) {
	fallback := func(variable, value string) string {
		if v := getenv(variable); v != "" {
			return v
		}
		return value
	}
	flags := root.PersistentFlags()
	flags.StringVar(&app.StateDir, "state-dir", fallback("NETCTL_STATE_DIR", "/run/netctl"), "what dies with the boot ($NETCTL_STATE_DIR)")
	flags.StringVar(&app.DataDir, "data-dir", fallback("NETCTL_DATA_DIR", "/var/lib/netctl"), "what outlives the boot ($NETCTL_DATA_DIR)")
	flags.StringVar(&app.ConfDir, "conf-dir", fallback("NETCTL_CONF_DIR", "/etc/cni/net.d"), "the networks' CNI configuration lists ($NETCTL_CONF_DIR)")
	app.CNIPath = cniPath(getenv("NETCTL_CNI_PATH"))
	flags.Var(pathList{&app.CNIPath}, "cni-path", "where other CNI plugins are looked for ($NETCTL_CNI_PATH)")
	flags.StringVar(&app.Firewall, "firewall", getenv("NETCTL_FIREWALL"), "iptables or nftables; default: what the host has ($NETCTL_FIREWALL)")

	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	_ = logLevel{level}.Set(getenv("NETCTL_LOG_LEVEL"))
	if getenv("NETCTL_DEBUG") != "" {
		level.Set(slog.LevelDebug)
	}
	app.Log = newLogger(app.Stderr, level)
	flags.Var(logLevel{level}, "log-level", "debug, info, warn or error ($NETCTL_LOG_LEVEL)")
	flags.BoolFuncP("debug", "D", "log everything ($NETCTL_DEBUG)", func(string) error {
		level.Set(slog.LevelDebug)
		return nil
	})
}

// cniPath is the directories of plugins: those given, or the one beside this
// binary and the one where everybody puts them.
func cniPath(given string) []string {
	if given != "" {
		return filepath.SplitList(given)
	}
	return []string{besideUs("cni"), "/opt/cni/bin"}
}

// besideUs is the path of what is installed in this program's directory.
func besideUs(name string) string {
	self, err := os.Executable()
	if err != nil { // no /proc
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

// pathList is a flag that holds directories joined by colons.
type pathList struct{ dirs *[]string }

func (p pathList) String() string {
	if p.dirs == nil {
		return ""
	}
	return strings.Join(*p.dirs, ":")
}
func (p pathList) Set(v string) error { *p.dirs = filepath.SplitList(v); return nil }
func (p pathList) Type() string       { return "dirs" }

// logLevel is a flag that sets the level of a logger already made.
type logLevel struct{ level *slog.LevelVar }

func (l logLevel) String() string {
	if l.level == nil {
		return ""
	}
	return strings.ToLower(l.level.Level().String())
}

func (l logLevel) Set(v string) error {
	if err := l.level.UnmarshalText([]byte(v)); err != nil {
		return fmt.Errorf("want debug, info, warn or error")
	}
	return nil
}
func (l logLevel) Type() string { return "level" }
