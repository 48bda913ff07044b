package netctl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
)

// endpointSysctls is docker's driver option for settings of one interface: a list
// of KEY=VALUE, with IFNAME where the interface's name goes.
const endpointSysctls = "com.docker.network.endpoint.sysctls"

// readDriverOption reads driver-opt, of which there is one.
func readDriverOption(e *runner.Endpoint, option string) error {
	key, value, given := strings.Cut(option, "=")
	if key != endpointSysctls || !given {
		return fmt.Errorf("driver option %q is not supported (known: %s=KEY=VALUE[,KEY=VALUE])", key, endpointSysctls)
	}
	for pair := range strings.SplitSeq(value, ",") {
		name, setting, given := strings.Cut(pair, "=")
		if !given || !strings.HasPrefix(name, "net.") || !strings.Contains(name, ".IFNAME.") {
			return fmt.Errorf("sysctl %q: want net.FAMILY.KIND.IFNAME.KEY=VALUE", pair)
		}
		if e.Sysctls == nil {
			e.Sysctls = map[string]string{}
		}
		e.Sysctls[name] = setting
	}
	return nil
}

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
