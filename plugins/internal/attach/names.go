package attach

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// BaseDomain is the domain under which the resolver serves every name; it is
// the search domain of the containers.
const BaseDomain = "netctl.internal"

// dnsd is the resolver of this host; it is started by the first ADD that needs
// it.
type dnsd struct{ stateDir string }

func (d dnsd) Announce(ctx context.Context, change client.Change) ([]netip.AddrPort, error) {
	binary, err := findResolver()
	if err != nil {
		return nil, err
	}
	return client.Announce(ctx, d.stateDir, binary, change)
}

// Check does not start one: whoever checks wants to know.
func (d dnsd) Check(ctx context.Context, network, container string) error {
	ctx, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	_, err := client.Do(ctx, d.stateDir, strings.TrimSpace(fmt.Sprintf("sync 0 %s %s", network, container)))
	return err
}

// Withdraw does not start a resolver: one that does not run answers nobody.
func (d dnsd) Withdraw(ctx context.Context, generation uint64) (forgotten func() error) {
	asking, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	reply := client.Ask(asking, d.stateDir, fmt.Sprintf("sync %d", generation))
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, client.Patience)
		defer cancel()
		_, err := reply(ctx)
		if errors.Is(err, client.ErrNotRunning) {
			return nil
		}
		return err
	}
}

func (d dnsd) Dismiss(ctx context.Context) error { return client.Quit(ctx, d.stateDir) }

// findResolver looks for the binary beside this one, one directory up (plugins
// have a directory of their own), and in PATH.
func findResolver() (string, error) {
	const name = "dnsd"
	if self, err := os.Executable(); err == nil {
		for _, dir := range []string{filepath.Dir(self), filepath.Dir(filepath.Dir(self))} {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				return file, nil
			}
		}
	}
	file, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("the resolver's binary %s is neither beside this one nor in PATH", name)
	}
	return file, nil
}

// shortID is how many digits of a container's ID people and their tools use,
// and the other resolvers answer to.
const shortID = 12

// isFullID tells whether a container is called by the 64 digits that engines
// give, and not by somebody's own word.
func isFullID(id string) bool { return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" }

// names says what the resolver is to serve for an attachment: the aliases that
// came with the request, on the device and gateways of a network that wants
// names, or inside of the container.
func (p *plan) names() (ledger.Names, error) {
	policy, req := p.wiring.Shared.Network, p.req
	if len(policy.DNS) == 0 && p.inside.Port == 0 {
		return ledger.Names{}, nil
	}
	names := ledger.Names{
		Own:      slices.Clone(req.Conf.RuntimeConfig.Aliases.For(req.Conf.Name)),
		Hostname: req.Conf.RuntimeConfig.Hostname,
		Device:   policy.Bridge,
		Internal: policy.Internal || p.wiring.Owned.ResolveOnly,
		Inside:   p.inside.Port,
	}
	if names.Hostname == "" {
		names.Hostname = req.Args["NERDCTL_CNI_DHCP_HOSTNAME"]
	}
	also := []string{req.Args["K8S_POD_NAME"]}
	if isFullID(req.ContainerID) {
		also = append(also, req.ContainerID[:shortID])
	}
	for _, name := range also {
		if name != "" && !slices.Contains(names.Own, name) {
			names.Own = append(names.Own, name)
		}
	}
	var err error
	names.Servers, err = p.upstreams()
	return names, err
}

// upstreams are the servers that the resolver asks for this container, if not
// the host's: the request's, the configuration's, or those that the plugins
// before us gave it.
func (p *plan) upstreams() (servers []netip.Addr, err error) {
	key, texts := "runtimeConfig.dns.servers", p.req.Conf.RuntimeConfig.DNS.Servers
	if len(texts) == 0 {
		key, texts = "dns.nameservers", p.req.Conf.DNS.Nameservers
	}
	if c, chained := p.conf.(Chained); chained && len(texts) == 0 {
		key, texts = "prevResult.dns.nameservers", c.Previous().Result.DNS.Nameservers
	}
	for _, text := range texts {
		server, err := netip.ParseAddr(text)
		if err != nil {
			return nil, cni.Errorf(cni.CodeConfig, "%s: invalid address %q", key, text)
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// Named is a Conf that tells whether its network has names.
type Named interface{ WantsNames() bool }

// resolverReady returns an error if a network wants names and there is no
// resolver to be started.
func resolverReady(conf Conf) error {
	if n, ok := conf.(Named); !ok || !n.WantsNames() {
		return nil
	}
	_, err := findResolver()
	return err
}
