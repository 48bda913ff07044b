package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/netctl/netctl/test/netns"
)

const network = "web"

// A host is a network namespace with directories of its own.
type host struct {
	bin, dir   string
	size       int
	ns         *netns.Namespace
	containers []*netns.Namespace
	plugin     map[string]any // the network's first plugin, as one configuration
}

func newHost(bin string, size int) (*host, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	h := &host{bin: bin, size: size}
	if h.dir, err = os.MkdirTemp("", "bench-commands-"); err != nil {
		return nil, err
	}
	if h.ns, err = netns.New(); err != nil {
		return nil, err
	}
	// A way out of the host, which masquerade asks for.
	return h, h.ns.Run("sh", "-c", "ip link add out type ifb && ip addr add 192.0.2.1/24 dev out && ip link set out up && ip route add default via 192.0.2.2")
}

func (h *host) close() {
	for _, c := range h.containers {
		c.Close()
	}
	h.ns.Close()
	os.RemoveAll(h.dir)
}

// fill attaches the containers, and creates as many.
func (h *host) fill() error {
	if _, err := h.run(nil, "netctl", "network", "create", "--subnet", "10.77.0.0/16", network); err != nil {
		return err
	}
	if err := h.readPlugin(); err != nil {
		return err
	}
	for i := range h.size {
		c, err := netns.NewDown()
		if err != nil {
			return err
		}
		h.containers = append(h.containers, c)
		conf := h.configuration(map[string]any{"runtimeConfig": map[string]any{
			"portMappings": []any{map[string]any{"hostPort": 20000 + i, "containerPort": 80, "protocol": "tcp"}},
			"aliases":      []string{fmt.Sprintf("web%d", i)},
		}})
		env := []string{"CNI_CONTAINERID=" + id(i), "CNI_NETNS=" + c.Path(), "CNI_IFNAME=eth0"}
		if _, err := h.cni("ADD", conf, env...); err != nil {
			return err
		}
		if _, err := h.run(nil, "netctl", "container", "create", "--name", fmt.Sprintf("c%d", i), "host", "true"); err != nil {
			return err
		}
	}
	return nil
}

// id is as long and as scattered as a runtime's.
func id(i int) string { return fmt.Sprintf("%064x", (i+1)*2654435761) }

func (h *host) readPlugin() error {
	files, err := filepath.Glob(filepath.Join(h.dir, "conf", "*"+network+"*"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("the network's list: %v, %w", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	var list struct {
		Name    string           `json:"name"`
		Plugins []map[string]any `json:"plugins"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if len(list.Plugins) == 0 {
		return errors.New("the network's list has no plugin")
	}
	h.plugin = list.Plugins[0]
	h.plugin["name"], h.plugin["cniVersion"] = list.Name, "1.1.0"
	return nil
}

func (h *host) configuration(more map[string]any) []byte {
	conf := map[string]any{}
	for _, from := range []map[string]any{h.plugin, more} {
		for key, value := range from {
			conf[key] = value
		}
	}
	data, _ := json.Marshal(conf) // it came from JSON, and texts were added
	return data
}

// valid is the configuration of a GC that keeps the containers from one on.
func (h *host) valid(first int) []byte {
	keep := []any{}
	for i := first; i < h.size; i++ {
		keep = append(keep, map[string]any{"containerID": id(i), "ifname": "eth0"})
	}
	return h.configuration(map[string]any{"cni.dev/valid-attachments": keep})
}

// times of one call.
type times struct{ wall, cpu time.Duration }

func (t times) whole() float64     { return float64(t.wall.Microseconds()) / 1e3 }
func (t times) processor() float64 { return float64(t.cpu.Microseconds()) / 1e3 }

// cni calls the network's plugin.
func (h *host) cni(verb string, conf []byte, env ...string) (times, error) {
	cmd := exec.Command(filepath.Join(h.bin, "cni", "bridge"))
	cmd.Stdin = bytes.NewReader(conf)
	cmd.Env = append(env, "CNI_COMMAND="+verb, "CNI_PATH="+filepath.Join(h.bin, "cni"))
	return h.time(cmd)
}

// run calls one of our programs.
func (h *host) run(env []string, program string, args ...string) (times, error) {
	cmd := exec.Command(filepath.Join(h.bin, program), args...)
	cmd.Env = env
	return h.time(cmd)
}

func (h *host) time(cmd *exec.Cmd) (times, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(append(os.Environ(), cmd.Env...), "NETCTL_FIREWALL=nftables", "NETCTL_CNI_PATH="+filepath.Join(h.bin, "cni"),
		"NETCTL_STATE_DIR="+filepath.Join(h.dir, "state"), "NETCTL_DATA_DIR="+filepath.Join(h.dir, "data"), "NETCTL_CONF_DIR="+filepath.Join(h.dir, "conf"))
	start := time.Now()
	if err := h.ns.Do(cmd.Run); err != nil {
		return times{}, fmt.Errorf("%v: %w: %s", cmd.Args, err, out.Bytes())
	}
	return times{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}
