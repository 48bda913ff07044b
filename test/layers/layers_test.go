// Package layers polices who may import whom. The table is the house's, in the
// notation of Go's own go/build/deps_test.go: a package, what of ours it may
// import, and why.
package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/netctl/netctl/"

// The first line whose left side matches a package is its rule. A side matches
// a package and what is below it; "-" stands for nothing of ours.
const table = `
# Commands are a main function and nothing else.
cmd/netctl            < netctl
cmd/netctl-monitor    < netctl/plumbing, netctl/runner/monitor, netctl/runner
cmd/cni               < plugins
cmd/dnsd              < dnsd
cmd/overlayd          < plugins/overlay/agent
cmd/cni-conformance   < conformance

# The overlay's agent: the stores know nothing of each other or of the agent,
# which has the kernel, the packet filter and the ledger brought up to date. Who
# is reclaimed is decided by what watches, and neither acts nor asks.
plugins/overlay/agent/store   < ipam
plugins/overlay/agent/absence < plugins/overlay/agent/store, ipam
plugins/overlay/handover      < ipam/flock, ipam/quickjson
plugins/overlay/control     < -
plugins/overlay/agent       < plugins/overlay, plugins/internal, ipam, dnsd/client

# Values without mechanism: whoever imports them pulls in nothing.
plugins/internal/wire < -
plugins/internal/cni  < ipam/quickjson
ipam/hostlocal        < ipam/flock
ipam/ledger           < ipam, ipam/quickjson
ipam                  < -

# encoding/json for programs that live for milliseconds.
ipam/quickjson < -

# The two mechanisms know the vocabulary and nothing of each other.
plugins/internal/kernel   < plugins/internal/wire
plugins/internal/firewall < plugins/internal/wire

# The life of an attachment joins the two. dnsd/client is the few lines that
# tell the resolver, dnsd/inside those that make its sockets in a container;
# they import nothing.
plugins/internal/attach < plugins/internal, ipam, dnsd/client, dnsd/inside

# A mode computes. It may not reach mechanism: that is what keeps --dry-run,
# CHECK, rollback and reload written once.
plugins/bandwidth < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/bridge   < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/dns      < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/host     < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/firewall < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/overlay  < plugins/bridge, ipam, plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/portmap  < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/macvlan  < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/none     < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/tuning   < plugins/internal/attach, plugins/internal/wire, plugins/internal/cni
plugins/loopback < plugins/internal/attach, plugins/internal/cni
plugins          < plugins, ipam

# The resolver reads the ledger. Its client must stay as light as a plugin.
dnsd/client < -
dnsd/inside < -
dnsd        < dnsd, ipam/ledger

# The engine's package is the only one that sees libcontainer; the runner
# reaches networking through an interface of its own.
netctl/network < ipam
# The doctor's checks know the world through an interface; its probe enters
# namespaces with the runner's means.
netctl/doctor/probe < netctl/doctor, netctl/runner/namespace
netctl/doctor       < -
# A drawing is of a Model and nothing else.
netctl/topology < -
# Images know nothing of containers: who uses one is asked of the caller.
netctl/image   < netctl/image, ipam/flock
netctl/runner  < netctl/runner
# The one place where the runner meets networking. Commands and monitors share it;
# a monitor pulls in nothing of the command line.
netctl/plumbing < netctl/network, netctl/runner, plugins
netctl         < netctl, plugins, ipam, dnsd/client

# A product of its own: it judges us as it judges anybody.
conformance < conformance

# Units and a manifest, and pages; only their tests are code.
deploy < -
docs   < -

test  < test, netctl, plugins, ipam, dnsd/client
# Benchmarks call what they time, and the floor under it.
bench < test, bench, plugins, ipam
`

