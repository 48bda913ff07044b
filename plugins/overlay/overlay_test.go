package overlay

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/netctl/netctl/plugins/internal/attach"
	"github.com/netctl/netctl/plugins/internal/attach/attachtest"
	"github.com/netctl/netctl/plugins/internal/cni"
	"github.com/netctl/netctl/plugins/internal/wire"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

const keys = `,"bridge":"nb-blue","isGateway":true,"isDefaultGateway":true,"ipMasq":true,"names":true,"ipam":{"type":"netctl-ipam"}`

// completed is the mode as ADD uses it, with this share of the host.
func completed(t *testing.T, share handover.Network, keys string) (attach.Conf, *cni.Request, error) {
	t.Helper()
	dir := t.TempDir()
	if share.Network != "" {
		if _, err := handover.Write(dir, share); err != nil {
			t.Fatal(err)
		}
	}
	req := attachtest.Case{Keys: keys}.Request(t, Mode())
	conf, err := Mode().Parse(req)
	if err != nil {
		t.Fatal(err)
	}
	conf, err = conf.(attach.Completer).Complete(dir, req)
	return conf, req, err
}

func share() handover.Network {
	prefix := netip.MustParsePrefix
	return handover.Network{Network: "net", Group: 7, MTU: 1450, Ranges: []netip.Prefix{prefix("10.100.0.0/16"), prefix("10.101.0.0/16")},
		Pools: []handover.Pool{{Prefix: prefix("10.100.9.0/24"), Lost: true}, {Prefix: prefix("10.100.1.0/24")}, {Prefix: prefix("10.100.2.0/24")}}}
}

// TestWiring shows what differs from a bridge.
func TestWiring(t *testing.T) {
	conf, req, err := completed(t, share(), keys)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"ranges":[[{"subnet":"10.100.1.0/24"},{"subnet":"10.100.2.0/24"}]]`; !strings.Contains(string(req.Conf.IPAM.Raw), want) {
		t.Errorf("ipam is %s, want %s: the usable pools in their order", req.Conf.IPAM.Raw, want)
	}
	w, err := conf.Wire(wire.Attachment{Network: "net", Container: "web", IfName: "eth0"}, attachtest.Granted(attachtest.Address("10.100.1.5/24", "10.100.1.1")))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Join(w.Lines(), "\n")
	for _, want := range []string{"ip link add nb-blue", "mtu 1450 type bridge", "10.100.1.5/24", "tcp_mtu_probing=1"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %q in\n%s", want, lines)
		}
	}
	p := w.Shared.Network
	if p.Trunk != handover.Device || len(p.NoMasquerade) != 2 || len(p.Subnets) != 3 || len(p.DNS) != 3 {
		t.Errorf("policy %+v: want the trunk, no masquerade to both ranges, all three pools and gateways", p)
	}
}

// TestWithoutPools: ADD is told to try again, and what takes things away works.
func TestWithoutPools(t *testing.T) {
	for name, s := range map[string]handover.Network{
		"none written": {},
		"all lost":     {Network: "net", Pools: share().Pools[:1]},
	} {
		_, _, err := completed(t, s, keys)
		var e *cni.Error
		if !errors.As(err, &e) || e.Code != cni.CodeTryAgain || e.Hint == "" {
			t.Errorf("%s: %v, want code %d with a hint", name, err, cni.CodeTryAgain)
		}
	}
	conf, err := Mode().Parse(attachtest.Case{Keys: keys}.Request(t, Mode()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conf.Wire(wire.Attachment{Network: "net"}, attach.Grant{}); err != nil {
		t.Errorf("the network can't be removed without pools: %v", err)
	}
}

func TestDegradedIsLimited(t *testing.T) {
	s := share()
	s.Degraded = "store unreachable"
	conf, _, err := completed(t, s, keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := conf.(attach.Limiter).Limited(); err == nil || !strings.Contains(err.Error(), "store unreachable") {
		t.Error(err)
	}
}

func TestRefusedKeys(t *testing.T) {
	for more, want := range map[string]string{
		`,"vlan":7`:                     "vlan",
		`,"ipam":{"type":"host-local"}`: `invalid value "host-local"`,
	} {
		_, err := Mode().Parse(attachtest.Case{Keys: more}.Request(t, Mode()))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ...%s...", more, err, want)
		}
	}
}

func TestAHalfWrittenOrNewerShareIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(handover.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{`{"schema":1,`: "unexpected end", `{"schema":99}`: "schema 99"} {
		if err := os.WriteFile(handover.Dir(dir)+"/net.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := handover.Read(dir, "net"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
