package netctl

import (
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
