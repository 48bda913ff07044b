package plugins_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/netctl/netctl/test/netns"
)

// hostExec has libcni execute plugins with the environment of a test's host.
type hostExec struct {
	invoke.RawExec
	version.PluginDecoder
	env []string
}

func (e *hostExec) ExecPlugin(ctx context.Context, plugin string, stdin []byte, environ []string) ([]byte, error) {
	return e.RawExec.ExecPlugin(ctx, plugin, stdin, append(environ, e.env...))
}

// A runtime is a user of libcni on a test's host, whose only plugin directory
// is ours.
type runtime struct {
	h    *host
	list *libcni.NetworkConfigList
	cni  *libcni.CNIConfig
	data string
}

// newRuntime loads a list. The one thing that is changed in it is where
// host-local keeps its files, because tests don't touch the machine's.
func newRuntime(h *host, file string) *runtime {
	h.t.Helper()
	r := &runtime{h: h, data: filepath.Join(h.state, "networks")}
	text, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	text = []byte(strings.ReplaceAll(string(text), `"type": "host-local"`, fmt.Sprintf(`"type": "host-local", "dataDir": %q`, r.data)))
	if r.list, err = libcni.NetworkConfFromBytes(text); err != nil {
		h.t.Fatal(err)
	}
	exec := &hostExec{env: append([]string{"NETCTL_STATE_DIR=" + h.state, "GORACE=atexit_sleep_ms=0"}, h.env...)}
	exec.Stderr = os.Stderr
	r.cni = libcni.NewCNIConfigWithCacheDir([]string{binaries}, h.t.TempDir(), exec)
	return r
}

func (r *runtime) conf(name, netns string, ports []map[string]any) *libcni.RuntimeConf {
	rt := &libcni.RuntimeConf{ContainerID: name, NetNS: netns, IfName: "eth0", Args: [][2]string{
		{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", name}, {"K8S_POD_INFRA_CONTAINER_ID", name}, {"K8S_POD_UID", "7"},
	}}
	if ports != nil {
		rt.CapabilityArgs = map[string]any{"portMappings": ports}
	}
	return rt
}

func (r *runtime) must(what string, fn func(context.Context) error) {
	r.h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.h.ns.Do(func() error { return fn(ctx) }); err != nil {
		r.h.t.Fatalf("%s: %v", what, err)
	}
}

// publishes tells whether the list has a plugin for host ports.
func (r *runtime) publishes() bool {
	for _, p := range r.list.Plugins {
		if p.Network.Capabilities["portMappings"] {
			return true
		}
	}
	return false
}

// TestCommonLists runs the lists that people have through libcni on our plugins
// alone, and tries each way that a container can be reached: from its neighbour,
// from the host, from outside by its published ports, and outside from it; with
// TCP and UDP, IPv4 and IPv6.
func TestCommonLists(t *testing.T) {
	files, err := filepath.Glob("testdata/conflists/*.conflist")
	if err != nil || len(files) < 8 {
		t.Fatalf("lists: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".conflist"), func(t *testing.T) {
			t.Parallel()
			tryList(t, file)
		})
	}
}

func tryList(t *testing.T, file string) {
	h := newHost(t)
	r := newRuntime(h, file)
	outside := h.outside()
	on(t, outside, "ip -6 route add default via 2001:db8::1")
	r.must("validate", func(ctx context.Context) error { _, err := r.cni.ValidateNetworkList(ctx, r.list); return err })

	if strings.Contains(string(r.list.Bytes), `"externalSetMarkChain":`) {
		h.kubelet()
	}
	a, b := h.container(), h.container()
	on(t, a, "ip link set lo up")
	on(t, b, "ip link set lo up")
	var ports []map[string]any
	if r.publishes() {
		ports = []map[string]any{
			{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}, // as containerd writes them
			{"HostPort": 8053, "ContainerPort": 53, "Protocol": "udp", "HostIP": ""},
		}
	}
	runA, runB := r.conf("a", a.Path(), ports), r.conf("b", b.Path(), nil)
	addresses := r.add(runA)
	r.add(runB)
	if !versionBefore(r.list.CNIVersion, "0.4.0") {
		for _, run := range []*libcni.RuntimeConf{runA, runB} {
			r.must("CHECK", func(ctx context.Context) error { return r.cni.CheckNetworkList(ctx, r.list, run) })
		}
	}
	for _, address := range addresses {
		greet(t, a, address)
		reaches(t, "from its neighbour", b, netip.AddrPortFrom(address, 80), netip.AddrPortFrom(address, 53))
		reaches(t, "from the host", h.ns, netip.AddrPortFrom(address, 80), netip.AddrPortFrom(address, 53))
		here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.9")
		if address.Is6() {
			here, there = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::9")
		}
		greet(t, outside, there)
		reaches(t, "outside from it", a, netip.AddrPortFrom(there, 80), netip.AddrPortFrom(there, 53))
		if !r.publishes() {
			continue
		}
		clients := map[string]*netns.Namespace{"from outside": outside, "from the host": h.ns, "from a neighbour": b}
		if strings.Contains(string(r.list.Plugins[0].Bytes), `"hairpinMode":true`) {
			clients["from itself"] = a // else a bridge gives nothing back by the port it came by
		}
		for from, ns := range clients {
			reaches(t, "published, "+from, ns, netip.AddrPortFrom(here, 8080), netip.AddrPortFrom(here, 8053))
		}
	}
	r.must("DEL", func(ctx context.Context) error { return r.cni.DelNetworkList(ctx, r.list, runA) })
	reachesNot(t, outside, "192.0.2.1:8080")
	runB.NetNS = "" // as nerdctl does, and everybody after a reboot
	for range 2 {
		r.must("DEL", func(ctx context.Context) error { return r.cni.DelNetworkList(ctx, r.list, runB) })
	}
	h.wantClean()
	if files, _ := filepath.Glob(filepath.Join(r.data, "*", "*[.:]*[0-9a-f]")); len(reservations(files)) > 0 {
		t.Errorf("still reserved: %v", files)
	}
}

