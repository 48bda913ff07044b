package attach

import (
	"context"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// The kinds of IPAM that we have ourselves. Their keys are those of the
// reference plugins; the ledger's own has host-local's.
const (
	LedgerIPAM    = "netctl-ipam"
	HostLocalIPAM = "host-local"
	StaticIPAM    = "static"
)

// IPAMKinds lists them.
func IPAMKinds() []string { return []string{HostLocalIPAM, LedgerIPAM, StaticIPAM} }

// A source is where the addresses of attachments come from and where they go
// back to. Giving back needs no valid configuration: it may have changed since
// ADD.
type source interface {
	// parse checks the configuration and touches nothing.
	parse() (addressing, error)
	// release gives back what the attachment has, and runs forget in the same
	// transaction of the ledger. To have nothing is no error.
	release(ctx context.Context, at wire.Attachment, forget forget) error
	// collect gives back what belongs to none of the attachments to keep.
	collect(ctx context.Context, keep valid) error
	// tell passes a verb on to a plugin that keeps its addresses itself. Our
	// own sources have nobody to tell.
	tell(ctx context.Context, verb cni.Command) error
}

// addressing is a source whose configuration has been checked.
type addressing interface {
	// reserve obtains addresses and runs enter with them in a transaction of
	// the ledger; all is kept, or nothing. An attachment that has addresses
	// gets the same ones again. enter may run more than once; the last time
	// counts.
	reserve(ctx context.Context, at wire.Attachment, enter enter) (Grant, error)
	// check compares a result with what is reserved, and changes nothing.
	check(ctx context.Context, at wire.Attachment, previous *current.Result) error
	// status tells whether reserve could succeed now, and changes nothing.
	status(ctx context.Context) error
	// routes are those of the configuration.
	routes() []wire.Route
}

// enter puts what else there is to an attachment into the ledger; nil has
// nothing.
type enter func(*ledger.Tx, Grant) error

func (e enter) run(tx *ledger.Tx, g Grant) error {
	if e == nil {
		return nil
	}
	return e(tx, g)
}

// forget takes out of the ledger what enter put in.
type forget func(*ledger.Tx) error

func (f forget) run(tx *ledger.Tx) error {
	if f == nil {
		return nil
	}
	return f(tx)
}

// forgetting deletes an attachment's record.
func forgetting(at wire.Attachment) forget {
	return func(tx *ledger.Tx) error {
		_, _, err := tx.Delete(ledger.Key(at))
		return err
	}
}

// valid holds the attachments that GC must keep.
type valid map[cni.ValidAttachment]bool

// has tells whether an interface of the container is among them.
func (v valid) has(container string) bool {
	for at := range v {
		if at.ContainerID == container {
			return true
		}
	}
	return false
}

// source gives the source of a kind: "" for an attachment without addresses,
// one of ours, or else the name of a plugin in CNI_PATH.
func (a *Attacher) source(kind string, req *cni.Request) source {
	switch kind {
	case "":
		return fixed{a.Ledger, req, nothing}
	case StaticIPAM:
		return fixed{a.Ledger, req, static}
	case LedgerIPAM:
		return ledgerPool{a.Ledger, req}
	case HostLocalIPAM:
		return hostLocal{a.Ledger, a.boot, a.Log, req}
	}
	return delegate{a.Ledger, req}
}

// sourceOf is the source of an attachment that is to go: the one that its
// record names, or the request's if there is no record.
func (a *Attacher) sourceOf(record *ledger.Record, req *cni.Request) source {
	if record != nil {
		if then, err := requestOf(*record); err == nil {
			then.Path = req.Path
			req = then
		}
	}
	return a.source(req.Conf.IPAM.Type, req)
}
