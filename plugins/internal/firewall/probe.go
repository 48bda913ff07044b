package firewall

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	nft "github.com/google/nftables"
)

// Probe tells whether a mechanism works on this host, without changing or
// locking anything: iptables-restore is given an empty transaction to test, the
// kernel is asked for its tables.
func Probe(ctx context.Context, name BackendName) error {
	backend, err := Open(name, nil)
	if err != nil {
		return err
	}
	if backend.Name() == NFTables {
		return probeNFTables()
	}
	path, err := (programs{}).find("iptables-restore")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "--test", "--noflush")
	cmd.Stdin = strings.NewReader("*nat\nCOMMIT\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore does not work: %w: %s", err, oneLine(string(out)))
	}
	return nil
}

func probeNFTables() error {
	conn, err := nft.New()
	if err != nil {
		return fmt.Errorf("nftables does not work: %w", err)
	}
	if _, err := conn.ListTables(); err != nil {
		return fmt.Errorf("nftables does not work: %w", err)
	}
	return nil
}