// Heavy or privileged libraries, and the only packages that may import them.
var guarded = map[string]struct{ only, why string }{
	"github.com/vishvananda/netlink": {"plugins/internal/kernel plugins/internal/firewall conformance test bench",
		"links, addresses and routes are made in one place, from a Wiring"},
	"github.com/opencontainers/runc": {"netctl/runner/engine",
		"libcontainer promises no stable API, so one package touches it"},
	"github.com/coreos/go-iptables": {"plugins/internal/firewall", "rules are written in one place"},
	"github.com/google/nftables":    {"plugins/internal/firewall bench", "rules are written in one place"},
	"go.etcd.io/bbolt":              {"ipam/ledger", "the ledger is the one store"},
	"go.etcd.io/etcd":               {"plugins/overlay/agent/store/etcd test/hosts", "other stores and the agent know no etcd; tests damage what is in one"},
	"github.com/google/go-containerregistry": {"netctl/image",
		"registries and the formats of images are one room's business"},
	"github.com/miekg/dns": {"dnsd", "DNS messages are the resolver's business"},
}

// A plugin's start is on the path of every pod: what the CNI binary links
// makes every call slower.
var tooHeavy = []string{
	"github.com/spf13/", "github.com/opencontainers/", "go.etcd.io/etcd", "k8s.io/",
	"github.com/miekg/dns", "go.opentelemetry.io/", "net/http", "text/template", "html/template", "testing",
}

type rule struct {
	of      string
	allowed []string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var result []rule
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		of, allowed, ok := strings.Cut(line, "<")
		if !ok {
			t.Fatalf("table: %q has no <", line)
		}
		r := rule{of: strings.TrimSpace(of)}
		for name := range strings.SplitSeq(allowed, ",") {
			r.allowed = append(r.allowed, strings.TrimSpace(name))
		}
		result = append(result, r)
	}
	return result
}

func below(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestLayers(t *testing.T) {
	table := rules(t)
	for _, p := range list(t, module+"...") {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		r, ok := ruleOf(table, pkg)
		if !ok {
			t.Errorf("%s has no line in the table: say what it may import", pkg)
			continue
		}
		for _, imported := range p.Imports {
			own, ours := strings.CutPrefix(imported, module)
			if ours && !allowed(r, own) {
				t.Errorf("%s imports %s; the table allows %s", pkg, own, strings.Join(r.allowed, ", "))
			}
			checkGuarded(t, pkg, imported)
		}
	}
}

func ruleOf(table []rule, pkg string) (rule, bool) {
	for _, r := range table {
		if below(pkg, r.of) {
			return r, true
		}
	}
	return rule{}, false
}

func allowed(r rule, imported string) bool {
	for _, name := range r.allowed {
		if below(imported, name) {
			return true
		}
	}
	return below(imported, r.of)
}

func checkGuarded(t *testing.T, pkg, imported string) {
	for library, guard := range guarded {
		if !below(imported, library) {
			continue
		}
		for _, place := range strings.Fields(guard.only) {
			if below(pkg, place) {
				return
			}
		}
		t.Errorf("%s imports %s, which only %s may: %s", pkg, imported, guard.only, guard.why)
	}
}

func TestThePluginBinaryIsLight(t *testing.T) {
	refuse(t, "cmd/cni", tooHeavy, "its start is on every pod's path")
}

// Each container starts the monitor twice and keeps it once. What is apart for that
// reason must stay apart: the command line, images, the network's own protocols.
func TestTheMonitorIsLight(t *testing.T) {
	refuse(t, "cmd/netctl-monitor", []string{
		"github.com/spf13/", "github.com/google/go-containerregistry", "go.etcd.io/etcd", "k8s.io/",
		"github.com/miekg/dns", "net/http", "crypto/tls", "testing",
	}, "each container starts it twice and keeps it once")
}

// refuse fails if a command links one of the packages, or one below it.
func refuse(t *testing.T, command string, packages []string, why string) {
	t.Helper()
	for _, p := range list(t, module+command) {
		for _, dep := range p.Deps {
			for _, heavy := range packages {
				if dep == heavy || strings.HasPrefix(dep, heavy) && path.Base(heavy) != heavy {
					t.Errorf("%s links %s: %s", command, dep, why)
				}
			}
		}
	}
}
