package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// vteps are the tunnel addresses to register: none where the store knows them.
func (a *Agent) vteps(local []netip.Addr) ([]netip.Addr, error) {
	if a.cfg.VTEP != "" {
		addr, err := a.givenAddress()
		return []netip.Addr{addr}, err
	}
	if !a.cfg.Store.Can().Records {
		return nil, nil
	}
	if len(local) == 0 {
		return nil, errors.New("this host has no address that others could reach: give one with --vtep")
	}
	return local[:1], nil
}

// givenAddress is what --vtep says: an address, or a link that has one.
func (a *Agent) givenAddress() (netip.Addr, error) {
	if addr, err := netip.ParseAddr(a.cfg.VTEP); err == nil {
		return addr, nil
	}
	all, err := a.host.AddressesOf(a.cfg.VTEP)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("--vtep %s is neither an address nor a link of this host: %w", a.cfg.VTEP, err)
	}
	if len(all) == 0 {
		return netip.Addr{}, fmt.Errorf("--vtep %s: the link has no address", a.cfg.VTEP)
	}
	return all[0], nil
}

// tunnelAddress is this host's before it has joined: what the last view says,
// as far as the host has it.
func (a *Agent) tunnelAddress(v store.View, self store.NodeID) (netip.Addr, error) {
	local, err := a.localAddresses()
	if err != nil {
		return netip.Addr{}, err
	}
	var found netip.Addr
	for _, n := range v.Nodes {
		for _, vtep := range n.VTEP {
			if slices.Contains(local, vtep) && (n.ID == self || !found.IsValid() && a.cfg.VTEP == "") {
				found = vtep
				a.with(func(s *state) {
					if !a.cfg.Store.Can().Records {
						s.self.ID = n.ID
					}
				})
			}
		}
	}
	if a.cfg.VTEP != "" {
		return a.givenAddress()
	}
	if !found.IsValid() && len(local) > 0 && a.cfg.Store.Can().Records {
		found = local[0]
	}
	if !found.IsValid() {
		return found, errors.New("this host has none of the tunnel addresses that it knows of")
	}
	return found, nil
}

// localAddresses are those of this host that others may reach. None of an overlay
// network is: bridges have them while the link to the others may have none.
func (a *Agent) localAddresses() ([]netip.Addr, error) {
	local, err := a.host.LocalAddresses(handover.Device)
	if err != nil {
		return nil, err
	}
	a.with(func(s *state) {
		local = slices.DeleteFunc(local, func(addr netip.Addr) bool {
			return slices.ContainsFunc(s.view.Networks, func(n store.Network) bool {
				return slices.ContainsFunc(n.Ranges, func(r netip.Prefix) bool { return r.Contains(addr) })
			})
		})
	})
	return local, nil
}

// checkAddress has the record changed when the tunnel's address did (DHCP).
func (a *Agent) checkAddress() {
	if !a.cfg.Store.Can().Records {
		return
	}
	local, err := a.localAddresses()
	if err != nil {
		return
	}
	next, ok := a.nextAddress(local)
	a.with(func(s *state) {
		if ok && s.local != next && (!s.local.IsValid() || !slices.Contains(local, s.local) || a.cfg.VTEP != "") {
			if s.local.IsValid() {
				a.log.Info("tunnel address changed", "from", s.local, "to", next)
			}
			s.local = next
			a.member.ring()
			a.dirty.ring()
		}
	})
}

// nextAddress is what a tunnel address that is gone is replaced by: that from
// which the host speaks to the world, or another of the tunnel's link. Any other
// of the host's (docker0) would be found, too, in the moment between an old
// address and a new one; better wait.
func (a *Agent) nextAddress(local []netip.Addr) (next netip.Addr, ok bool) {
	if a.cfg.VTEP != "" {
		next, err := a.givenAddress()
		return next, err == nil
	}
	candidates := []netip.Addr{a.host.OutwardAddress()}
	if under, err := a.host.UnderlayAddresses(handover.Device); err == nil {
		candidates = append(candidates, under...)
	} else {
		candidates = append(candidates, local...) // there is no tunnel yet
	}
	var gone netip.Addr
	a.with(func(s *state) { gone = s.local })
	for _, addr := range candidates {
		if slices.Contains(local, addr) && (!gone.IsValid() || addr.Is4() == gone.Is4()) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}
