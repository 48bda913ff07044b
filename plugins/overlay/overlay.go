// Package overlay is the mode that joins containers of many hosts. On each host
// an overlay network is a bridge like any other; what is different is where its
// addresses come from (the pools of this host, which overlayd has obtained) and
// that the other hosts' pools are behind the tunnel. The plugin reads what
// overlayd wrote and talks to nobody.
package overlay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/quickjson"
	"github.com/netctl/netctl/plugins/bridge"
	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// Mode is the table's entry.
func Mode() attach.Mode {
	return attach.Mode{Name: "overlay", Parse: parse}
}

// config is a bridge with this host's part of the overlay. Its keys are those
// of the bridge plugin; vlan and the like make no sense and are refused.
type config struct {
	bridge attach.Conf
	share  handover.Network
}

func parse(req *cni.Request) (attach.Conf, error) {
	var refused struct {
		VLAN      int   `json:"vlan"`
		VLANTrunk []any `json:"vlanTrunk"`
	}
	if err := req.Decode(&refused); err != nil {
		return nil, err
	}
	if refused.VLAN != 0 || len(refused.VLANTrunk) > 0 {
		return nil, errors.New("keys vlan and vlanTrunk: an overlay network is not divided into VLANs: make a network for each")
	}
	if kind := req.Conf.IPAM.Type; kind != "" && kind != attach.LedgerIPAM {
		return nil, fmt.Errorf("key ipam.type: invalid value %q: the addresses of an overlay network come from this host's pools: want %s", kind, attach.LedgerIPAM)
	}
	conf, err := bridge.Mode().Parse(req)
	return config{bridge: conf}, err
}

// Complete implements attach.Completer: the pools become the ranges of the
// ledger's IPAM, the first pool first.
func (c config) Complete(stateDir string, req *cni.Request) (attach.Conf, error) {
	share, err := handover.Read(stateDir, req.Conf.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cni.Errorf(cni.CodeTryAgain, "network %s has no pool on this host: overlayd has written none to %s", req.Conf.Name, handover.Dir(stateDir)).
			WithHint("is overlayd running? See netctl overlay status")
	}
	if err != nil {
		return nil, cni.Errorf(cni.CodeStore, "pools of network %s: %w", req.Conf.Name, err)
	}
	var sets []ipam.Set
	for _, is4 := range []bool{true, false} {
		var set ipam.Set
		for _, pool := range share.Usable(is4) {
			set = append(set, ipam.Range{Subnet: pool})
		}
		if len(set) > 0 {
			sets = append(sets, set)
		}
	}
	if len(sets) == 0 && share.Exhausted != "" {
		return nil, cni.Errorf(cni.CodeTryAgain, "network %s has no pool on this host: %s", req.Conf.Name, share.Exhausted).
			WithHint("see netctl overlay status")
	}
	if len(sets) == 0 {
		return nil, cni.Errorf(cni.CodeTryAgain, "network %s has no pool on this host: all that it had are lost", req.Conf.Name).
			WithHint("overlayd claims another one as soon as its store answers; see netctl overlay status")
	}
	raw, err := quickjson.Marshal(struct {
		Type   string     `json:"type"`
		Ranges []ipam.Set `json:"ranges"`
	}{attach.LedgerIPAM, sets})
	if err != nil {
		return nil, fmt.Errorf("pools of network %s: %w", req.Conf.Name, err)
	}
	req.Conf.IPAM = cni.IPAM{Type: attach.LedgerIPAM, Raw: raw}
	c.share = share
	return c, nil
}

// Grow implements attach.Grower: overlayd, which sees in the ledger that the
// pools are used up, claims another one.
func (c config) Grow(ctx context.Context, stateDir string) error {
	known := c.share.Pools
	start := time.Now()
	share, err := handover.Await(ctx, stateDir, c.share.Network, func(n handover.Network) bool {
		return !slices.Equal(n.Pools, known) || n.Exhausted != "" || n.Degraded != ""
	})
	switch {
	case errors.Is(err, handover.ErrNotRunning):
		return fmt.Errorf("no further pool is claimed: %w", err)
	case ctx.Err() != nil:
		return fmt.Errorf("overlayd claimed no further pool within %v: see netctl overlay status", time.Since(start).Round(time.Second))
	case err != nil:
		return fmt.Errorf("no further pool: %w", err)
	case !slices.Equal(share.Pools, known):
		return nil
	case share.Exhausted != "":
		return errors.New(share.Exhausted)
	}
	return fmt.Errorf("no further pool can be claimed: %s", share.Degraded)
}

// Limited implements attach.Limiter: containers can start, and may not reach
// everybody.
func (c config) Limited() error {
	if c.share.Degraded == "" {
		return nil
	}
	return fmt.Errorf("network %s: %s", c.share.Network, c.share.Degraded)
}

// Wire says what differs between an overlay network and a bridge.
func (c config) Wire(at wire.Attachment, grant attach.Grant) (wire.Wiring, error) {
	w, err := c.bridge.Wire(at, grant)
	if err != nil {
		return w, err
	}
	w.Shared.Bridge.MTU = c.share.MTU
	w.Shared.Bridge.MoreGateways = true
	if veth, ok := w.Owned.Link.(wire.Veth); ok {
		veth.MTU = c.share.MTU
		w.Owned.Link = veth
	}
	c.policy(&w.Shared.Network)
	w.Owned.Routes = append(w.Owned.Routes, c.inward(w.Owned)...)
	w.Owned.Sysctls = append(w.Owned.Sysctls, probing)
	return w, nil
}

// inward are the ways to the network's containers on other hosts, where no
// default route leads there already (internal networks).
func (c config) inward(o wire.Owned) []wire.Route {
	var routes []wire.Route
	gateways := attach.Grant{Addresses: o.Addresses}
	for _, r := range c.share.Inside {
		via := gateways.Gateway(r.Addr().Is4())
		covered := slices.ContainsFunc(o.Routes, func(have wire.Route) bool {
			return have.To.Addr().Is4() == r.Addr().Is4() && have.To.Bits() <= r.Bits() && have.To.Contains(r.Addr())
		})
		if via.IsValid() && !covered {
			routes = append(routes, wire.Route{To: r, Via: via})
		}
	}
	return routes
}

// probing has TCP find out by itself what fits where nobody reports a packet
// that is too large (RFC 4821), should the path change under a connection.
var probing = wire.Sysctl{Path: "net/ipv4/tcp_mtu_probing", Value: "1", Optional: true}

// policy covers all pools of the host, whichever the attachment's address is
// from: attachments of one network must not differ in it.
func (c config) policy(p *wire.NetworkPolicy) {
	p.Trunk = handover.Device
	p.NoMasquerade = append([]netip.Prefix(nil), c.share.Ranges...)
	if len(c.share.Pools) == 0 {
		return
	}
	named := len(p.DNS) > 0
	p.Subnets, p.DNS = nil, nil
	for _, pool := range c.share.Pools {
		p.Subnets = append(p.Subnets, pool.Prefix)
		if named {
			p.DNS = append(p.DNS, netip.AddrPortFrom(ipam.First(pool.Prefix), wire.DNSPort))
		}
	}
}
