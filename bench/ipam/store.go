package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/netctl/netctl/bench/boot"
	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/test/netns"
)

// Names of the stores.
const (
	inProcess     = "ledger, in process"
	ledgerPlugin  = "netctl-ipam"
	ownHostLocal  = "netctl's host-local"
	referenceHost = "reference host-local"
	network       = "bench"
)

// afterOthers is a call in process after other programs have had the processor and
// its caches. A call takes a tenth of what that costs, so it is told apart from those
// that follow on it.
const afterOthers = "the same, after other programs"

// often is how many calls in process follow on that one.
const often = 10

// columns are what is measured, in the order of the table.
func columns() []string { return append(names(), afterOthers) }

// columnsOf gives the columns of the calls that a store makes when it is its turn.
func columnsOf(store string) []string {
	if store != inProcess {
		return []string{store}
	}
	return append([]string{afterOthers}, slices.Repeat([]string{store}, often)...)
}

func names() []string { return []string{referenceHost, ownHostLocal, ledgerPlugin, inProcess} }

// filled are the stores of all pools, one of each kind as names has them.
type filled struct {
	disk, memory string
	container    *netns.Namespace
	stores       map[pool][]store
}

// fill makes the stores, with files of their own, and fills them.
func fill(all []pool, ours, reference string) (*filled, error) {
	f := &filled{stores: map[pool][]store{}}
	var err error
	if f.disk, err = os.MkdirTemp("", "bench-ipam-"); err != nil {
		return f, err
	}
	if f.memory, err = boot.Dir("bench-ipam-"); err != nil {
		return f, err
	}
	if f.container, err = netns.NewDown(); err != nil {
		return f, err
	}
	for n, p := range all {
		fmt.Fprintln(os.Stderr, "#", p)
		if f.stores[p], err = f.storesOf(p, fmt.Sprint(n), ours, reference); err != nil {
			return f, fmt.Errorf("%s: %w", p, err)
		}
		for _, s := range f.stores[p] {
			if err := s.fill(p.reserved); err != nil {
				return f, fmt.Errorf("%s: %s: fill: %w", p, s.name(), err)
			}
		}
	}
	runtime.GC() // what filling left is nobody's cost
	return f, nil
}

func (f *filled) close() {
	if f.container != nil {
		f.container.Close()
	}
	os.RemoveAll(f.disk)
	if f.memory != "" {
		os.RemoveAll(f.memory)
	}
}

func (f *filled) storesOf(p pool, dir, ours, reference string) ([]store, error) {
	disk, memory, netns := filepath.Join(f.disk, dir), filepath.Join(f.memory, dir), f.container.Path()
	book, err := newBook(p, filepath.Join(memory, "book"))
	if err != nil {
		return nil, err
	}
	behind, err := newBook(p, filepath.Join(memory, "plugin"))
	if err != nil {
		return nil, err
	}
	of := func(title, dir, kind, bin string) plugin {
		return plugin{title: title, binary: filepath.Join(bin, kind), kind: kind, pool: p,
			files: filepath.Join(disk, dir), state: filepath.Join(memory, dir), netns: netns}
	}
	return []store{
		hostLocal{of(referenceHost, "reference", "host-local", reference)},
		hostLocal{of(ownHostLocal, "own", "host-local", ours)},
		ledgerProcess{of(ledgerPlugin, "plugin", "netctl-ipam", ours), behind},
		book,
	}, nil
}

// A book is the ledger in this process.
type book struct {
	ledger *ledger.Ledger
	set    ipam.Set
}

func newBook(p pool, dir string) (book, error) {
	l, err := ledger.Open(dir)
	if err != nil {
		return book{}, err
	}
	r, err := ipam.Range{Subnet: p.subnet}.Canonical()
	return book{l, ipam.Set{r}}, err
}

func (b book) name() string { return inProcess }

func (b book) fill(n int) error {
	return b.ledger.Update(func(tx *ledger.Tx) error {
		for i := range n {
			if err := b.enter(tx, fmt.Sprintf("c%d", i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b book) enter(tx *ledger.Tx, id string) error {
	a, r, err := tx.Allocate(network, b.set)
	if err != nil {
		return err
	}
	address := ledger.Address{Prefix: netip.PrefixFrom(a, r.Subnet.Bits()), Gateway: r.Gateway}
	return tx.Put(ledger.Record{Key: key(id), Plugin: "bridge", Addresses: []ledger.Address{address}})
}

func key(id string) ledger.Key { return ledger.Key{Network: network, Container: id, IfName: "eth0"} }

func (b book) allocate(id string) error {
	return b.ledger.Update(func(tx *ledger.Tx) error { return b.enter(tx, id) })
}

func (b book) release(id string) error {
	return b.ledger.Update(func(tx *ledger.Tx) error {
		_, _, err := tx.Delete(key(id))
		return err
	})
}

// A plugin is an IPAM plugin's binary.
type plugin struct {
	title, binary, kind string
	pool                pool
	files, state        string // host-local's files; NETCTL_STATE_DIR
	netns               string // the plugins want one that is not their own
}

func (p plugin) name() string { return p.title }

func (p plugin) allocate(id string) error { return p.call("ADD", id) }
func (p plugin) release(id string) error  { return p.call("DEL", id) }

func (p plugin) call(verb, id string) error {
	conf, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": network, "type": "bridge", "ipam": map[string]any{
		"type": p.kind, "dataDir": p.files, "ranges": [][]map[string]string{{{"subnet": p.pool.subnet.String()}}}}})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.Command(p.binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(conf), &out, &out
	cmd.Env = append(os.Environ(), "NETCTL_STATE_DIR="+p.state, "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id,
		"CNI_NETNS="+p.netns, "CNI_IFNAME=eth0", "CNI_PATH="+filepath.Dir(p.binary))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", verb, err, out.String())
	}
	return nil
}

// hostLocal keeps a file per address.
type hostLocal struct{ plugin }

func (h hostLocal) fill(n int) error {
	dir := filepath.Join(h.files, network)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	address := h.pool.subnet.Addr().Next() // the gateway
	for i := range n {
		address = address.Next()
		if err := os.WriteFile(filepath.Join(dir, address.String()), fmt.Appendf(nil, "c%d\r\neth0", i), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "last_reserved_ip.0"), []byte(address.String()), 0o600)
}

// ledgerProcess is the ledger behind a plugin.
type ledgerProcess struct {
	plugin
	book book
}

func (l ledgerProcess) fill(n int) error { return l.book.fill(n) }
