package plumbing

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

// withSysctls adds the plugin that sets an interface's sysctls to the network's
// list, for this endpoint.
func withSysctls(list []byte, e runner.Endpoint) ([]byte, error) {
	if len(e.Sysctls) == 0 {
		return list, nil
	}
	settings := map[string]string{}
	for name, value := range e.Sysctls {
		settings[strings.ReplaceAll(name, "IFNAME", e.IfName)] = value
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(list, &keys); err != nil {
		return nil, fmt.Errorf("network %s: %w", e.Network, err)
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(keys["plugins"], &entries); err != nil {
		return nil, fmt.Errorf("network %s: key plugins: %w", e.Network, err)
	}
	entry, err := json.Marshal(map[string]any{"type": "tuning", "sysctl": settings})
	if err != nil {
		return nil, err
	}
	if keys["plugins"], err = json.Marshal(append(entries, entry)); err != nil {
		return nil, err
	}
	return json.Marshal(keys)
}
