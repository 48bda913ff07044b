// Package plugins is the table of our CNI plugins and the two ways to call
// them: Main is one call of the CNI protocol, as a process; a List is a network
// configuration list carried out in this process.
package plugins

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/plugins/bandwidth"
	"github.com/netctl/netctl/plugins/bridge"
	"github.com/netctl/netctl/plugins/dns"
	firewallplugin "github.com/netctl/netctl/plugins/firewall"
	"github.com/netctl/netctl/plugins/host"
	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/firewall"
	"github.com/netctl/netctl/plugins/loopback"
	"github.com/netctl/netctl/plugins/macvlan"
	"github.com/netctl/netctl/plugins/none"
	"github.com/netctl/netctl/plugins/overlay"
	"github.com/netctl/netctl/plugins/portmap"
	"github.com/netctl/netctl/plugins/tuning"
)

// Host is where the plugins work: where state is kept, where foreign plugins
// are, and which packet filter to use.
type Host struct {
	StateDir string   // "" is /run/netctl
	CNIPath  []string // for types that are not in our table
	Firewall string   // "" looks at the host; iptables or nftables
	Log      *slog.Logger
}

// find gives the plugin of a name, or nil.
func (h Host) find(name string) cni.Plugin {
	if mode, ok := findMode(name); ok {
		return attached{h, mode}
	}
	if slices.Contains(attach.IPAMKinds(), name) {
		return ipam{h, name}
	}
	if name == "loopback" {
		return loopback.Plugin{}
	}
	return nil
}

func (h Host) attacher(mode attach.Mode) (*attach.Attacher, error) {
	return attach.New(mode, attach.Options{StateDir: h.StateDir, Firewall: firewall.BackendName(h.Firewall), Log: h.Log})
}

func modes() []attach.Mode {
	return []attach.Mode{
		bandwidth.Mode(), bridge.Mode(), firewallplugin.Mode(), host.Mode(), macvlan.Mode(), none.Mode(), overlay.Mode(),
		portmap.Mode(), tuning.Mode(), dns.Mode(),
	}
}

func findMode(name string) (attach.Mode, bool) {
	all := modes()
	i := slices.IndexFunc(all, func(m attach.Mode) bool { return m.Name == name })
	if i < 0 {
		return attach.Mode{}, false
	}
	return all[i], true
}

// Names lists the plugins, for `make build` to link.
func Names() []string {
	names := append(attach.IPAMKinds(), "loopback")
	for _, m := range modes() {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

// Stdio are the streams of a call. Stdout is protocol.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main answers one call of the CNI protocol by the plugin that is named like
// the program, args[0] (a link to it, in any directory), and returns the exit
// status.
func Main(ctx context.Context, args []string, stdio Stdio) int {
	name := filepath.Base(args[0])
	host := Host{
		StateDir: os.Getenv("NETCTL_STATE_DIR"),
		Firewall: os.Getenv("NETCTL_FIREWALL"),
		Log:      slog.New(slog.NewTextHandler(stdio.Err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	plugin := host.find(name)
	if plugin == nil {
		return notAPlugin(name, args[1:], stdio)
	}
	mode, _ := findMode(name)
	return cni.Call{
		Name: name, Plugin: plugin, Oldest: mode.Oldest, Getenv: os.Getenv,
		Stdin: stdio.In, Stdout: stdio.Out, Stderr: stdio.Err,
	}.Run(ctx)
}

// attached is a mode as a plugin.
type attached struct {
	Host
	mode attach.Mode
}

func (p attached) Add(ctx context.Context, req *cni.Request) (*current.Result, error) {
	a, err := p.attacher(p.mode)
	if err != nil {
		return nil, err
	}
	return a.Add(ctx, req)
}

func (p attached) Del(ctx context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.Del(ctx, req) })
}

func (p attached) Check(ctx context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.Check(ctx, req) })
}

func (p attached) GC(ctx context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.GC(ctx, req) })
}

func (p attached) Status(ctx context.Context, req *cni.Request) error {
	return p.with(func(a *attach.Attacher) error { return a.Status(ctx, req) })
}

func (p attached) with(fn func(*attach.Attacher) error) error {
	a, err := p.attacher(p.mode)
	if err != nil {
		return err
	}
	return fn(a)
}
