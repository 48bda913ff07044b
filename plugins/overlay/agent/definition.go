package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/netctl/netctl/plugins/overlay/agent/plan"
	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// managed marks a definition that overlayd wrote: it may be replaced and
// removed. One that somebody wrote by hand stays.
const managed = "overlayd"

// bridgeOf names a network's bridge.
func (a *Agent) bridgeOf(network string) string {
	var n store.Network
	a.with(func(s *state) { n, _ = s.view.Network(network) })
	n.Name = network
	return plan.BridgeOf(n)
}

// writeDefinitions makes the networks usable on this host: each that has a pool
// gets its configuration list, the same as on every host, last of all and by a
// rename, so that a runtime sees it when it works.
func (a *Agent) writeDefinitions(p plan.Plan, keep bool) error {
	if a.cfg.ConfDir == "" {
		return nil
	}
	var view store.View
	a.with(func(s *state) { view = s.view })
	existing, err := a.definitions()
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	var errs []error
	for _, share := range p.Networks {
		if len(share.Pools) == 0 {
			continue
		}
		wanted[share.Network] = true
		n, _ := view.Network(share.Network)
		data, err := Definition(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		path := filepath.Join(a.cfg.ConfDir, fileName(n.Name))
		if have, ok := existing[n.Name]; ok {
			if !have.managed {
				continue
			}
			path = have.path
		}
		if err := os.MkdirAll(a.cfg.ConfDir, 0o755); err != nil {
			return err
		}
		changed, err := handover.Replace(path, data, 0o644)
		if changed && err == nil {
			a.log.Info("network can be used", "network", n.Name, "file", path)
		}
		errs = append(errs, err)
	}
	if keep {
		return errors.Join(errs...)
	}
	for name, have := range existing {
		if !have.managed || wanted[name] {
			continue
		}
		if used, err := a.attachments(name); err != nil || len(used) > 0 {
			errs = append(errs, err)
			continue // its containers must be able to leave
		}
		a.log.Info("network can't be used any more", "network", name)
		errs = append(errs, os.Remove(have.path), a.host.RemoveBridge(have.bridge))
	}
	return errors.Join(errs...)
}

type definition struct {
	path    string
	bridge  string
	managed bool
}

// definitions finds the lists that are there, by network.
func (a *Agent) definitions() (map[string]definition, error) {
	files, err := filepath.Glob(filepath.Join(a.cfg.ConfDir, "*.conflist"))
	if err != nil {
		return nil, err
	}
	found := map[string]definition{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var list struct {
			Name    string `json:"name"`
			Managed string `json:"managedBy"`
		}
		if json.Unmarshal(data, &list) == nil && list.Name != "" {
			if _, earlier := found[list.Name]; !earlier {
				found[list.Name] = definition{path, plan.BridgeOf(store.Network{Name: list.Name, Definition: data}), list.Managed == managed}
			}
		}
	}
	return found, nil
}

// fileName is as netctl names its own.
func fileName(network string) string { return network + ".conflist" }

// Definition is a network's configuration list as every host has it: what the
// store carries, or the usual one.
func Definition(n store.Network) ([]byte, error) {
	list := map[string]any{}
	if len(n.Definition) > 0 {
		if err := json.Unmarshal(n.Definition, &list); err != nil {
			return nil, fmt.Errorf("definition of network %s: %w", n.Name, err)
		}
	} else {
		list = usual(n)
	}
	list["name"], list["managedBy"] = n.Name, managed
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("definition of network %s: %w", n.Name, err)
	}
	return append(data, '\n'), nil
}

// usual is the definition of a network for which nobody wrote one (peers file,
// Kubernetes).
func usual(n store.Network) map[string]any {
	capabilities := map[string]bool{}
	for _, c := range strings.Fields("portMappings aliases hostname ips mac dns bandwidth") {
		capabilities[c] = true
	}
	return map[string]any{
		"cniVersion": "1.0.0", "cniVersions": []string{"1.0.0", "1.1.0"}, "name": n.Name,
		"plugins": []any{map[string]any{
			"type": "overlay", "bridge": plan.BridgeOf(n), "isGateway": true, "isDefaultGateway": true, "ipMasq": true,
			"hairpinMode": true, "names": true, "isolate": !n.Open,
			"ipam": map[string]any{"type": "netctl-ipam"}, "capabilities": capabilities,
		}},
	}
}
