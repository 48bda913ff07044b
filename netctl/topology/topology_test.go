package topology

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func model() Model {
	addr := netip.MustParseAddr
	return Model{
		Host: "box",
		Networks: []Network{
			{Name: "bridge", Driver: "bridge", Device: "netctl0", Subnets: []netip.Prefix{netip.MustParsePrefix("10.89.0.0/24")}, Members: []Member{
				{Container: "web", Status: "running", Interface: "eth0", Addresses: []netip.Addr{addr("10.89.0.2")}, Ports: []string{"8080 -> 80/tcp", "127.0.0.1:8443 -> 443/tcp"}},
				{Container: "old", Status: "exited"},
				{Container: "3f4d7a2b9c1e", Interface: "eth0", Addresses: []netip.Addr{addr("10.89.0.9")}},
			}},
			{Name: "back", Driver: "bridge", Device: "nb-back", Internal: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24"), netip.MustParsePrefix("fd00:77::/64")}, Members: []Member{
				{Container: "web", Status: "running", Interface: "eth1", Addresses: []netip.Addr{addr("10.77.0.2"), addr("fd00:77::2")}},
				{Container: "db", Status: "running", Interface: "eth0", Addresses: []netip.Addr{addr("10.77.0.3"), addr("fd00:77::3")}},
			}},
			{Name: "empty", Driver: "macvlan", Device: "eth0"},
		},
		Apart: []Apart{
			{"exporter", "running", "host"}, {"sidecar", "running", "container:web"}, {"<job> & \"son\"", "paused", "none"},
		},
	}
}

func TestDrawings(t *testing.T) {
	m := model()
	for name, got := range map[string]string{"tree.txt": m.Tree(), "drawing.svg": m.SVG(), "drawing.mermaid": m.Mermaid()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not what it was (-update writes it anew):\n%s", name, got)
		}
	}
}

// Names can't break out of the picture.
func TestSVGIsXML(t *testing.T) {
	for _, m := range []Model{model(), {Host: "nothing"}, {Host: "</text><script>"}} {
		d := xml.NewDecoder(strings.NewReader(m.SVG()))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if start, ok := token.(xml.StartElement); ok && start.Name.Local == "script" {
				t.Error("there is a script in it")
			}
		}
	}
}
