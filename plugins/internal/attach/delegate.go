package attach

import (
	"context"
	"errors"
	"net/netip"
	"os"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// A delegate is an IPAM plugin that we don't have ourselves and execute. It
// gets our whole request and the same environment but for the verb.
type delegate struct {
	req  *cni.Request
	file string
}

func findDelegate(req *cni.Request) (delegate, error) {
	file, err := cni.Find(req.Conf.IPAM.Type, req.Path)
	if err != nil {
		return delegate{}, cni.Errorf(cni.CodeConfig, "key ipam.type: %w", err)
	}
	return delegate{req: req, file: file}, nil
}

func (d delegate) plugin(verb cni.Command) cni.Foreign {
	return cni.Foreign{File: d.file, Env: d.req.Environ(verb), Stderr: os.Stderr}
}

// add has addresses handed out. If the delegate fails it is told to take back
// what it may have done before it failed.
func (d delegate) add(ctx context.Context) (Grant, error) {
	result, err := d.plugin(cni.Add).Result(ctx, d.req.Stdin, d.req.Conf.CNIVersion)
	var grant Grant
	if err == nil {
		grant, err = grantOf(result)
	}
	if err != nil {
		return Grant{}, errors.Join(err, d.run(context.WithoutCancel(ctx), cni.Del))
	}
	return grant, nil
}

// run has a verb without result carried out.
func (d delegate) run(ctx context.Context, verb cni.Command) error {
	_, err := d.plugin(verb).Run(ctx, d.req.Stdin)
	return err
}

func grantOf(result *current.Result) (Grant, error) {
	if len(result.IPs) == 0 {
		return Grant{}, cni.Errorf(cni.CodeDelegate, "the IPAM plugin returned no address")
	}
	routes, err := routesOf(result.Routes)
	if err != nil {
		return Grant{}, cni.Errorf(cni.CodeDelegate, "result of the IPAM plugin: %w", err)
	}
	grant := Grant{Routes: routes, DNS: result.DNS}
	for _, ip := range result.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		ones, _ := ip.Address.Mask.Size()
		gateway, _ := netip.AddrFromSlice(ip.Gateway)
		grant.Addresses = append(grant.Addresses, wire.Address{
			Prefix: netip.PrefixFrom(addr.Unmap(), ones), Gateway: gateway.Unmap(),
		})
	}
	return grant, nil
}
