package plugins_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/dnsd/client"
	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins"
	"github.com/netctl/netctl/test/netns"
	"github.com/netctl/netctl/test/programs"
	"github.com/netctl/netctl/test/tidy"
)

// binaries is the directory of the built plugins, made once by TestMain; killat
// is the program that kills others, see test/killat.
var binaries, killat string

func TestMain(m *testing.M) {
	os.Exit(tidy.Run(func() int {
		dir, err := os.MkdirTemp("", "netctl-plugins-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binaries = dir
		// By default the race detector has each process sleep for a second
		// before it ends.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
		if err := errors.Join(install(dir, programs.InstallTested), programs.Install(dir, "test/killat")); err != nil {
			panic(err)
		}
		killat = filepath.Join(dir, "test/killat")
		return m.Run()
	}))
}

// install puts the plugins and the resolver into the directory.
func install(dir string, programs func(string, ...string) error) error {
	if err := programs(dir, "cni/netctl-cni", "dnsd"); err != nil {
		return err
	}
	for _, name := range plugins.Names() {
		if err := os.Symlink("cni/netctl-cni", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// A host is a private machine: a network namespace, a state directory, and the
// plugins run in it by the protocol.
type host struct {
	t     *testing.T
	ns    *netns.Namespace
	state string
	env   []string
	// dir is where the plugins are; "" is our own.
	dir string
}

func newHost(t *testing.T) *host {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, ns: ns, state: t.TempDir()}
	t.Cleanup(func() {
		h.stopResolver()
		ns.Close()
	})
	return h
}

// stopResolver removes what a failed test left attached, so that the resolver
// has nothing to stay for, and waits for its end.
func (h *host) stopResolver() {
	l, err := ledger.Open(h.state)
	if err != nil {
		h.t.Error(err)
		return
	}
	err = l.Update(func(tx *ledger.Tx) error {
		records, err := tx.Attachments("")
		for _, r := range records {
			if _, _, err := tx.Delete(r.Key); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
	if err := client.Quit(context.Background(), h.state); err != nil {
		h.t.Error(err)
	}
}

func (h *host) container() *netns.Namespace {
	h.t.Helper()
	ns, err := netns.NewDown()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { ns.Close() })
	return ns
}

// call is one execution of a plugin.
type call struct {
	verb, plugin, container, netns, ifname, args string
	conf                                         string
	prefix                                       []string // a command to run the plugin under
}

type answer struct {
	out    []byte
	stderr string
	status int
}

// failure is the error document.
type failure struct {
	CNIVersion string `json:"cniVersion"`
	Code       int    `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details"`
}

type result struct {
	Interfaces []struct{ Name, Mac, Sandbox string }
	IPs        []struct{ Address, Gateway string }
	DNS        struct{ Nameservers []string }
}

func (h *host) run(c call) answer {
	h.t.Helper()
	dir := cmp.Or(h.dir, binaries)
	argv := append(append([]string(nil), c.prefix...), filepath.Join(dir, c.plugin))
	cmd := exec.Command(argv[0], argv[1:]...)
	if c.ifname == "" {
		c.ifname = "eth0"
	}
	cmd.Env = append(os.Environ(), "NETCTL_STATE_DIR="+h.state, "CNI_COMMAND="+c.verb, "CNI_CONTAINERID="+c.container,
		"CNI_NETNS="+c.netns, "CNI_IFNAME="+c.ifname, "CNI_ARGS="+c.args, "CNI_PATH="+dir)
	// Without this the race detector sleeps a second at each exit.
	cmd.Env = append(append(cmd.Env, "GORACE=atexit_sleep_ms=0"), h.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.conf), &stdout, &stderr
	_ = h.ns.Do(cmd.Run)
	return answer{stdout.Bytes(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs a call that has to succeed.
func (h *host) must(c call) result {
	h.t.Helper()
	a := h.run(c)
	if a.status != 0 {
		h.t.Fatalf("%s %s %s: status %d\n%s%s", c.verb, c.plugin, c.container, a.status, a.out, a.stderr)
	}
	var r result
	if c.verb == "ADD" {
		if err := json.Unmarshal(a.out, &r); err != nil {
			h.t.Fatalf("result: %v\n%s", err, a.out)
		}
	} else if len(a.out) != 0 {
		h.t.Fatalf("%s wrote to standard output: %s", c.verb, a.out)
	}
	return r
}

// refuse runs a call that has to fail with one error document.
func (h *host) refuse(c call) failure {
	h.t.Helper()
	a := h.run(c)
	var f failure
	decoder := json.NewDecoder(bytes.NewReader(a.out))
	if err := decoder.Decode(&f); err != nil || a.status == 0 || f.Msg == "" || decoder.More() {
		h.t.Fatalf("%s %s: status %d, want one error document (%v):\n%s%s", c.verb, c.plugin, a.status, err, a.out, a.stderr)
	}
	return f
}

// residue lists what is left on the host: links, rules of ours, records.
func (h *host) residue() string {
	h.t.Helper()
	var left []string
	for _, command := range [][]string{{"ip", "-o", "link"}, {"iptables-save"}, {"ip6tables-save"}, {"nft", "list", "ruleset"}} {
		out, err := h.ns.Output(command[0], command[1:]...)
		if err != nil {
			h.t.Fatal(err)
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, "veth") || strings.Contains(line, "bwp") || ownedRule(line) {
				left = append(left, counters.ReplaceAllString(strings.TrimSpace(line), ""))
			}
		}
	}
	for _, key := range h.records() {
		left = append(left, "ledger: "+key)
	}
	return strings.Join(left, "\n")
}

// records lists the ledger's attachments.
func (h *host) records() (keys []string) {
	h.t.Helper()
	l, err := ledger.Open(h.state)
	if err != nil {
		h.t.Fatal(err)
	}
	err = l.View(func(tx *ledger.Tx) error {
		records, err := tx.Attachments("")
		for _, r := range records {
			keys = append(keys, r.Key.String())
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return keys
}

// counters are what traffic changes in nft's list of rules.
var counters = regexp.MustCompile(`\s+counter packets \d+ bytes \d+`)

// ownedRule tells a rule that belongs to a network or an attachment of these
// tests: each carries the name in its comment.
func ownedRule(line string) bool {
	return strings.Contains(line, "testnet") || strings.Contains(line, "10.88.") || strings.Contains(line, "fd00:88:")
}

func (h *host) wantClean() {
	h.t.Helper()
	if left := h.residue(); left != "" {
		h.t.Errorf("left behind:\n%s", left)
	}
}

// bridgeConf is a configuration of the bridge plugin with further keys.
func bridgeConf(version, keys string) string {
	return fmt.Sprintf(`{"cniVersion":%q,"name":"testnet","type":"bridge","bridge":"br0","isDefaultGateway":true,"ipMasq":true,"hairpinMode":true,
		"ipam":{"type":"netctl-ipam","ranges":[[{"subnet":"10.88.0.0/16"}],[{"subnet":"fd00:88::/64"}]]}%s}`, version, keys)
}

func bridgeCall(verb, container string, ns *netns.Namespace, version, keys string) call {
	c := call{verb: verb, plugin: "bridge", container: container, conf: bridgeConf(version, keys)}
	if ns != nil {
		c.netns = ns.Path()
	}
	return c
}

// serve answers each connection to address in a namespace with a greeting.
func serve(t *testing.T, ns *netns.Namespace, address, greeting string) {
	t.Helper()
	var listener net.Listener
	err := ns.Do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, greeting)
			conn.Close()
		}
	}()
}

// ask connects from a namespace and returns what it is greeted with. The bound
// is for a busy machine.
func ask(ns *netns.Namespace, address string) (string, error) {
	return askFor(ns, address, 40*time.Second)
}

// askBriefly is ask where no answer is wanted.
func askBriefly(ns *netns.Namespace, address string) (string, error) {
	return askFor(ns, address, time.Second)
}

func askFor(ns *netns.Namespace, address string, patience time.Duration) (string, error) {
	var greeting string
	err := ns.Do(func() error {
		conn, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		buffer := make([]byte, 100)
		n, err := conn.Read(buffer)
		greeting = string(buffer[:n])
		return err
	})
	return greeting, err
}
