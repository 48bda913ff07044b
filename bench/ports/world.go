package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// maxContainers is what the addresses and host ports of a world have room for.
const maxContainers = 10000

// An implementation is a portmap plugin with one of its mechanisms.
type implementation struct {
	name, dir, backend string
	// seed writes rules for containers without calling the plugin; nil where
	// calling it is cheap enough.
	seed func(w *world, from, to int) error
}

// The reference with iptables is first: ratios are to it.
func implementations(o options) []implementation {
	return []implementation{
		{"reference, iptables", o.reference, "iptables", seedIPTables},
		{"reference, nftables", o.reference, "nftables", seedNFTables},
		{"netctl, iptables", o.ours, "iptables", nil},
		{"netctl, nftables", o.ours, "nftables", nil},
	}
}

// A world is a private host with a bridge, a neighbour to connect from, and one
// real container, which the last published port leads to.
type world struct {
	implementation
	host, client, container *netns.Namespace
	state                   string
	// filled are the containers that publish a port. All but one exist only
	// as addresses: a portmap plugin asks nothing of them.
	filled int
}

func newWorlds(o options) (worlds []*world, err error) {
	for _, i := range implementations(o) {
		w, err := newWorld(i)
		if err != nil {
			closeAll(worlds)
			return nil, err
		}
		worlds = append(worlds, w)
	}
	return worlds, nil
}

func closeAll(worlds []*world) {
	for _, w := range worlds {
		w.close()
	}
}

func newWorld(i implementation) (*world, error) {
	var err error
	if i.dir, err = filepath.Abs(i.dir); err != nil {
		return nil, err
	}
	w := &world{implementation: i}
	for _, n := range []**netns.Namespace{&w.host, &w.client, &w.container} {
		if *n, err = netns.New(); err != nil {
			return nil, err
		}
	}
	if w.state, err = os.MkdirTemp("", "bench-ports-"); err != nil {
		return nil, err
	}
	return w, w.connect()
}

const (
	clientAddress = "192.0.2.2"
	hostAddress   = "192.0.2.1"
	gateway       = "10.88.0.1"
)

// connect makes the links.
func (w *world) connect() error {
	for _, step := range []struct {
		in     *netns.Namespace
		script string
	}{
		{w.host, fmt.Sprintf(`
ip link add br0 type bridge forward_delay 0
ip addr add %[1]s/16 dev br0
ip link set br0 up
ip link add eth1 type veth peer name eth0 netns %[2]s
ip addr add %[3]s/24 dev eth1
ip link set eth1 up
ip link add v1 type veth peer name eth0 netns %[4]s
ip link set v1 master br0 up
sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_tcp_timeout_close=1`,
			gateway, w.client.Path(), hostAddress, w.container.Path())},
		{w.client, fmt.Sprintf(`
ip addr add %s/24 dev eth0
ip link set eth0 up
ip route add 10.88.0.0/16 via %s`, clientAddress, hostAddress)},
		{w.container, fmt.Sprintf(`
ip addr add %s/16 dev eth0
ip link set eth0 up
ip route add default via %s`, served, gateway)},
	} {
		if err := step.in.Run("sh", "-ec", step.script); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	w.host.Close()
	w.client.Close()
	w.container.Close()
	os.RemoveAll(w.state)
}

// fill has so many containers publish a port.
func (w *world) fill(to int) error {
	from := w.filled
	w.filled = to
	if w.seed == nil || from == 0 && to > 0 {
		// The reference's first one makes the base that the seeds stand on.
		for ; from < to; from++ {
			if _, err := w.call("ADD", number(from), 1); err != nil {
				return err
			}
			if w.seed != nil {
				from++
				break
			}
		}
	}
	if w.seed == nil || from == to {
		return nil
	}
	return w.seed(w, from, to)
}

// A container is one that publishes.
type container struct {
	id       string
	address  netip.Addr
	hostPort int // the first
}

// served is the address of the container that really exists.
const served = "10.88.255.1"

// number is a container that stays.
func number(i int) container {
	address := netip.AddrFrom4([4]byte{10, 88, byte(1 + i/250), byte(1 + i%250)})
	return container{id: fmt.Sprintf("c%d", i), address: address, hostPort: 10000 + i}
}

// call runs the plugin and says how long it took.
func (w *world) call(verb string, c container, ports int) (time.Duration, error) {
	conf, err := w.configuration(c, ports)
	if err != nil {
		return 0, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(w.dir, "portmap"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(conf), &stdout, &stderr
	cmd.Env = append(os.Environ(), "NETCTL_STATE_DIR="+w.state, "CNI_COMMAND="+verb, "CNI_CONTAINERID="+c.id,
		"CNI_NETNS="+w.container.Path(), "CNI_IFNAME=eth0", "CNI_PATH="+w.dir)
	var took time.Duration
	err = w.host.Do(func() error {
		start := time.Now()
		err := cmd.Run()
		took = time.Since(start)
		return err
	})
	if err != nil {
		return took, fmt.Errorf("%s: %s %s: %w: %s%s", w.name, verb, c.id, err, stdout.String(), stderr.String())
	}
	return took, nil
}

// configuration is what a runtime writes to the plugin: as after the bridge
// plugin, with the ports c.hostPort and up.
func (w *world) configuration(c container, ports int) ([]byte, error) {
	mappings := []map[string]any{}
	for i := range ports {
		// Every second one, so that they can't be put together to a range.
		mappings = append(mappings, map[string]any{"hostPort": c.hostPort + 2*i, "containerPort": 80 + i, "protocol": "tcp"})
	}
	return json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "bench", "type": "portmap", "backend": w.backend,
		"runtimeConfig": map[string]any{"portMappings": mappings},
		"prevResult": map[string]any{
			"cniVersion": "1.0.0",
			"interfaces": []map[string]any{{"name": "br0"}, {"name": "eth0", "sandbox": w.container.Path()}},
			"ips":        []map[string]any{{"address": c.address.String() + "/16", "gateway": gateway, "interface": 1}},
		},
	})
}
