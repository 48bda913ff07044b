package tuning

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
)

const previous = `,"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"cni0"},{"name":"veth1"},{"name":"eth0","sandbox":"/run/netns/web"}]}`

// TestGoldenWirings shows each option as the commands a person would type.
func TestGoldenWirings(t *testing.T) {
	attachtest.Goldens(t, Mode(), map[string]attachtest.Case{
		"nothing": {Keys: previous},
		"sysctl":  {Keys: previous + `,"sysctl":{"net.core.somaxconn":"500","net/ipv4/conf/IFNAME/arp_filter":"1","net.ipv4.conf.IFNAME.rp_filter":"0"}`},
		"link":    {Keys: previous + `,"mac":"02:00:00:00:00:01","mtu":1300,"promisc":true,"allmulti":true,"txQLen":99`},
		"off":     {Keys: previous + `,"promisc":false,"allmulti":false,"mtu":0,"txQLen":0`},
		"args": {Keys: previous + `,"sysctl":{"net.core.somaxconn":"1","net.core.b":"2"},"mac":"02:00:00:00:00:01","mtu":1300,"promisc":true,"allmulti":true,"txQLen":99,
			"args":{"cni":{"sysctl":{"net/core/somaxconn":"3","net.core.c":"4"},"mac":"02:00:00:00:00:02","mtu":1301,"promisc":false,"allmulti":false,"txQLen":98}}`},
		"args-only":  {Keys: previous + `,"args":{"cni":{"sysctl":{"net.core.somaxconn":"3"}}}`},
		"mac-weak":   {Keys: previous + `,"mac":"02:00:00:00:00:01"`, Args: "MAC=02:00:00:00:00:02"},
		"mac-strong": {Keys: previous + `,"args":{"cni":{"mac":"02:00:00:00:00:03"}},"runtimeConfig":{"mac":"02:00:00:00:00:04"}`, Args: "MAC=02:00:00:00:00:02"},
	})
}

func TestParseRefuses(t *testing.T) {
	attachtest.Refuses(t, Mode(), map[string]string{
		``: `key prevResult is missing: this plugin comes after one that makes an interface`,
		`,"sysctl":{"net.core.somaxconn":"1","net.core.somaxconn":"2"}`: `key sysctl: net.core.somaxconn is there twice`,
		`,"sysctl":{"net.core.somaxconn":"1","net/core/somaxconn":"2"}`: `key sysctl: net/core/somaxconn is there twice`,
		`,"sysctl":{"kernel.domainname":"x"}`:                           `key sysctl: "kernel.domainname" is not a parameter of the network: want net.*`,
		`,"sysctl":{"net.core.somaxconn":1}`:                            `key sysctl: value of net.core.somaxconn: want a text such as "1", got 1`,
		`,"sysctl":["net.core.somaxconn"]`:                              `key sysctl: want an object of names and values`,
		`,"args":{"cni":{"sysctl":{"net.a":"1","net.a":"1"}}}`:          `key args.cni.sysctl: net.a is there twice`,
		`,"mac":"01:00:5e:00:00:01"`:                                    `key mac: invalid MAC address "01:00:5e:00:00:01": want a unicast address (even first octet, not zero)`,
		`,"mtu":-1`:                                                     `key mtu: invalid value -1: want 68 to 65535, or 0 to leave it`,
		`,"txQLen":-1`:                                                  `key txQLen: invalid value -1: want 0 to 4294967295 packets`,
		`,"promisc":""`:                                                 `configuration on standard input: key promisc: want true or false, got ""`,
	})
}

func TestAllowlist(t *testing.T) {
	file := filepath.Join(t.TempDir(), "allowlist.conf")
	keys := sysctls{{"net.ipv4.conf.IFNAME.arp_filter", "1"}}
	if err := keys.check(file); err != nil {
		t.Errorf("without the file: %v", err)
	}
	for content, want := range map[string]string{
		"":                                   `key sysctl: "net.ipv4.conf.IFNAME.arp_filter" is not allowed on this host`,
		"\n^net.core\n  arp_ \n":             "",
		`^net\.ipv4\.conf\.IFNAME\.[a-z_]*$`: "",
		"^arp":                               `key sysctl: "net.ipv4.conf.IFNAME.arp_filter" is not allowed on this host`,
		"(":                                  file + ": error parsing regexp: missing closing ): `(`",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		err := keys.check(file)
		if got := fmt.Sprint(err); got != want && !(err == nil && want == "") {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
	}
}

// FuzzSysctls: whatever is accepted stays below net, and is what the JSON says.
func FuzzSysctls(f *testing.F) {
	for _, seed := range []string{`{"net.a":"1"}`, `{"net.a":"1","net/a":"2"}`, `{"net/../a":""}`, `null`, `[]`, `{"net.IFNAME":{}}`, `{`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return // what the request decoder lets pass is valid
		}
		s, err := parseSysctls(json.RawMessage(text))
		if err != nil {
			return
		}
		var plain map[string]string
		if err := json.Unmarshal([]byte(text), &plain); err != nil || len(plain) != len(s) {
			t.Fatalf("%s: accepted as %v, and JSON says %v (%v)", text, s, plain, err)
		}
		if s.check("/nonexistent") != nil {
			return
		}
		for _, have := range s.wire("eth0") {
			if !strings.HasPrefix(filepath.Join("/proc/sys", have.Path), "/proc/sys/net/") {
				t.Errorf("%s leaves the tree: %s", text, have.Path)
			}
		}
	})
}
