package spec

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/moby/sys/user"

	"github.com/netctl/netctl/netctl/runner"
)

var update = flag.Bool("update", false, "write the golden files")

func testHost() Host {
	return Host{
		Root:  "/data/c/ID/merged",
		Netns: "/state/netns/ID",
		User:  User{Home: "/root"},
		Files: map[string]string{"/etc/hosts": "/data/c/ID/hosts", "/etc/hostname": "/data/c/ID/hostname"},
		Volume: func(name string) string {
			return "/data/volumes/" + name + "/_data"
		},
		Masked:       []string{"/data"},
		Capabilities: append(defaultCapabilities(), "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"),
		Bounding:     append(defaultCapabilities(), "CAP_NET_ADMIN", "CAP_SYS_ADMIN"),
		MaxFiles:     20000,
		SwapLimit:    true,
	}
}

func testConfig() *runner.Config {
	return &runner.Config{
		ID:      runner.ID(strings.Repeat("0", 64)),
		Process: runner.Process{Args: []string{"sleep", "1"}},
		Network: runner.NetworkMode{Kind: runner.NetworkNone}, Hostname: "box", CgroupParent: "/netctl",
		// The profile itself is the seccomp module's business.
		Security: runner.Security{Seccomp: SeccompUnconfined},
	}
}

