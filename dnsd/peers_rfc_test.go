package dnsd

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPeersRFC tries the points of TestRFC on dnsmasq and unbound, with
// the same names in their configuration, and makes the table of docs/dns.md. It
// is there to tell demands that nobody meets from those that only we think of:
// what the others do otherwise is no failure of the test.
//
//	go test -run '^$' -bench PeersRFC -benchtime 1x ./dnsd
func BenchmarkPeersRFC(b *testing.B) {
	w, web, _ := rfcWorld(b)
	points := append(rfcPoints(), forwardPoints()...)
	peers := []string{"dnsmasq", "unbound"}
	verdicts := make(map[string][]string)
	for name, command := range map[string][]string{"dnsmasq": w.dnsmasqForRFC(), "unbound": w.unboundForRFC()} {
		server := w.background("0-1", command...)
		awaitAnswer(b, ways(web)[0], "web")
		for _, p := range points {
			verdicts[name] = append(verdicts[name], p.verdict(ways(web)))
		}
		server.Process.Signal(syscall.SIGTERM)
		server.Wait()
	}
	table := "| RFC | Demand | dnsd | dnsmasq | unbound |\n|---|---|---|---|---|\n"
	combinations, good := 0, make(map[string]int)
	for i, p := range points {
		if strings.HasPrefix(p.name, combinationName) {
			combinations++
			for _, peer := range peers {
				if verdicts[peer][i] == "yes" {
					good[peer]++
				}
			}
			continue
		}
		table += fmt.Sprintf("| %s | %s | yes | %s | %s |\n", p.rfc, p.name, verdicts["dnsmasq"][i], verdicts["unbound"][i])
	}
	table += fmt.Sprintf("| 8906 8.2 | EDNS with any of AD, Z, a flag, an option, version 100 | all %d | %d of them | %d of them |\n", combinations, good["dnsmasq"], good["unbound"])
	for _, row := range onlyOurs {
		table += "| " + row + " | yes | | |\n"
	}
	fmt.Print(table)
	writePage(b, "rfc", table)
}

// peerPatience is how long to wait for a reply that others may not give.
const peerPatience = 2 * time.Second

// onlyOurs are demands with tests of their own, which others are not put to.
var onlyOurs = []string{
	"7766 8 | queries split into bytes, and several in one segment",
	"7766 7 | a slow forward delays no other answer on the connection",
	"7766 6.2.1 | 1000 queries at once on one connection",
	"7766 6.2.4 | half-closed connections get their answers",
	"7766 6.2.3 | 300 idle connections keep nobody out",
	"5452 9 | replies with another ID, question, class or from elsewhere are ignored; random ports and IDs",
	"1794 | each owner of an alias first equally often",
}

// hostsForRFC are the addresses of rfcWorld and their names, the main one first.
func hostsForRFC() (list [][]string) {
	list = [][]string{
		{"10.88.0.2", "web.front.netctl.internal", "web", "web.front", "web.netctl.internal", "a.b", "a.b.netctl.internal"},
		{"fd00:88::2", "web.front.netctl.internal", "web"},
		{"10.88.0.9", "four.front.netctl.internal", "four", "four.netctl.internal"},
	}
	for i := range manyOwners {
		list = append(list, []string{fmt.Sprintf("10.88.0.%d", 100+i), "many"})
	}
	return list
}

// writeAside writes a file of the test's own.
func (w *world) writeAside(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.aside, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) dnsmasqForRFC() []string {
	var hosts strings.Builder
	for _, names := range hostsForRFC() {
		fmt.Fprintln(&hosts, strings.Join(names, " "))
	}
	return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--listen-address=10.88.0.1,fd00:88::1", "--bind-interfaces",
		"--no-resolv", "--no-hosts", "--server=127.0.0.53", "--local=/netctl.internal/", "--user=root", "--pid-file=", "--addn-hosts=" + w.writeAside("hosts", hosts.String())}
}

func (w *world) unboundForRFC() []string {
	var conf strings.Builder
	conf.WriteString(`server:
  interface: 10.88.0.1
  interface: fd00:88::1
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  pidfile: ""
  directory: "` + w.aside + `"
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "netctl.internal." static
  local-data: "netctl.internal. 0 SOA ns.netctl.internal. hostmaster.netctl.internal. 1 2 3 4 0"
  local-zone: "0.88.10.in-addr.arpa." static
  local-data: "0.88.10.in-addr.arpa. 0 SOA ns.netctl.internal. hostmaster.netctl.internal. 1 2 3 4 0"
`)
	for _, names := range hostsForRFC() {
		kind := "A"
		if strings.Contains(names[0], ":") {
			kind = "AAAA"
		} else {
			fmt.Fprintf(&conf, "  local-data-ptr: \"%s 0 %s\"\n", names[0], names[1])
		}
		for _, name := range names[1:] {
			fmt.Fprintf(&conf, "  local-data: \"%s. 0 %s %s\"\n", name, kind, names[0])
		}
	}
	conf.WriteString("forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.53\n")
	return []string{"unbound", "-d", "-c", w.writeAside("unbound.conf", conf.String())}
}

var statusOf = regexp.MustCompile(`status: ([A-Z0-9]+)`)

// verdict is how a server does over all ways, in few words.
func (p point) verdict(list []path) string {
	var bad []string
	why := ""
	n := 0
	for _, way := range list {
		if !p.fits(way) {
			continue
		}
		n++
		if err := p.try(way, peerPatience); err != nil {
			bad = append(bad, way.String())
			why, _, _ = strings.Cut(err.Error(), "\n")
			if m := statusOf.FindStringSubmatch(err.Error()); m != nil {
				why = "not " + strings.TrimPrefix(why, "not so: ") + " (" + m[1] + ")"
			}
			why, _, _ = strings.Cut(why, ": beef")
		}
	}
	switch len(bad) {
	case 0:
		return "yes"
	case n:
		return why
	}
	return "over " + strings.Join(bad, ", ") + ": " + why
}
