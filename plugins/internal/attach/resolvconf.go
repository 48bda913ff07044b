package attach

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// readResolvConf reads a file in the form of resolv.conf(5).
func readResolvConf(path string) (types.DNS, error) {
	file, err := os.Open(path)
	if err != nil {
		return types.DNS{}, err
	}
	defer file.Close()
	dns, err := parseResolvConf(file)
	if err != nil {
		return types.DNS{}, fmt.Errorf("%s: %w", path, err)
	}
	return dns, nil
}

// parseResolvConf collects all lines of a kind, as the reference host-local
// does; only of several domains the last one counts.
func parseResolvConf(r io.Reader) (types.DNS, error) {
	var dns types.DNS
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			dns.Nameservers = append(dns.Nameservers, fields[1])
		case "domain":
			dns.Domain = fields[1]
		case "search":
			dns.Search = append(dns.Search, fields[1:]...)
		case "options":
			dns.Options = append(dns.Options, fields[1:]...)
		}
	}
	return dns, scanner.Err()
}
