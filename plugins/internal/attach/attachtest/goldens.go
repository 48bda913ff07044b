// Package attachtest tests modes: it shows what one asks for as the commands
// that a person would type, and compares them with golden files. Nothing is
// made.
package attachtest

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A Case is an ADD of interface eth0 of container web to network net.
type Case struct {
	// Keys are further members of the configuration, each after a comma.
	Keys  string
	Args  string // CNI_ARGS
	Grant attach.Grant
}

// Request makes the request of a case.
func (c Case) Request(t *testing.T, mode attach.Mode) *cni.Request {
	t.Helper()
	env := map[string]string{
		"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "web", "CNI_NETNS": "/run/netns/web", "CNI_IFNAME": "eth0", "CNI_ARGS": c.Args,
	}
	conf := `{"cniVersion":"1.1.0","name":"net","type":"` + mode.Name + `"` + c.Keys + `}`
	req, err := cni.Parse(func(name string) string { return env[name] }, []byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Wiring gives what the mode asks for in a case.
func (c Case) Wiring(t *testing.T, mode attach.Mode) wire.Wiring {
	t.Helper()
	conf, err := mode.Parse(c.Request(t, mode))
	if err != nil {
		t.Fatal(err)
	}
	at := wire.Attachment{Network: "net", Container: "web", IfName: "eth0"}
	if mode.Chained {
		at.Part = mode.Name
	}
	w, err := conf.Wire(at, c.Grant)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Goldens compares each case with testdata/NAME.golden.
func Goldens(t *testing.T, mode attach.Mode, cases map[string]Case) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			compare(t, filepath.Join("testdata", name+".golden"), strings.Join(c.Wiring(t, mode).Lines(), "\n")+"\n")
		})
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%swant:\n%s", file, got, want)
	}
}

// Refuses gives the mode each of the keys, and wants the error beside it.
func Refuses(t *testing.T, mode attach.Mode, cases map[string]string) {
	t.Helper()
	for keys, want := range cases {
		_, err := mode.Parse(Case{Keys: keys}.Request(t, mode))
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", keys, err, want)
		}
	}
}

// Address is an address with its gateway, "" for none.
func Address(prefix, gateway string) wire.Address {
	a := wire.Address{Prefix: netip.MustParsePrefix(prefix)}
	if gateway != "" {
		a.Gateway = netip.MustParseAddr(gateway)
	}
	return a
}

// Granted is a grant of these addresses.
func Granted(addresses ...wire.Address) attach.Grant { return attach.Grant{Addresses: addresses} }
