package netctl

import (
	"cmp"
	"net/netip"
	"strconv"
	"time"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/spec"
)

// containerObject is a container as inspect shows it: docker's JSON.
type containerObject struct {
	ID              string `json:"Id"`
	Created         stamp
	Path            string
	Args            []string
	State           stateObject
	RestartCount    int
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	AppArmorProfile string
	// Name begins with a slash, as docker's does: what reads it cuts the first
	// character off.
	Name            string
	Driver          string
	Platform        string
	HostConfig      hostConfigObject
	Mounts          []mountObject
	Config          configObject
	NetworkSettings networkSettingsObject
	// With --size: bytes of the container's own changes and logs, and of all its
	// root file system together.
	SizeRw     *int64 `json:",omitempty"`
	SizeRootFs *int64 `json:",omitempty"`

	// Id is how docker's own templates spell it; ImageName and EffectiveCaps are podman's.
	Id            string   `json:"-"`
	ImageName     string   `json:"-"`
	EffectiveCaps []string `json:"-"`
}

type stateObject struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  stamp
	FinishedAt stamp
	// Health is nil without a health check: templates ask whether there is one.
	Health *healthObject `json:",omitempty"`
}

type healthObject struct {
	Status        string
	FailingStreak int
	Log           []healthResultObject
}

type healthResultObject struct {
	Start, End stamp
	ExitCode   int
	Output     string
}

// healthCheckObject is a health check as docker's JSON has it; times are nanoseconds.
type healthCheckObject struct {
	Test          []string
	Interval      time.Duration `json:",omitempty"`
	Timeout       time.Duration `json:",omitempty"`
	StartPeriod   time.Duration `json:",omitempty"`
	StartInterval time.Duration `json:",omitempty"`
	Retries       int           `json:",omitempty"`
}

type mountObject struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
}

type configObject struct {
	Hostname     string
	Domainname   string
	User         string
	Tty          bool
	OpenStdin    bool
	Env          []string
	Cmd          []string
	Entrypoint   []string
	Image        string
	WorkingDir   string
	Labels       map[string]string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	StopTimeout  *int                `json:",omitempty"`
	Healthcheck  *healthCheckObject  `json:",omitempty"`
}

// networkSettingsObject has, beside Networks, the first network's values at
// its top: docker has dropped these, but thousands of guides use them.
type networkSettingsObject struct {
	SandboxID           string
	SandboxKey          string
	Ports               map[string][]bindingObject
	EndpointID          string
	Gateway             string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	MacAddress          string
	Networks            map[string]endpointObject
}

type bindingObject struct{ HostIp, HostPort string }

type endpointObject struct {
	Aliases             []string
	DNSNames            []string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	MacAddress          string
	GwPriority          int
	// InterfaceName is ours.
	InterfaceName string
}

func (c containers) newObject(rec runner.Container) containerObject {
	s := c.all().Store
	id := rec.Config.ID
	path, arguments := rec.Process.Entrypoint()
	var asRun struct {
		Process struct {
			ApparmorProfile string
			Capabilities    struct{ Effective []string }
		}
	}
	_ = s.Spec(id, &asRun) // there is none before the first start
	file := func(name string) string { return s.File(id, name) }
	return containerObject{
		ID: string(id), Id: string(id), ImageName: rec.Image, EffectiveCaps: asRun.Process.Capabilities.Effective, Created: newStamp(rec.Created), Path: path, Args: orNone(arguments),
		State: newStateObject(rec.State), RestartCount: rec.State.Restarts, Image: cmp.Or(rec.ImageID, rec.Image), Name: "/" + rec.Name, Driver: "overlay", Platform: "linux",
		ResolvConfPath: file("resolv.conf"), HostnamePath: file("hostname"), HostsPath: file("hosts"), LogPath: s.LogPath(id),
		AppArmorProfile: asRun.Process.ApparmorProfile,
		HostConfig:      newHostConfigObject(rec), Mounts: c.mountObjects(rec), Config: newConfigObject(rec),
		NetworkSettings: newNetworkSettings(rec),
	}
}

func newStateObject(st runner.State) stateObject {
	var health *healthObject
	if h := st.Health; h != nil {
		health = &healthObject{string(h.Status), h.FailingStreak, []healthResultObject{}}
		for _, r := range h.Log {
			health.Log = append(health.Log, healthResultObject{newStamp(r.Start), newStamp(r.End), r.ExitCode, r.Output})
		}
	}
	return stateObject{
		Health: health,
		Status: string(st.Status), Running: st.Status.Active() && st.Status != runner.StatusStarting,
		Restarting: st.Status == runner.StatusRestarting,
		Paused:     st.Status == runner.StatusPaused, OOMKilled: st.OOMKilled, Pid: st.Pid, ExitCode: st.ExitCode,
		Error: st.Error, StartedAt: newStamp(st.Started), FinishedAt: newStamp(st.Finished),
	}
}

