package network

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compares the lists byte for byte: they are an interface to other
// runtimes and to our own plugins. Each must also be one that libcni loads.
func TestGolden(t *testing.T) {
	addr := netip.MustParseAddr
	for name, r := range map[string]Request{
		"example":   {Subnets: pfx("10.88.0.0/16")},
		"chosen":    {},
		"dualstack": {IPv6: true, Labels: map[string]string{"team": "a"}},
		"v6only":    {NoIPv4: true, IPv6: true, Subnets: pfx("fd00:1::/64")},
		"internal":  {Subnets: pfx("10.88.0.0/24"), Internal: true, NoNames: true},
		"l2":        {NoIPAM: true, Device: "br0"},
		"ranges": {Subnets: pfx("10.88.0.0/24"), Gateways: addrs("10.88.0.254"),
			Ranges:   []AddrRange{{addr("10.88.0.0"), addr("10.88.0.127")}},
			Reserved: map[string]netip.Addr{"nas": addr("10.88.0.10"), "first": addr("10.88.0.1")}},
		"routes": {Subnets: pfx("10.88.0.0/24"), DNS: addrs("9.9.9.9", "2620:fe::fe"),
			Routes: []Route{{netip.MustParsePrefix("10.1.0.0/16"), addr("10.88.0.9"), 50}}},
		"options": {Subnets: pfx("10.88.0.0/24"), Options: map[string]string{
			"mtu": "1400", "isolate": "true", "metric": "200",
			"com.docker.network.bridge.enable_icc":           "false",
			"com.docker.network.bridge.enable_ip_masquerade": "false",
			"com.docker.network.bridge.name":                 "docker1",
			"com.docker.network.bridge.host_binding_ipv4":    "127.0.0.1",
			"com.docker.network.container_iface_prefix":      "net"}},
		"rules": {Subnets: pfx("10.88.0.0/24", "fd00:1::/64"), Options: map[string]string{
			"com.docker.network.host_ipv4": "192.0.2.10", "outbound_addr6": "2001:db8::10", "no_masquerade": "10.0.0.0/8,fd00::/8",
			"publish_from": "192.0.2.7,2001:db8::/64", "publish_on": "eth1,eth2"}},
		"macvlan": {Driver: "macvlan", Subnets: pfx("192.0.2.0/24"), Options: map[string]string{"parent": "eth0", "mode": "private"}},
	} {
		t.Run(name, func(t *testing.T) {
			r.Name = name
			s := testStore(t)
			n, err := s.Create(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(n.File)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(n.File); err != nil || info.Mode() != 0o644 {
				t.Errorf("mode %v, want one that every runtime can read: %v", info.Mode(), err)
			}
			golden := filepath.Join("testdata", name+".conflist")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v; got\n%s", err, got)
			}
			list, err := libcni.ConfListFromFile(n.File)
			if err != nil || list.Name != name || len(list.Plugins) != 1 || list.CNIVersion != cniNewest {
				t.Errorf("libcni: %+v, %v", list, err)
			}
			if again, err := s.Find(name); err != nil || fmt.Sprint(again) != fmt.Sprint(n) {
				t.Errorf("read back %v, %v\nwritten   %v", again, err, n)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                               "",
		`{"plugins":[{"type":"bridge"}]}`: `invalid network name ""`,
		`{"name":"../x","plugins":[{"type":"bridge"}]}`: `invalid network name "../x"`,
		`{"name":"a b","plugins":[{"type":"bridge"}]}`:  `invalid network name "a b"`,
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// TestForeign reads what others leave in the directory.
func TestForeign(t *testing.T) {
	s := testStore(t)
	if err := os.CopyFS(s.dir, os.DirFS("testdata/foreign")); err != nil {
		t.Fatal(err)
	}
	networks, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range networks {
		if n.File == "" {
			continue
		}
		line := fmt.Sprintf("%s driver=%s device=%s ours=%t", n.Name, n.Driver, n.Device, n.Ours)
		for _, s := range n.Subnets() {
			line += fmt.Sprintf(" %s>%s", s.Prefix, s.Gateway)
		}
		got = append(got, line)
	}
	want := []string{
		"cbr0 driver=flannel device= ours=false",
		"lan driver=macvlan device=eth0 ours=false",
		"nerdctl-net driver=bridge device=br-dad7 ours=false 10.4.1.0/24>10.4.1.1",
		"old driver=bridge device=cni0 ours=false 10.22.0.0/16>10.22.0.1",
		"podman driver=bridge device=cni-podman0 ours=false 10.88.0.0/16>10.88.0.1 fd00:88::/64>fd00:88::1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	nerd, _ := s.Find("17f29b073143d8cd97b5bbe492bdeffec1c5fee55cc1fe2112c8b9335f8b6121")
	if nerd.Name != "nerdctl-net" || nerd.Labels["a"] != "b" {
		t.Errorf("nerdctl's ID or labels are not read: %+v", nerd)
	}
	if _, err := s.Create(Request{Name: "x", Subnets: pfx("10.88.0.0/16")}); err == nil || !strings.Contains(err.Error(), "(network podman)") {
		t.Errorf("podman's subnet was given out again: %v", err)
	}
	podman, _ := s.Find("podman")
	err = s.Remove(podman, func() error { t.Error("dismantled another tool's network"); return nil })
	if !errors.Is(err, ErrForeign) || !strings.HasPrefix(err.Error(), "network podman was not made by netctl: remove it with") {
		t.Errorf("removing podman's network: %v", err)
	}
}

// FuzzParse holds that whatever is taken for a list is one libcni loads too,
// has an ID and a driver, and does not crash those who use it.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.conflist", "testdata/foreign/*"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Parse(data)
		if err != nil {
			return
		}
		if !namePattern.MatchString(n.Name) || n.ShortID() == "" && !n.Ours {
			t.Fatalf("%+v", n)
		}
		for _, s := range n.Subnets() {
			if !s.Prefix.IsValid() || len(s.Ranges) == 0 {
				t.Fatalf("subnet %+v", s)
			}
		}
		n.HostIP()
		n.claims()
	})
}
