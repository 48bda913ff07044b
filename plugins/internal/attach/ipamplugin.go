package attach

import (
	"slices"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// Grant is ADD of the stand-alone IPAM plugin: addresses for a link that a
// foreign plugin makes. A repeated ADD gets the same addresses again.
func (a *Attacher) Grant(req *cni.Request) (*current.Result, error) {
	pool, err := ParsePool(req)
	if err != nil {
		return nil, err
	}
	key := ledger.Key(attachmentOf(req))
	var grant Grant
	err = a.Ledger.Update(func(tx *ledger.Tx) error {
		record, found, err := tx.Attachment(key)
		if err != nil {
			return err
		}
		if found {
			grant = grantFrom(record)
			grant.Routes = pool.Routes
			return nil
		}
		if grant, err = pool.take(tx, key.Network); err != nil {
			return err
		}
		record = ledger.Record{Key: key, Netns: req.Netns, Plugin: LedgerIPAM, Request: req.Stdin, Args: req.Args.String(), Created: time.Now()}
		for _, address := range grant.Addresses {
			record.Addresses = append(record.Addresses, ledger.Address(address))
		}
		return tx.Put(record)
	})
	if err != nil {
		return nil, refused(err)
	}
	return grant.result(), nil
}

// result is an IPAM plugin's: no interfaces, and no index in the addresses.
func (g Grant) result() *current.Result {
	result := &current.Result{CNIVersion: current.ImplementedSpecVersion, DNS: g.DNS}
	for _, address := range g.Addresses {
		result.IPs = append(result.IPs, &current.IPConfig{Address: *ipNet(address.Prefix), Gateway: slice(address.Gateway)})
	}
	for _, route := range g.Routes {
		result.Routes = append(result.Routes, resultRoute(route))
	}
	return result
}

// Release is DEL of the stand-alone IPAM plugin.
func (a *Attacher) Release(req *cni.Request) error { return a.forget(ledger.Key(attachmentOf(req))) }

// CheckGrant is CHECK of the stand-alone IPAM plugin: the addresses of the
// previous result must be the reserved ones.
func (a *Attacher) CheckGrant(req *cni.Request) error {
	previous, err := req.PrevResult()
	if err != nil {
		return err
	}
	if previous == nil {
		return cni.Errorf(cni.CodeConfig, "CHECK: key prevResult is missing: want the result of ADD")
	}
	var record ledger.Record
	err = a.Ledger.View(func(tx *ledger.Tx) (err error) {
		record, _, err = tx.Attachment(ledger.Key(attachmentOf(req)))
		return err
	})
	if err != nil {
		return refused(err)
	}
	reserved := grantFrom(record).result()
	for _, want := range previous.IPs {
		found := slices.ContainsFunc(reserved.IPs, func(have *current.IPConfig) bool {
			return have.Address.IP.Equal(want.Address.IP)
		})
		if !found {
			return cni.Errorf(cni.CodeCheck, "address %s is not reserved for %s", want.Address.IP, attachmentOf(req))
		}
	}
	return nil
}

// PoolStatus is STATUS of the stand-alone IPAM plugin.
func (a *Attacher) PoolStatus(req *cni.Request) error { return a.poolStatus(req) }
