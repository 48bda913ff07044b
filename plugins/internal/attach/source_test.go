package attach

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

// A machine keeps its state in directories of its own; nothing of it needs a
// kernel.
type machine struct {
	*Attacher
	t       testing.TB
	dataDir string
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	store, err := ledger.OpenBoot(t.TempDir(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	return &machine{&Attacher{
		Ledger: store, Log: slog.New(slog.DiscardHandler),
		boot: func() (time.Time, error) { return time.Now().Add(-time.Hour), nil },
	}, t, t.TempDir()}
}

// a call is what a runtime sends to an IPAM plugin.
type call struct {
	kind, container, ifname string
	keys                    string // of the object ipam
	top                     string // beside it
	args                    string // CNI_ARGS
	version                 string
}

func (m *machine) request(verb cni.Command, c call) *cni.Request {
	m.t.Helper()
	if c.ifname == "" {
		c.ifname = "eth0"
	}
	if c.version == "" {
		c.version = "1.1.0"
	}
	env := map[string]string{
		"CNI_COMMAND": string(verb), "CNI_CONTAINERID": c.container, "CNI_NETNS": "/no/such",
		"CNI_IFNAME": c.ifname, "CNI_ARGS": c.args,
	}
	stdin := fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"ptp","ipam":{"type":%q,"dataDir":%q%s}%s}`,
		c.version, c.kind, m.dataDir, c.keys, c.top)
	req, err := cni.Parse(func(name string) string { return env[name] }, []byte(stdin))
	if err != nil {
		m.t.Fatal(err)
	}
	return req
}

// add gives the addresses with their gateways, or the error.
func (m *machine) add(c call) (string, error) {
	m.t.Helper()
	result, err := m.IPAM(c.kind).Add(context.Background(), m.request(cni.Add, c))
	if err != nil {
		return "", err
	}
	return text(result), nil
}

func text(result *current.Result) string {
	var words []string
	for _, ip := range result.IPs {
		words = append(words, ip.Address.String())
		if ip.Gateway != nil {
			words = append(words, "via", ip.Gateway.String())
		}
	}
	return strings.Join(words, " ")
}

func (m *machine) mustAdd(c call) string {
	m.t.Helper()
	got, err := m.add(c)
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

func (m *machine) mustDel(c call) {
	m.t.Helper()
	if err := m.IPAM(c.kind).Del(context.Background(), m.request(cni.Del, c)); err != nil {
		m.t.Fatal(err)
	}
}

// result writes a prevResult with these addresses.
func result(addresses ...string) string {
	var ips []string
	for _, a := range addresses {
		address, gateway, _ := strings.Cut(a, " via ")
		if gateway != "" {
			ips = append(ips, fmt.Sprintf(`{"address":%q,"gateway":%q}`, address, gateway))
		} else {
			ips = append(ips, fmt.Sprintf(`{"address":%q}`, address))
		}
	}
	return fmt.Sprintf(`,"prevResult":{"cniVersion":"1.1.0","ips":[%s]}`, strings.Join(ips, ","))
}

func (m *machine) check(c call, addresses ...string) error {
	m.t.Helper()
	c.top += result(addresses...)
	return m.IPAM(c.kind).Check(context.Background(), m.request(cni.Check, c))
}

func (m *machine) status(c call) error {
	m.t.Helper()
	return m.IPAM(c.kind).Status(context.Background(), m.request(cni.Status, c))
}

func (m *machine) gc(c call, keep ...string) error {
	m.t.Helper()
	var entries []string
	for _, k := range keep {
		container, ifname, _ := strings.Cut(k, "/")
		entries = append(entries, fmt.Sprintf(`{"containerID":%q,"ifname":%q}`, container, ifname))
	}
	c.top += `,"cni.dev/valid-attachments":[` + strings.Join(entries, ",") + `]`
	return m.IPAM(c.kind).GC(context.Background(), m.request(cni.GC, c))
}

// want compares an error with a code and a part of its text; code 0 stands for
// no error.
func want(t testing.TB, err error, code cni.Code, part string) {
	t.Helper()
	if code == 0 {
		if err != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	var e *cni.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want code %d and %q", err, code, part)
	}
}
