package attach

import (
	"context"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// fixed is a source that reserves nothing: the addresses are known from the
// configuration. Whoever writes them there says who may have them.
type fixed struct {
	store *ledger.Ledger
	req   *cni.Request
	grant func(*cni.Request) (Grant, error)
}

// nothing is the grant of an attachment without IPAM (layer 2).
func nothing(*cni.Request) (Grant, error) { return Grant{}, nil }

func (f fixed) parse() (addressing, error) {
	grant, err := f.grant(f.req)
	return fixedAddressing{f, grant}, err
}

func (f fixed) release(_ context.Context, _ wire.Attachment, forget forget) error {
	if forget == nil {
		return nil
	}
	return refused(f.store.Update(forget.run))
}

func (f fixed) collect(context.Context, valid) error { return nil }

func (f fixed) tell(context.Context, cni.Command) error { return nil }

type fixedAddressing struct {
	fixed
	known Grant
}

func (f fixedAddressing) routes() []wire.Route { return f.known.Routes }

func (f fixedAddressing) reserve(_ context.Context, _ wire.Attachment, enter enter) (Grant, error) {
	if enter == nil {
		return f.known, nil
	}
	err := f.store.Update(func(tx *ledger.Tx) error { return enter(tx, f.known) })
	return f.known, refused(err)
}

// check wants each configured address in the result, with its gateway. A
// gateway that is not configured is the interface plugin's choice.
func (f fixedAddressing) check(_ context.Context, at wire.Attachment, previous *current.Result) error {
	gateways := map[netip.Addr]netip.Addr{}
	for _, ip := range previous.IPs {
		a, _ := netip.AddrFromSlice(ip.Address.IP)
		gateway, _ := netip.AddrFromSlice(ip.Gateway)
		gateways[a.Unmap()] = gateway.Unmap()
	}
	for _, want := range f.known.Addresses {
		gateway, found := gateways[want.Prefix.Addr()]
		if !found {
			return cni.Errorf(cni.CodeCheck, "key prevResult has no address %s of %s", want.Prefix.Addr(), at)
		}
		if want.Gateway.IsValid() && gateway != want.Gateway {
			return cni.Errorf(cni.CodeCheck, "address %s of %s has gateway %s in prevResult, and %s in the configuration", want.Prefix.Addr(), at, gateway, want.Gateway)
		}
	}
	return nil
}

func (f fixedAddressing) status(context.Context) error { return nil }

// static reads the keys of IPAM type static. Addresses of CNI_ARGS come in
// addition; those of args.cni.ips, or else of runtimeConfig.ips, come instead of
// all others.
func static(req *cni.Request) (Grant, error) {
	var raw struct {
		Addresses []struct {
			Address string     `json:"address"`
			Gateway netip.Addr `json:"gateway"`
		} `json:"addresses"`
		Routes []*types.Route `json:"routes"`
		DNS    types.DNS      `json:"dns"`
	}
	if len(req.Conf.IPAM.Raw) == 0 {
		return Grant{}, cni.Errorf(cni.CodeConfig, "key ipam is missing: want an object with the key addresses")
	}
	if err := decodeIPAM(req, &raw); err != nil {
		return Grant{}, err
	}
	routes, err := routesOf(raw.Routes)
	if err != nil {
		return Grant{}, cni.Errorf(cni.CodeConfig, "key ipam.routes: %w", err)
	}
	grant := Grant{Routes: routes, DNS: raw.DNS}
	for _, a := range raw.Addresses {
		prefix, err := parseStatic("ipam.addresses", a.Address)
		if err != nil {
			return Grant{}, err
		}
		grant.Addresses = append(grant.Addresses, wire.Address{Prefix: prefix, Gateway: a.Gateway.Unmap()})
	}
	if err := addAsked(&grant, req); err != nil {
		return Grant{}, err
	}
	var addresses []netip.Addr
	for _, a := range grant.Addresses {
		addresses = append(addresses, a.Prefix.Addr())
	}
	return grant, onePerFamily(req, addresses)
}

// addAsked brings in what the caller asks for, by the weakest channel first.
// GATEWAY holds for whatever addresses there are then.
func addAsked(grant *Grant, req *cni.Request) error {
	channels, err := askedFor(req)
	if err != nil {
		return err
	}
	for n := len(channels) - 1; n >= 0; n-- {
		c := channels[n]
		if len(c.texts) > 0 && c.key != "CNI_ARGS IP" {
			grant.Addresses = nil
		}
		for _, text := range c.texts {
			prefix, err := parseStatic(c.key, text)
			if err != nil {
				return err
			}
			grant.Addresses = append(grant.Addresses, wire.Address{Prefix: prefix})
		}
	}
	return setGateways(grant.Addresses, req.Args["GATEWAY"])
}

func setGateways(addresses []wire.Address, list string) error {
	if list == "" {
		return nil
	}
	for text := range strings.SplitSeq(list, ",") {
		gateway, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return cni.Errorf(cni.CodeConfig, "CNI_ARGS GATEWAY: invalid address %q: want IP addresses joined by commas", text)
		}
		for n := range addresses {
			if addresses[n].Prefix.Contains(gateway.Unmap()) {
				addresses[n].Gateway = gateway.Unmap()
			}
		}
	}
	return nil
}

// parseStatic reads an address with its prefix length: there is no subnet
// configured that could supply it.
func parseStatic(key, text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		return netip.Prefix{}, cni.Errorf(cni.CodeConfig, "%s: invalid address %q: want address/prefix, as in 10.1.2.3/24", key, text)
	}
	return prefix, nil
}
