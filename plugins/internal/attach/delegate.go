package attach

import (
	"context"
	"errors"
	"net/netip"
	"os"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// A delegate is an IPAM plugin that we don't have ourselves and execute. It
// gets our whole request and the same environment but for the verb.
type delegate struct {
	store *ledger.Ledger
	req   *cni.Request
}

// parse leaves the judgement to the plugin.
func (d delegate) parse() (addressing, error) { return d, nil }

func (d delegate) routes() []wire.Route { return nil }

// reserve has addresses handed out. If that fails, the plugin is told to take
// back what it may have done before it failed.
func (d delegate) reserve(ctx context.Context, _ wire.Attachment, enter enter) (Grant, error) {
	plugin, err := d.plugin(cni.Add)
	if err != nil {
		return Grant{}, err
	}
	var grant Grant
	result, err := plugin.Result(ctx, d.req.Stdin, d.req.Conf.CNIVersion)
	if err == nil {
		grant, err = grantOf(result)
	}
	if err == nil {
		err = refused(d.store.Update(func(tx *ledger.Tx) error { return enter.run(tx, grant) }))
	}
	if err != nil {
		return Grant{}, errors.Join(err, d.tell(context.WithoutCancel(ctx), cni.Del))
	}
	return grant, nil
}

// release only forgets: the plugin is told DEL also where something of ours
// could not be taken away, because its record is its own affair.
func (d delegate) release(_ context.Context, _ wire.Attachment, forget forget) error {
	return refused(d.store.Update(forget.run))
}

func (d delegate) collect(ctx context.Context, _ valid) error { return d.tell(ctx, cni.GC) }

func (d delegate) check(ctx context.Context, _ wire.Attachment, _ *current.Result) error {
	return d.tell(ctx, cni.Check)
}

func (d delegate) status(ctx context.Context) error { return d.tell(ctx, cni.Status) }

func (d delegate) tell(ctx context.Context, verb cni.Command) error {
	plugin, err := d.plugin(verb)
	if err != nil {
		return err
	}
	_, err = plugin.Run(ctx, d.req.Stdin)
	return err
}

func (d delegate) plugin(verb cni.Command) (cni.Foreign, error) {
	file, err := cni.Find(d.req.Conf.IPAM.Type, d.req.Path)
	if err != nil {
		return cni.Foreign{}, cni.Errorf(cni.CodeConfig, "key ipam.type: %w", err)
	}
	return cni.Foreign{File: file, Env: d.req.Environ(verb), Stderr: os.Stderr}, nil
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
