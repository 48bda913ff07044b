package hosts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// A Container is a namespace attached by the CNI plugin. It answers on EchoPort.
type Container struct {
	ID string
	// publish leads to the container's EchoPort from this port of the host.
	publish uint16
	NS      *netns.Namespace
	Addr    netip.Addr
	Network string
	host    *Host
	echo    net.Listener
}

// EchoPort sends back what it gets.
const EchoPort = 7

// TryAdd attaches a new container with the given names to a network.
func (h *Host) TryAdd(network string, names ...string) (*Container, error) {
	return h.add(network, 0, names)
}

// Publish is Add for a container whose EchoPort is a port of the host.
func (h *Host) Publish(network string, port uint16) *Container {
	h.w.t.Helper()
	c, err := h.add(network, port, nil)
	h.w.must(err)
	return c
}

func (h *Host) add(network string, publish uint16, names []string) (*Container, error) {
	ns, err := netns.NewDown()
	if err != nil {
		return nil, err
	}
	h.w.t.Cleanup(func() { _ = ns.Close() })
	h.mu.Lock()
	h.made++
	c := &Container{ID: fmt.Sprintf("%s-c%d", h.Name, h.made), NS: ns, Network: network, publish: publish, host: h}
	h.mu.Unlock()
	out, err := c.call("ADD", names)
	if err != nil {
		return nil, err
	}
	var result struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(out, &result); err != nil || len(result.IPs) == 0 {
		return nil, fmt.Errorf("result of ADD: %w: %s", err, out)
	}
	c.Addr = result.IPs[0].Address.Addr()
	h.w.t.Cleanup(func() { _ = c.Del() })
	return c, c.serve()
}

// Add is TryAdd for what has to succeed.
func (h *Host) Add(network string, names ...string) *Container {
	h.w.t.Helper()
	c, err := h.TryAdd(network, names...)
	h.w.must(err)
	return c
}

// Status asks the plugin whether it could attach now.
func (h *Host) Status(network string) error {
	c := &Container{Network: network, host: h}
	_, err := c.call("STATUS", nil)
	return err
}

// Del detaches the container.
func (c *Container) Del() error {
	if c.echo != nil {
		c.echo.Close()
		c.echo = nil
	}
	_, err := c.call("DEL", nil)
	return err
}

// call runs the plugin with the network's definition on the host.
func (c *Container) call(verb string, names []string) ([]byte, error) {
	conf, err := c.host.definition(c.Network, names, c.publish)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(c.host.w.Bin, "cni", "overlay"))
	cmd.Env = append(c.host.Env(), "CNI_COMMAND="+verb)
	if c.NS != nil {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+c.ID, "CNI_IFNAME=eth0", "CNI_NETNS="+c.NS.Path())
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(conf), &out, &errs
	if err := c.host.NS.Do(cmd.Run); err != nil {
		return nil, fmt.Errorf("%s of %s: %w: %s%s", verb, c.ID, err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

// definition is the first plugin's entry of the network's list, as a runtime
// passes it on.
func (h *Host) definition(network string, names []string, publish uint16) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(h.ConfDir(), network+".conflist"))
	if err != nil {
		return nil, err
	}
	var list struct {
		Plugins []map[string]any `json:"plugins"`
	}
	if err := json.Unmarshal(data, &list); err != nil || len(list.Plugins) == 0 {
		return nil, fmt.Errorf("%s: %w", data, err)
	}
	entry := list.Plugins[0]
	entry["name"], entry["cniVersion"] = network, "1.1.0"
	runtime := map[string]any{}
	if len(names) > 0 {
		runtime["aliases"] = names
	}
	if publish != 0 {
		runtime["portMappings"] = []any{map[string]any{"hostPort": publish, "containerPort": EchoPort, "protocol": "tcp"}}
	}
	entry["runtimeConfig"] = runtime
	return json.Marshal(entry)
}

func (c *Container) serve() error {
	return c.NS.Do(func() (err error) {
		if c.echo, err = net.Listen("tcp", fmt.Sprintf(":%d", EchoPort)); err != nil {
			return err
		}
		go func(l net.Listener) {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer conn.Close(); _, _ = io.Copy(conn, conn) }()
			}
		}(c.echo)
		return nil
	})
}

// Dial connects to another container's echo, or says why not within the time.
func (c *Container) Dial(to netip.Addr, limit time.Duration) (net.Conn, error) {
	return DialFrom(c.NS, netip.AddrPortFrom(to, EchoPort), limit)
}

// DialFrom connects from inside a namespace.
func DialFrom(ns *netns.Namespace, to netip.AddrPort, limit time.Duration) (conn net.Conn, err error) {
	err = ns.Do(func() (err error) {
		conn, err = (&net.Dialer{Timeout: limit}).Dial("tcp", to.String())
		return err
	})
	return conn, err
}

// Reach sends a byte to another container and back, once.
func (c *Container) Reach(to netip.Addr, limit time.Duration) error {
	return ReachFrom(c.NS, to, limit)
}

// ReachFrom does the same from any namespace.
func ReachFrom(ns *netns.Namespace, to netip.Addr, limit time.Duration) error {
	conn, err := DialFrom(ns, netip.AddrPortFrom(to, EchoPort), limit)
	if err != nil {
		return err
	}
	defer conn.Close()
	return Echo(conn, limit)
}

// Echo sends a byte and waits for it.
func Echo(conn net.Conn, limit time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// Lookup asks the container's resolver, its gateway, for a name of its network,
// and gives the addresses by space; "" if there are none.
func (c *Container) Lookup(ctx context.Context, name string) (string, error) {
	gateway := netip.PrefixFrom(c.Addr, 24).Masked().Addr().Next()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		err = c.NS.Do(func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, netip.AddrPortFrom(gateway, 53).String())
			return err
		})
		return conn, err
	}}
	got, err := resolver.LookupHost(ctx, name+"."+c.Network+".netctl.internal.")
	return strings.Join(got, " "), err
}

// AwaitName asks until the answer is this, and tells how long that took.
func (c *Container) AwaitName(ctx context.Context, name, want string, limit time.Duration) (time.Duration, error) {
	start := time.Now()
	var got string
	var err error
	for time.Since(start) < limit {
		if got, err = c.Lookup(ctx, name); got == want {
			return time.Since(start), nil
		}
		time.Sleep(time.Millisecond)
	}
	return 0, fmt.Errorf("%s asked from %s: %q, %w; want %q within %v", name, c.ID, got, err, want, limit)
}

// Await tries to reach the other until it works, and tells how long that took.
func (c *Container) Await(to netip.Addr) (time.Duration, error) {
	start := time.Now()
	var err error
	for time.Since(start) < Patience {
		if err = c.Reach(to, 200*time.Millisecond); err == nil {
			return time.Since(start), nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	return 0, errors.Join(fmt.Errorf("%s does not reach %s", c.ID, to), err)
}
