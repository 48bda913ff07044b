package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// netavark is podman's implementation, in the form that its version 1.4 takes:
// one JSON document on standard input.
type netavark struct {
	chain
	binary string
}

func openNetavark(binary string) func(*world) (subject, error) {
	return func(w *world) (subject, error) {
		base, err := chainOf("/", "")(w)
		if err != nil {
			return nil, err
		}
		return &netavark{chain: chain{world: w, env: base.(*chain).env}, binary: binary}, nil
	}
}

func (n *netavark) do(op operation, settle bool) (cost, []byte, error) {
	verb := map[string]string{"ADD": "setup", "DEL": "teardown"}[op.verb]
	document, err := json.Marshal(n.options(op))
	if err != nil {
		return cost{}, nil, err
	}
	cmd := command(op.trace, n.binary, "--config", n.world.state, verb, op.container.Path())
	cmd.Stdin, cmd.Env = bytes.NewReader(document), n.env
	took, out, err := n.world.execute(cmd)
	if err != nil {
		return took, nil, fmt.Errorf("netavark %s: %w", verb, err)
	}
	late, err := reap(cmd.Process.Pid) // it leaves nothing running
	took.cpu += late
	return took, out, err
}

func (n *netavark) options(op operation) map[string]any {
	return map[string]any{
		"container_id": op.id(), "container_name": op.id(),
		"port_mappings": []map[string]any{{"container_port": 80, "host_port": op.port(), "host_ip": "", "protocol": "tcp", "range": 1}},
		"networks":      map[string]any{"bench": map[string]any{"interface_name": "eth0", "static_ips": []string{op.address()}}},
		"network_info": map[string]any{"bench": map[string]any{
			"name": "bench", "id": strings.Repeat("ab", 32), "driver": "bridge", "network_interface": "br0",
			"subnets":      []map[string]any{{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}},
			"ipv6_enabled": false, "internal": false, "dns_enabled": false, "options": map[string]any{},
			"ipam_options": map[string]any{"driver": "host-local"},
		}},
	}
}
