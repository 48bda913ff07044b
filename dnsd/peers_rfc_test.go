package dnsd

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// BenchmarkPeersRFC tries the points of TestRFC on dnsmasq, with the same names in
// its hosts file, and prints the table of docs/dns.md. It is there to tell
// demands that nobody meets from those that only we think of: what dnsmasq
// does otherwise is no failure of the test.
//
//	go test -run '^$' -bench PeersRFC -benchtime 1x ./dnsd
func BenchmarkPeersRFC(b *testing.B) {
	w, web, _ := rfcWorld(b)
	hosts := []string{
		"10.88.0.2 web web.front web.netctl.internal web.front.netctl.internal", "fd00:88::2 web web.front.netctl.internal",
		"10.88.0.2 a.b a.b.netctl.internal", "10.88.0.9 four four.netctl.internal",
	}
	for i := range manyOwners {
		hosts = append(hosts, fmt.Sprintf("10.88.0.%d many", 100+i))
	}
	file := filepath.Join(w.aside, "hosts")
	if err := os.WriteFile(file, []byte(strings.Join(hosts, "\n")+"\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	w.background("0-1", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--listen-address=10.88.0.1,fd00:88::1", "--bind-interfaces",
		"--no-resolv", "--no-hosts", "--server=127.0.0.53", "--local=/netctl.internal/", "--user=root", "--pid-file=", "--addn-hosts="+file)
	awaitAnswer(b, ways(web)[0], "web")
	fmt.Println("| RFC | Demand | dnsd | dnsmasq |\n|---|---|---|---|")
	combinations, good := 0, 0
	for _, p := range append(rfcPoints(), forwardPoints()...) {
		verdict := p.verdict(ways(web))
		if strings.HasPrefix(p.name, combinationName) {
			combinations++
			if verdict == "yes" {
				good++
			}
			continue
		}
		fmt.Printf("| %s | %s | yes | %s |\n", p.rfc, p.name, verdict)
	}
	fmt.Printf("| 8906 8.2 | EDNS with any of AD, Z, a flag, an option, version 100 | all %d | %d of %d |\n", combinations, good, combinations)
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
		if err := p.try(way); err != nil {
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