// Each file is the whole specification of a container with one wish.
func TestGoldens(t *testing.T) {
	for name, wish := range map[string]func(*runner.Config, *Host){
		"default": func(*runner.Config, *Host) {},
		"host-network": func(c *runner.Config, h *Host) {
			c.Network.Kind = runner.NetworkHost
			h.Netns = ""
		},
		"terminal-user-caps": func(c *runner.Config, h *Host) {
			c.Process.TTY, c.Process.Dir, c.Process.Env = true, "/srv", []string{"PATH=/bin", "A=1"}
			c.CapAdd, c.CapDrop = []string{"net_admin"}, []string{"CAP_CHOWN"}
			h.User = User{UID: 1000, GID: 1000, Groups: []uint32{4, 27}, Home: "/home/me"}
		},
		"limits": func(c *runner.Config, _ *Host) {
			c.Limits = runner.Limits{
				Memory: 512 << 20, NanoCPUs: 15e8, CPUShares: 512, CPUSet: "0-1", Pids: -1, ShmSize: 1 << 20,
				Ulimits: []runner.Ulimit{{Name: "nofile", Soft: 100, Hard: 1 << 30}, {Name: "core"}},
			}
			c.Sysctls = map[string]string{"net.core.somaxconn": "4096"}
		},
		"devices-apparmor": func(c *runner.Config, h *Host) {
			h.AppArmor = "netctl-default"
			h.Device = func(d runner.DeviceLimit) (runner.DeviceNumber, error) {
				return runner.DeviceNumber{Major: 8, Minor: 16}, nil
			}
			c.Limits.Devices = []runner.DeviceLimit{{Path: "/dev/sdb", ReadBps: 1 << 20, WriteIOps: 10}}
		},
		"devices-opened": func(c *runner.Config, h *Host) {
			c.Devices = []runner.Device{{Path: "/dev/net/tun", Target: "/dev/tun", Access: "rw"}}
			h.Nodes = func(d runner.Device) ([]runner.DeviceNode, error) {
				return []runner.DeviceNode{{DeviceNumber: runner.DeviceNumber{Major: 10, Minor: 200}, Path: d.Target, Mode: 0o666, GID: 5}}, nil
			}
		},
		"weights-umask-groups": func(c *runner.Config, h *Host) {
			c.Process.Umask, c.Process.OOMScoreAdj = new(uint32(0o077)), 500
			h.User.Groups = []uint32{44}
			c.Limits = runner.Limits{MemoryReservation: 64 << 20, CPUPeriod: 50000, CPUQuota: 25000, MemoryNodes: "0", IOWeight: 300}
		},
		"userns": func(c *runner.Config, h *Host) {
			ids := []user.IDMap{{ID: 0, ParentID: 100000, Count: 1000}}
			c.Userns.IDs = user.IdentityMapping{UIDMaps: ids, GIDMaps: ids}
			h.Userns = "/proc/7/fd/8"
			c.Mounts = []runner.Mount{
				{Kind: runner.MountBind, Source: "/srv/x", Target: "/plain"},
				{Kind: runner.MountBind, Source: "/srv/x", Target: "/mapped", MapIDs: true},
				{Kind: runner.MountVolume, Source: "v", Target: "/volume"},
			}
		},
		"userns-host-network": func(c *runner.Config, h *Host) {
			ids := []user.IDMap{{ID: 0, ParentID: 100000, Count: 1000}}
			c.Userns.IDs = user.IdentityMapping{UIDMaps: ids, GIDMaps: ids}
			c.Network.Kind, h.Netns, h.Userns = runner.NetworkHost, "", "/proc/7/fd/8"
		},
		"mounts": func(c *runner.Config, _ *Host) {
			c.ReadOnlyRoot = true
			c.Mounts = []runner.Mount{
				{Kind: runner.MountBind, Source: "/srv/x", Target: "/a/b/c", ReadOnly: true},
				{Kind: runner.MountVolume, Source: "v", Target: "/a", Options: []string{"rshared"}},
				{Kind: runner.MountTmpfs, Target: "/dev/shm", Options: []string{"size=1m"}},
				{Kind: runner.MountBind, Source: "/srv/hosts", Target: "/etc/hosts"},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, h := testConfig(), testHost()
			wish(c, &h)
			s, err := Build(c, h)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if linux, err := json.MarshalIndent(Linux(s), "", "  "); err != nil || string(linux) != string(got) {
				t.Errorf("Linux leaves something out: %s, %v", linux, err)
			}
			got = append(got, '\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("differs from %s (-update writes it):\n%s", path, got)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	known, ours := testHost().Capabilities, testHost().Bounding
	for _, c := range []struct {
		add, drop []string
		want      []string
	}{
		{nil, nil, defaultCapabilities()},
		{nil, []string{"ALL"}, []string{}},
		{[]string{"NET_ADMIN"}, []string{"all"}, []string{"CAP_NET_ADMIN"}},
		{[]string{"ALL"}, nil, ours},
		{[]string{"cap_all"}, []string{"NET_ADMIN"}, slices.DeleteFunc(slices.Clone(ours), func(n string) bool { return n == "CAP_NET_ADMIN" })},
		{[]string{"ALL"}, []string{"ALL"}, ours},
		{nil, []string{"SYS_RESOURCE"}, defaultCapabilities()}, // one that we don't have ourselves
		{[]string{"cap_net_admin", "NET_ADMIN"}, nil, append(defaultCapabilities(), "CAP_NET_ADMIN")},
	} {
		got, err := capabilities(&runner.Config{CapAdd: c.add, CapDrop: c.drop}, testHost())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Bounding, c.want) || !slices.Equal(got.Effective, c.want) || len(got.Inheritable)+len(got.Ambient) > 0 {
			t.Errorf("add %v drop %v: got %+v, want %v", c.add, c.drop, got, c.want)
		}
	}
	_, err := capabilities(&runner.Config{CapAdd: []string{"sys_resource"}}, testHost())
	if err == nil || err.Error() != "--cap-add CAP_SYS_RESOURCE: netctl itself runs without this capability here" {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"", "FOO", "NET_ADMIN ", "CAP_"} {
		if err := CheckCapability(name, known); err == nil {
			t.Errorf("%q passed", name)
		}
	}
}

func TestCapabilitiesOfAFurtherProcess(t *testing.T) {
	bounding := []string{"CAP_CHOWN", "CAP_NET_ADMIN"}
	c := &specs.LinuxCapabilities{Bounding: bounding, Permitted: bounding, Effective: bounding}
	if got := CapabilitiesFor(c, 1000); len(got.Effective)+len(got.Permitted)+len(got.Ambient) > 0 || !slices.Equal(got.Bounding, bounding) {
		t.Errorf("user: %+v", got)
	}
	if got := CapabilitiesFor(&specs.LinuxCapabilities{Bounding: bounding}, 0); !slices.Equal(got.Effective, bounding) {
		t.Errorf("root: %+v", got)
	}
}

func TestSeccompChoices(t *testing.T) {
	build := func(wish string) (*specs.LinuxSeccomp, error) {
		c := testConfig()
		c.Security.Seccomp = wish
		s, err := Build(c, testHost())
		if err != nil {
			return nil, err
		}
		return s.Linux.Seccomp, nil
	}
	p, err := build(SeccompDefault)
	if err != nil || len(p.Architectures) != 0 || p.DefaultAction != specs.ActErrno || len(p.Syscalls) == 0 {
		t.Errorf("default: %v", err)
	}
	if p, err = build(SeccompCompat); err != nil || len(p.Architectures) < 2 {
		t.Errorf("compat: %v", err)
	}
	if p, err = build(SeccompUnconfined); err != nil || p != nil {
		t.Errorf("unconfined: %v, %v", p, err)
	}
	if p, err = build(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ERRNO"}]}`); err != nil || len(p.Syscalls) != 1 {
		t.Errorf("own: %v", err)
	}
	if _, err = build("{"); err == nil {
		t.Error("half a profile passed")
	}
}

func TestMountsAreRefused(t *testing.T) {
	for _, m := range []runner.Mount{
		{Kind: runner.MountBind, Source: "/x", Target: "/"},
		{Kind: runner.MountBind, Source: "/x", Target: "rel"},
		{Kind: runner.MountBind, Source: "/x", Target: "/a/.."},
		{Kind: "nfs", Source: "/x", Target: "/a"},
	} {
		c := testConfig()
		c.Mounts = []runner.Mount{m}
		if _, err := Build(c, testHost()); err == nil {
			t.Errorf("%+v passed", m)
		}
	}
}

func TestCheckSysctl(t *testing.T) {
	own, host := runner.NetworkMode{Kind: runner.NetworkAttached}, runner.NetworkMode{Kind: runner.NetworkHost}
	for _, c := range []struct {
		name string
		mode runner.NetworkMode
		ok   bool
	}{
		{"net.ipv4.ip_forward", own, true}, {"net.ipv4.ip_forward", host, false},
		{"kernel.shmmax", host, true}, {"fs.mqueue.msg_max", host, true},
		{"kernel.panic", own, false}, {"vm.swappiness", own, false}, {"netx", own, false},
	} {
		if err := CheckSysctl(c.name, c.mode); (err == nil) != c.ok {
			t.Errorf("%s with %s: %v", c.name, c.mode.Kind, err)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	got := MergeEnv([]string{"A=1", "AB=2"}, []string{"A=3", "C=", "B=4", "B=5"})
	if want := []string{"A=3", "AB=2", "C=", "B=5"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
