package netctl

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/monitor"
	"github.com/netctl/netctl/netctl/runner/store"
)

// hostInfo is what `info --format` knows.
type hostInfo struct {
	Version                      string
	Name                         string // of the host
	KernelVersion                string
	CgroupVersion                string
	Containers                   int
	ContainersRunning            int
	ContainersStopped            int
	Networks                     int
	Firewall                     string
	AppArmor                     string
	StateDir, DataDir, ConfigDir string
	CNIPath                      []string
	dockerInfo
}

const infoText = `Version:         {{.Version}}
Host:            {{.Name}}
Kernel:          {{.KernelVersion}}
Cgroup version:  {{.CgroupVersion}}
Firewall:        {{.Firewall}}
AppArmor:        {{.AppArmor}}
Containers:      {{.Containers}} ({{.ContainersRunning}} running, {{.ContainersStopped}} stopped)
Networks:        {{.Networks}}
State:           {{.StateDir}}
Data:            {{.DataDir}}
Networks in:     {{.ConfigDir}}
CNI plugins in:  {{join .CNIPath ", "}}`

func infoCommand(app *App) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "info",
		Short:             "Show what netctl works with on this host",
		Args:              args(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			info, err := newHostInfo(app)
			if err != nil {
				return err
			}
			text := infoText
			switch format {
			case "":
			case "json":
				text = "{{json .}}"
			default:
				text = format
			}
			return showTemplate(app.Stdout, text, []hostInfo{info})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "'json' or a Go template")
	return cmd
}

func newHostInfo(app *App) (hostInfo, error) {
	info := hostInfo{
		Version: version(), CgroupVersion: cgroupVersion(), Firewall: app.Firewall,
		StateDir: app.StateDir, DataDir: app.DataDir, ConfigDir: app.ConfDir, CNIPath: app.CNIPath,
	}
	if info.Firewall == "" {
		info.Firewall = "automatic"
	}
	info.AppArmor = apparmorText()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return info, fmt.Errorf("uname: %w", err)
	}
	info.Name, info.KernelVersion = unix.ByteSliceToString(name.Nodename[:]), unix.ByteSliceToString(name.Release[:])
	var err error
	if info.dockerInfo, err = newDockerInfo(app, &name); err != nil {
		return info, err
	}
	networks, err := networkCommands{app}.store().List()
	if err != nil {
		return info, err
	}
	containers, err := store.Open(app.StateDir, app.DataDir).List()
	if err != nil {
		return info, err
	}
	info.Networks, info.Containers = len(networks), len(containers)
	for _, c := range containers {
		switch c.State.Status {
		case runner.StatusRunning:
			info.ContainersRunning++
		case runner.StatusPaused:
			info.ContainersPaused++
		}
	}
	info.ContainersStopped = info.Containers - info.ContainersRunning - info.ContainersPaused
	return info, nil
}

// apparmorText is the profile of containers that ask for none, or why they have none.
func apparmorText() string {
	name, problem := monitor.DefaultProfile()
	switch {
	case name != "":
		return name
	case problem != "":
		return "none: " + problem
	}
	return "none: this kernel has no AppArmor, or it is off"
}

// cgroupVersion tells the unified hierarchy by the file that only it has.
func cgroupVersion() string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "2"
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err == nil && strings.Contains(string(mounts), " cgroup ") {
		return "1"
	}
	return "none"
}
