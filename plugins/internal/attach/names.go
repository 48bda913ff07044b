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

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// BaseDomain is the domain under which the resolver serves every name; it is
// the search domain of the containers.
const BaseDomain = "netctl.internal"

// dnsd is the resolver of this host; it is started by the first ADD that needs
// it.
type dnsd struct{ stateDir string }

func (d dnsd) Sync(ctx context.Context, generation uint64, network string) error {
	binary, err := findResolver()
	if err != nil {
		return err
	}
	return client.Sync(ctx, d.stateDir, binary, generation, network)
}

// Withdraw does not start a resolver: one that does not run answers nobody.
func (d dnsd) Withdraw(ctx context.Context, generation uint64) error {
	ctx, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	_, err := client.Do(ctx, d.stateDir, fmt.Sprintf("sync %d", generation))
	if errors.Is(err, client.ErrNotRunning) {
		return nil
	}
	return err
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

// namesOf says what the resolver is to serve for an attachment: the aliases
// that came with the request, on the device and gateways of a network that
// wants names.
func namesOf(req *cni.Request, policy wire.NetworkPolicy) (ledger.Names, error) {
	if len(policy.DNS) == 0 {
		return ledger.Names{}, nil
	}
	names := ledger.Names{
		Own:      req.Conf.RuntimeConfig.Aliases.For(req.Conf.Name),
		Hostname: req.Conf.RuntimeConfig.Hostname,
		Device:   policy.Bridge,
		Internal: policy.Internal,
	}
	if pod := req.Args["K8S_POD_NAME"]; pod != "" && !slices.Contains(names.Own, pod) {
		names.Own = append(names.Own, pod)
	}
	key, servers := "runtimeConfig.dns.servers", req.Conf.RuntimeConfig.DNS.Servers
	if len(servers) == 0 {
		key, servers = "dns.nameservers", req.Conf.DNS.Nameservers
	}
	for _, text := range servers {
		server, err := netip.ParseAddr(text)
		if err != nil {
			return names, cni.Errorf(cni.CodeConfig, "%s: invalid address %q", key, text)
		}
		names.Servers = append(names.Servers, server)
	}
	return names, nil
}