func mountMode(m runner.Mount) string {
	if m.ReadOnly {
		return "ro"
	}
	return ""
}

func (c containers) mountObjects(rec runner.Container) []mountObject {
	out := []mountObject{}
	for _, m := range rec.Mounts {
		o := mountObject{Type: string(m.Kind), Source: m.Source, Destination: m.Target, Mode: mountMode(m), RW: !m.ReadOnly}
		if m.Kind == runner.MountVolume {
			o.Name, o.Source, o.Driver = m.Source, c.all().Store.VolumePath(m.Source), "local"
		}
		out = append(out, o)
	}
	return out
}

func newConfigObject(rec runner.Container) configObject {
	o := configObject{
		Hostname: rec.Hostname, Domainname: rec.Domainname, User: rec.Process.User, Tty: rec.Process.TTY,
		OpenStdin: rec.Process.OpenStdin, Env: spec.MergeEnv([]string{spec.DefaultPath}, rec.Process.Env), Image: rec.Image,
		WorkingDir: rec.Process.Dir, Labels: orEmpty(rec.Labels), StopSignal: rec.StopSignal, StopTimeout: rec.StopTimeout,
	}
	if rec.Health.Enabled() {
		o.Healthcheck = new(healthCheckObject(rec.Health))
	}
	o.Entrypoint, o.Cmd = rec.Process.Split()
	for _, e := range rec.Endpoints {
		o.expose(e.Ports)
	}
	o.expose(rec.Exposed)
	return o
}

func (o *configObject) expose(ports []runner.PortSpec) {
	for _, p := range ports {
		if o.ExposedPorts == nil {
			o.ExposedPorts = map[string]struct{}{}
		}
		o.ExposedPorts[portKey(p)] = struct{}{}
	}
}

func newNetworkSettings(rec runner.Container) networkSettingsObject {
	o := networkSettingsObject{
		SandboxID: string(rec.Config.ID), SandboxKey: rec.State.Netns,
		Ports: map[string][]bindingObject{}, Networks: map[string]endpointObject{},
	}
	for i, e := range rec.Endpoints {
		n := newEndpointObject(rec, e)
		o.Networks[e.Network] = n
		if i == 0 {
			o.EndpointID, o.Gateway, o.IPAddress, o.IPPrefixLen = n.EndpointID, n.Gateway, n.IPAddress, n.IPPrefixLen
			o.GlobalIPv6Address, o.GlobalIPv6PrefixLen = n.GlobalIPv6Address, n.GlobalIPv6PrefixLen
			o.IPv6Gateway, o.MacAddress = n.IPv6Gateway, n.MacAddress
		}
	}
	if rec.Network.Kind == runner.NetworkHost || rec.Network.Kind == runner.NetworkNone {
		o.Networks[string(rec.Network.Kind)] = endpointObject{Aliases: []string{}, DNSNames: []string{}}
	}
	for _, p := range rec.Exposed {
		o.Ports[portKey(p)] = nil
	}
	addBindings(o.Ports, reached(rec))
	return o
}

func newEndpointObject(rec runner.Container, e runner.Endpoint) endpointObject {
	o := endpointObject{Aliases: orNone(e.Aliases), DNSNames: orNone(e.Names), InterfaceName: e.IfName, MacAddress: e.MAC, GwPriority: e.Priority}
	a := rec.State.Network(e.Network)
	if a == nil {
		return o
	}
	o.NetworkID, o.MacAddress = a.NetworkID, a.MAC
	if a.NetworkID != "" {
		o.EndpointID = endpointID(a.NetworkID, string(rec.Config.ID), a.IfName)
	}
	for _, p := range a.Addresses {
		if p.Addr().Is4() {
			o.IPAddress, o.IPPrefixLen = p.Addr().String(), p.Bits()
		} else {
			o.GlobalIPv6Address, o.GlobalIPv6PrefixLen = p.Addr().String(), p.Bits()
		}
	}
	for _, g := range a.Gateways {
		switch {
		case g.Is4():
			o.Gateway = g.String()
		case g.Is6():
			o.IPv6Gateway = g.String()
		}
	}
	return o
}

func portKey(p runner.PortSpec) string {
	return strconv.Itoa(int(p.ContainerPort)) + "/" + p.Protocol
}

// addBindings adds ports as docker shows them: what nobody has chosen is empty.
func addBindings(to map[string][]bindingObject, ports []runner.PortSpec) {
	for _, p := range sortedPorts(ports) {
		var b bindingObject
		if p.HostPort != 0 {
			b.HostPort = strconv.Itoa(int(p.HostPort))
		}
		b.HostIp = addrOr(p.HostIP, "")
		to[portKey(p)] = append(to[portKey(p)], b)
	}
}

func addrOr(a netip.Addr, otherwise string) string {
	if a.IsValid() {
		return a.String()
	}
	return otherwise
}

// orNone makes an empty list of no list, which JSON shows as null.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