// kubelet makes the chains that the node's agent has before the first pod: what
// passes KUBE-MARK-MASQ is masqueraded.
func (h *host) kubelet() {
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, rule := range []string{
			"-N KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000", "-N KUBE-POSTROUTING", "-A POSTROUTING -j KUBE-POSTROUTING",
			"-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN", "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000", "-A KUBE-POSTROUTING -j MASQUERADE",
		} {
			on(h.t, h.ns, tool+" -t nat "+rule)
		}
	}
}

// reservations leaves out what is not an address.
func reservations(files []string) []string {
	var all []string
	for _, file := range files {
		if _, err := netip.ParseAddr(filepath.Base(file)); err == nil {
			all = append(all, file)
		}
	}
	return all
}

// add attaches and gives the container's addresses.
func (r *runtime) add(run *libcni.RuntimeConf) []netip.Addr {
	r.h.t.Helper()
	var made types.Result
	r.must("ADD", func(ctx context.Context) (err error) {
		made, err = r.cni.AddNetworkList(ctx, r.list, run)
		return err
	})
	result, err := current.NewResultFromResult(made)
	if err != nil {
		r.h.t.Fatal(err)
	}
	var addresses []netip.Addr
	for _, ip := range result.IPs {
		address, _ := netip.AddrFromSlice(ip.Address.IP)
		addresses = append(addresses, address.Unmap())
	}
	text, _ := json.Marshal(result)
	if len(addresses) == 0 || result.Interfaces[0].Sandbox != "" || result.Interfaces[2].Name != "eth0" {
		r.h.t.Fatalf("result %s", text)
	}
	return addresses
}

func versionBefore(a, b string) bool {
	newer, err := version.GreaterThanOrEqualTo(a, b)
	return err == nil && !newer
}

// greet answers on port 80 (TCP) and 53 (UDP) of an address of a namespace.
func greet(t *testing.T, ns *netns.Namespace, address netip.Addr) {
	t.Helper()
	serve(t, ns, netip.AddrPortFrom(address, 80).String(), "hello")
	var socket net.PacketConn
	err := ns.Do(func() (err error) {
		socket, err = net.ListenPacket("udp", netip.AddrPortFrom(address, 53).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		buffer := make([]byte, 100)
		for {
			_, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = socket.WriteTo([]byte("hello"), from)
		}
	}()
}

// reaches wants both to be answered. A datagram may be lost, so it is sent
// again.
func reaches(t *testing.T, how string, from *netns.Namespace, tcp, udp netip.AddrPort) {
	t.Helper()
	if got, err := askPatiently(from, "tcp", tcp); err != nil || got != "hello" {
		t.Errorf("%s: TCP %s: %q, %v", how, tcp, got, err)
	}
	if got, err := askPatiently(from, "udp", udp); err != nil || got != "hello" {
		t.Errorf("%s: UDP %s: %q, %v", how, udp, got, err)
	}
}

func askPatiently(from *netns.Namespace, network string, to netip.AddrPort) (string, error) {
	var got string
	err := from.Do(func() (err error) {
		for range 5 {
			if got, err = askOver(network, to); err == nil {
				return nil
			}
		}
		return err
	})
	return got, err
}

func askOver(network string, to netip.AddrPort) (string, error) {
	conn, err := net.DialTimeout(network, to.String(), 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if network == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	buffer := make([]byte, 100)
	n, err := conn.Read(buffer)
	return string(buffer[:n]), err
}

// reachesNot wants a connection to be refused.
func reachesNot(t *testing.T, from *netns.Namespace, address string) {
	t.Helper()
	if got, err := askBriefly(from, address); err == nil {
		t.Errorf("%s still answers %q", address, got)
	}
}
