package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// An implementation is a chain of plugins with its environment.
type implementation struct {
	name string
	dir  string
	env  []string
	// plugins are the entries of the configuration list, in order; STATE
	// stands for the private state directory.
	plugins []string
}

func implementations(ours, reference string) []implementation {
	const bridge = `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"hairpinMode":true,%s}`
	const own = `"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}`
	const hostLocal = `"ipMasqBackend":"iptables","ipam":{"type":"host-local","dataDir":"STATE","ranges":[[{"subnet":"10.88.0.0/16"}]]}`
	return []implementation{
		{name: "reference, iptables", dir: reference,
			plugins: []string{fmt.Sprintf(bridge, hostLocal), `{"type":"portmap","backend":"iptables"}`}},
		{name: "netctl, iptables", dir: ours, env: []string{"NETCTL_FIREWALL=iptables"},
			plugins: []string{fmt.Sprintf(bridge, own)}},
		{name: "netctl, nftables", dir: ours, env: []string{"NETCTL_FIREWALL=nftables"},
			plugins: []string{fmt.Sprintf(bridge, own)}},
	}
}

// cost is what one operation took.
type cost struct {
	wall time.Duration
	cpu  time.Duration // of the plugin processes and all they waited for
}

// A world is a private host on which one implementation works.
type world struct {
	implementation
	host       *netns.Namespace
	state      string
	containers []*netns.Namespace // those of fill
	serial     int
	adds, dels []cost
}

func newWorld(i implementation) (*world, error) {
	host, err := netns.New()
	if err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp("", "bench-attach-")
	if err != nil {
		return nil, err
	}
	if i.dir, err = filepath.Abs(i.dir); err != nil {
		return nil, err
	}
	i.env = append(i.env, "NETCTL_STATE_DIR="+state)
	return &world{implementation: i, host: host, state: state}, nil
}

func (w *world) close() {
	for _, c := range w.containers {
		c.Close()
	}
	w.host.Close()
	os.RemoveAll(w.state)
}

// fill attaches containers that stay.
func (w *world) fill(n int) error {
	for range n {
		container, err := netns.New()
		if err != nil {
			return err
		}
		w.containers = append(w.containers, container)
		w.serial++
		if _, _, err := w.add(container, w.serial); err != nil {
			return fmt.Errorf("%s: attach %d: %w", w.name, w.serial, err)
		}
	}
	return nil
}

// add runs ADD of each plugin, as a runtime does, and returns the last result.
func (w *world) add(container *netns.Namespace, serial int) (cost, json.RawMessage, error) {
	var total cost
	var result json.RawMessage
	for _, plugin := range w.plugins {
		took, out, err := w.call("ADD", plugin, container, serial, result)
		if err != nil {
			return total, nil, err
		}
		total.wall, total.cpu, result = total.wall+took.wall, total.cpu+took.cpu, out
	}
	return total, result, nil
}

// del runs DEL of each plugin in reverse order.
func (w *world) del(container *netns.Namespace, serial int, result json.RawMessage) (cost, error) {
	var total cost
	for _, plugin := range slices.Backward(w.plugins) {
		took, _, err := w.call("DEL", plugin, container, serial, result)
		if err != nil {
			return total, err
		}
		total.wall, total.cpu = total.wall+took.wall, total.cpu+took.cpu
	}
	return total, nil
}

// call executes one plugin in the host namespace and times it.
func (w *world) call(verb, plugin string, container *netns.Namespace, serial int, previous json.RawMessage) (cost, []byte, error) {
	conf, kind, err := w.configuration(plugin, serial, previous)
	if err != nil {
		return cost{}, nil, err
	}
	var out, stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(w.dir, kind))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(conf), &out, &stderr
	cmd.Env = append(os.Environ(), w.env...)
	cmd.Env = append(cmd.Env, "CNI_COMMAND="+verb, fmt.Sprintf("CNI_CONTAINERID=c%d", serial),
		"CNI_NETNS="+container.Path(), "CNI_IFNAME=eth0", "CNI_PATH="+w.dir)
	var took cost
	err = w.host.Do(func() error {
		start := time.Now()
		err := cmd.Run()
		took.wall = time.Since(start)
		return err
	})
	if err != nil {
		return took, nil, fmt.Errorf("%s %s: %w: %s%s", verb, kind, err, out.String(), stderr.String())
	}
	took.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return took, out.Bytes(), nil
}

// configuration is what the runtime writes to the plugin's standard input.
func (w *world) configuration(plugin string, serial int, previous json.RawMessage) ([]byte, string, error) {
	keys := map[string]any{}
	plugin = string(bytes.ReplaceAll([]byte(plugin), []byte("STATE"), []byte(w.state)))
	if err := json.Unmarshal([]byte(plugin), &keys); err != nil {
		return nil, "", err
	}
	keys["cniVersion"], keys["name"] = "1.0.0", "bench"
	const firstPort = 10000
	keys["runtimeConfig"] = map[string]any{"portMappings": []map[string]any{
		{"hostPort": firstPort + serial, "containerPort": 80, "protocol": "tcp"}}}
	if previous != nil {
		keys["prevResult"] = previous
	}
	conf, err := json.Marshal(keys)
	return conf, keys["type"].(string), err
}
