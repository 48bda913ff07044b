package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/netctl/netctl/ipam"
	"github.com/netctl/netctl/ipam/ledger"
)

// Names of the stores.
const (
	inProcess     = "ledger, in process"
	ledgerPlugin  = "netctl-ipam"
	ownHostLocal  = "netctl's host-local"
	referenceHost = "reference host-local"
	network       = "bench"
)

func names() []string { return []string{referenceHost, ownHostLocal, ledgerPlugin, inProcess} }

// storesOf makes one of each kind, with files of its own.
func storesOf(p pool, dir, netns, ours, reference string) ([]store, error) {
	book, err := newBook(p, filepath.Join(dir, "book"))
	if err != nil {
		return nil, err
	}
	filled, err := newBook(p, filepath.Join(dir, "plugin"))
	if err != nil {
		return nil, err
	}
	return []store{
		hostLocal{plugin{referenceHost, filepath.Join(reference, "host-local"), "host-local", p, filepath.Join(dir, "reference"), netns}},
		hostLocal{plugin{ownHostLocal, filepath.Join(ours, "host-local"), "host-local", p, filepath.Join(dir, "own"), netns}},
		ledgerProcess{plugin{ledgerPlugin, filepath.Join(ours, "netctl-ipam"), "netctl-ipam", p, filepath.Join(dir, "plugin"), netns}, filled},
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
	dir                 string
	netns               string // the plugins want one that is not their own
}

func (p plugin) name() string { return p.title }

func (p plugin) allocate(id string) error { return p.call("ADD", id) }
func (p plugin) release(id string) error  { return p.call("DEL", id) }

func (p plugin) call(verb, id string) error {
	conf, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": network, "type": "bridge", "ipam": map[string]any{
		"type": p.kind, "dataDir": p.dir, "ranges": [][]map[string]string{{{"subnet": p.pool.subnet.String()}}}}})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.Command(p.binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(conf), &out, &out
	cmd.Env = append(os.Environ(), "NETCTL_STATE_DIR="+p.dir, "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id,
		"CNI_NETNS="+p.netns, "CNI_IFNAME=eth0", "CNI_PATH="+filepath.Dir(p.binary))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", verb, err, out.String())
	}
	return nil
}

// hostLocal keeps a file per address.
type hostLocal struct{ plugin }

func (h hostLocal) fill(n int) error {
	dir := filepath.Join(h.dir, network)
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
