package attach

import (
	"context"
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

// ledgerPool is the ledger's own IPAM: an address belongs to the record that
// enter puts in.
type ledgerPool struct {
	store *ledger.Ledger
	req   *cni.Request
}

func (l ledgerPool) parse() (addressing, error) {
	pool, err := ParsePool(l.req)
	return ledgerAddressing{l, pool}, err
}

func (l ledgerPool) release(_ context.Context, _ wire.Attachment, forget forget) error {
	return refused(l.store.Update(forget.run))
}

func (l ledgerPool) collect(context.Context, valid) error { return nil }

func (l ledgerPool) tell(context.Context, cni.Command) error { return nil }

type ledgerAddressing struct {
	ledgerPool
	pool Pool
}

func (l ledgerAddressing) routes() []wire.Route { return l.pool.Routes }

func (l ledgerAddressing) reserve(_ context.Context, at wire.Attachment, enter enter) (Grant, error) {
	grant, err := l.pool.grant()
	if err != nil {
		return Grant{}, err
	}
	err = l.store.Update(func(tx *ledger.Tx) error {
		record, found, err := tx.Attachment(ledger.Key(at))
		switch {
		case err != nil:
			return err
		case found:
			grant.Addresses = grantFrom(record).Addresses
		default:
			if grant.Addresses, err = l.take(tx, at.Network); err != nil {
				return err
			}
			grant.Fresh = !slices.ContainsFunc(grant.Addresses, func(a wire.Address) bool { return !tx.Fresh(at.Network, a.Prefix.Addr()) })
		}
		return enter.run(tx, grant)
	})
	return grant, refused(err)
}

// take finds one address from each set.
func (l ledgerAddressing) take(tx *ledger.Tx, network string) ([]wire.Address, error) {
	var addresses []wire.Address
	for n, set := range l.pool.Sets {
		addr := l.pool.Wanted[n]
		from, wanted := l.pool.find(n, addr)
		if !wanted {
			var err error
			if addr, from, err = tx.Allocate(network, set); err != nil {
				return nil, err
			}
		}
		addresses = append(addresses, granted(addr, from))
	}
	return addresses, nil
}

func granted(a netip.Addr, from ipam.Range) wire.Address {
	return wire.Address{Prefix: netip.PrefixFrom(a, from.Subnet.Bits()), Gateway: from.Gateway}
}

func (l ledgerAddressing) check(_ context.Context, at wire.Attachment, previous *current.Result) error {
	var record ledger.Record
	err := l.store.View(func(tx *ledger.Tx) (err error) {
		record, _, err = tx.Attachment(ledger.Key(at))
		return err
	})
	if err != nil {
		return refused(err)
	}
	given, err := givenBy(l.pool, previous)
	if err != nil {
		return err
	}
	for _, a := range given {
		if !slices.ContainsFunc(record.Addresses, func(have ledger.Address) bool { return have.Prefix.Addr() == a }) {
			return cni.Errorf(cni.CodeCheck, "address %s is not reserved for %s", a, at)
		}
	}
	return nil
}

// givenBy picks the addresses of a result that are out of the pool. Others come
// from other plugins.
func givenBy(pool Pool, result *current.Result) ([]netip.Addr, error) {
	var given []netip.Addr
	for _, ip := range result.IPs {
		a, _ := netip.AddrFromSlice(ip.Address.IP)
		if a = a.Unmap(); pool.setOf(a) >= 0 {
			given = append(given, a)
		}
	}
	if len(given) == 0 {
		return nil, cni.Errorf(cni.CodeCheck, "key prevResult has no address from %s", setsText(pool.Sets))
	}
	return given, nil
}

// status looks for a free address in each set without taking it.
func (l ledgerAddressing) status(context.Context) error {
	err := l.store.View(func(tx *ledger.Tx) error {
		for _, set := range l.pool.Sets {
			if err := tx.Room(l.req.Conf.Name, set); err != nil {
				return err
			}
		}
		return nil
	})
	return notAvailable(err)
}
