package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"github.com/containernetworking/plugins/pkg/utils"
)

// A thousand ADDs of the reference take minutes, as each looks through what is
// there. Its rules for the containers of the filling are therefore written at
// once; that they are what it makes is verified before.

// seedIPTables writes the reference's rules for containers [from, to) that
// publish one port each.
func seedIPTables(w *world, from, to int) error {
	var chains, rules strings.Builder
	for i := from; i < to; i++ {
		c := number(i)
		chain := utils.MustFormatChainNameWithPrefix("bench", c.id, "DN-")
		fmt.Fprintf(&chains, ":%s - [0:0]\n", chain)
		for _, source := range []string{"10.88.0.0/16", "127.0.0.1/32"} {
			fmt.Fprintf(&rules, "-A %s -s %s -p tcp -m tcp --dport %d -j CNI-HOSTPORT-SETMARK\n", chain, source, c.hostPort)
		}
		fmt.Fprintf(&rules, "-A %s -p tcp -m tcp --dport %d -j DNAT --to-destination %s:80\n", chain, c.hostPort, c.address)
		fmt.Fprintf(&rules, "-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment \"dnat name: \\\"bench\\\" id: \\\"%s\\\"\" -m multiport --dports %d -j %s\n",
			c.id, c.hostPort, chain)
	}
	return w.feed("*nat\n"+chains.String()+rules.String()+"COMMIT\n", "iptables-restore", "--noflush")
}

// seedNFTables is seedIPTables for the other mechanism.
func seedNFTables(w *world, from, to int) error {
	var rules strings.Builder
	for i := from; i < to; i++ {
		c := number(i)
		fmt.Fprintf(&rules, "add rule ip cni_hostport hostports tcp dport %d dnat to %s:80 comment %q\n", c.hostPort, c.address, c.id)
		for _, source := range []string{c.address.String(), "127.0.0.1"} {
			fmt.Fprintf(&rules, "add rule ip cni_hostport masquerading ip saddr %s ip daddr %s masquerade comment %q\n", source, c.address, c.id)
		}
	}
	return w.feed(rules.String(), "nft", "-f", "-")
}

// feed runs a program on the host with that standard input.
func (w *world) feed(input, name string, args ...string) error {
	return w.host.Do(func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return nil
	})
}

// verifySeeds compares a host on which the reference attached three containers
// with one where it attached the first and the others were seeded.
func verifySeeds(reference string) error {
	const count = 3
	for _, i := range implementations(options{reference: reference}) {
		if i.seed == nil {
			continue
		}
		real, err := newWorld(i)
		if err != nil {
			return err
		}
		defer real.close()
		seeded, err := newWorld(i)
		if err != nil {
			return err
		}
		defer seeded.close()
		for n := range count {
			if _, err := real.call("ADD", number(n), 1); err != nil {
				return err
			}
		}
		if err := seeded.fill(count); err != nil {
			return err
		}
		want, err := real.rules()
		if err != nil {
			return err
		}
		got, err := seeded.rules()
		if err != nil || got != want {
			return fmt.Errorf("%s: the rules to fill a host with are not the ones the plugin makes: %w:\n%s\nwant\n%s", i.name, err, got, want)
		}
	}
	return nil
}

// counters and times are in the comments of iptables-save.
var savedComment = regexp.MustCompile(`(?m)^#.*\n`)

// rules lists the NAT rules of both mechanisms.
func (w *world) rules() (string, error) {
	out, err := w.host.Output("sh", "-ec", "iptables-save -t nat; nft -s list table ip cni_hostport 2>/dev/null || true")
	return savedComment.ReplaceAllString(out, ""), err
}
