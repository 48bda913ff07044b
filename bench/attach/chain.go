package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/overlay/handover"
)

// Entries of configuration lists; STATE stands for the private state directory.
const (
	referenceBridge  = `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"ipMasqBackend":"iptables","hairpinMode":true,"ipam":{"type":"host-local","dataDir":"STATE","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	referencePlain   = `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipam":{"type":"host-local","dataDir":"STATE","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	referencePortmap = `{"capabilities":{"portMappings":true},"type":"portmap","backend":"iptables"}`
	referenceMacvlan = `{"type":"macvlan","master":"up0","ipam":{"type":"host-local","dataDir":"STATE","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	oneEntry         = `{"capabilities":{"portMappings":true},"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	withoutPorts     = `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	chainedPortmap   = `{"capabilities":{"portMappings":true},"type":"portmap"}`
	plain            = `{"type":"bridge","bridge":"br0","isDefaultGateway":true,"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	macvlan          = `{"type":"macvlan","master":"up0","ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}]]}}`
	loopback         = `{"type":"loopback"}`
	none             = `{"type":"none"}`
	hostMode         = `{"type":"host"}`
	overlay          = `{"capabilities":{"portMappings":true},"type":"overlay","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"hairpinMode":true}`
)

// network is the name of all of them.
const network = "bench"

// A chain is a list of CNI plugins, executed one after the other as a runtime
// does.
type chain struct {
	world   *world
	dir     string
	env     []string
	plugins []string

	mu     sync.Mutex
	groups []int // process groups of plugins that have returned
}

// chainOf opens the plugins of a directory.
func chainOf(dir, firewall string, plugins ...string) func(*world) (subject, error) {
	return func(w *world) (subject, error) {
		dir, err := filepath.Abs(dir)
		c := &chain{world: w, dir: dir, env: append(os.Environ(), "NETCTL_STATE_DIR="+w.state)}
		if firewall != "" {
			c.env = append(c.env, "NETCTL_FIREWALL="+firewall)
		}
		for _, p := range plugins {
			c.plugins = append(c.plugins, strings.ReplaceAll(p, "STATE", w.state))
		}
		return c, err
	}
}

// overlayOf is chainOf on a host for which overlayd has obtained a pool.
func overlayOf(dir, firewall string, plugins ...string) func(*world) (subject, error) {
	return func(w *world) (subject, error) {
		pool := netip.MustParsePrefix("10.88.0.0/16")
		_, err := handover.Write(w.state, handover.Network{
			Network: network, Group: 1, MTU: 1450, Pools: []handover.Pool{{Prefix: pool}},
			Inside: []netip.Prefix{pool}, Ranges: []netip.Prefix{pool},
		})
		if err != nil {
			return nil, err
		}
		return chainOf(dir, firewall, plugins...)(w)
	}
}

func (c *chain) do(op operation, settle bool) (cost, []byte, error) {
	var total cost
	plugins := slices.Clone(c.plugins)
	if op.verb == "DEL" {
		slices.Reverse(plugins)
	}
	for _, p := range plugins {
		took, out, err := c.call(op, p, settle)
		if err != nil {
			return total, nil, err
		}
		total = total.plus(took)
		if op.verb == "ADD" {
			op.result = out
		}
	}
	return total, op.result, nil
}

// call executes one plugin in the host namespace and times it.
func (c *chain) call(op operation, plugin string, settle bool) (cost, []byte, error) {
	conf, kind, err := configuration(plugin, op)
	if err != nil {
		return cost{}, nil, err
	}
	cmd := command(op.trace, filepath.Join(c.dir, kind))
	cmd.Stdin = bytes.NewReader(conf)
	cmd.Env = append(slices.Clone(c.env), "CNI_COMMAND="+op.verb, "CNI_CONTAINERID="+op.id(),
		"CNI_NETNS="+op.container.Path(), "CNI_IFNAME=eth0", "CNI_PATH="+c.dir)
	took, out, err := c.world.execute(cmd)
	if err != nil {
		return took, nil, fmt.Errorf("%s %s: %w", op.verb, kind, err)
	}
	if !settle {
		c.mu.Lock()
		c.groups = append(c.groups, cmd.Process.Pid)
		c.mu.Unlock()
		return took, out, nil
	}
	late, err := reap(cmd.Process.Pid)
	took.cpu += late
	return took, out, err
}

func (c *chain) settle() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, group := range c.groups {
		if _, err := reap(group); err != nil {
			return err
		}
	}
	c.groups = nil
	return nil
}

func (c *chain) close() error { return c.settle() }

// command makes a command, under strace if there is a file for its log.
func command(trace, name string, args ...string) *exec.Cmd {
	if trace != "" {
		args = append([]string{"-f", "-qq", "-e", "trace=execve", "-A", "-o", trace, name}, args...)
		name = "strace"
	}
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // see reap
	return cmd
}

// execute runs a command in the host namespace and times it.
func (w *world) execute(cmd *exec.Cmd) (cost, []byte, error) {
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	var took cost
	err := w.host.Do(func() error {
		start := time.Now()
		err := cmd.Run()
		took.wall = time.Since(start)
		return err
	})
	if err != nil {
		return took, nil, fmt.Errorf("%w: %s%s", err, out.String(), stderr.String())
	}
	took.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return took, out.Bytes(), nil
}

// reap waits for what a process group has left running, which is ours since its
// leader has ended, and returns the processor time it took.
func reap(group int) (time.Duration, error) {
	var total time.Duration
	for {
		var usage unix.Rusage
		_, err := unix.Wait4(-group, nil, 0, &usage)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return total, nil
		case err != nil:
			return total, fmt.Errorf("wait for process group %d: %w", group, err)
		default:
			total += processorTime(usage)
		}
	}
}

func processorTime(u unix.Rusage) time.Duration {
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// configuration is what the runtime writes to the plugin's standard input.
func configuration(plugin string, op operation) ([]byte, string, error) {
	keys := map[string]any{}
	if err := json.Unmarshal([]byte(plugin), &keys); err != nil {
		return nil, "", err
	}
	keys["cniVersion"], keys["name"] = "1.0.0", network
	kind := keys["type"].(string)
	if keys["capabilities"] != nil { // libcni takes the key out and puts the arguments in
		keys["runtimeConfig"] = map[string]any{"portMappings": []map[string]any{
			{"hostPort": op.port(), "containerPort": 80, "protocol": "tcp"}}}
	}
	delete(keys, "capabilities")
	if op.result != nil {
		keys["prevResult"] = json.RawMessage(op.result)
	}
	conf, err := json.Marshal(keys)
	return conf, kind, err
}
