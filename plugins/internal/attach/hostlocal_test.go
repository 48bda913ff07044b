package attach

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

const dual = `,"ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]`

func dualCall(container string) call {
	return call{kind: HostLocalIPAM, container: container, keys: dual}
}

// small has three addresses: .2, .3 and .4.
func smallCall(container string) call {
	return call{kind: HostLocalIPAM, container: container, keys: `,"ranges":[[{"subnet":"10.1.0.0/29","rangeEnd":"10.1.0.4"}]]`}
}

func (m *machine) file(name string) string { return filepath.Join(m.dataDir, "net", name) }

// put is somebody else who makes a file, without the lock.
func (m *machine) put(name, content string) {
	m.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Join(m.dataDir, "net"), 0o755), os.WriteFile(m.file(name), []byte(content), 0o600)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) age(name string, t time.Time) {
	m.t.Helper()
	if err := os.Chtimes(m.file(name), t, t); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) remove(name string) {
	m.t.Helper()
	if err := os.Remove(m.file(name)); err != nil {
		m.t.Fatal(err)
	}
}

// files gives the directory as "name=content" without lock and cursors.
func (m *machine) files() string {
	m.t.Helper()
	entries, err := os.ReadDir(filepath.Join(m.dataDir, "net"))
	if err != nil {
		m.t.Fatal(err)
	}
	var words []string
	for _, e := range entries {
		if e.Name() == "lock" || strings.HasPrefix(e.Name(), "last_reserved_ip.") {
			continue
		}
		content, err := os.ReadFile(m.file(e.Name()))
		if err != nil {
			m.t.Fatal(err)
		}
		words = append(words, e.Name()+"="+strings.ReplaceAll(string(content), "\r\n", "/"))
	}
	return strings.Join(words, " ")
}

func (m *machine) wantFiles(want string) {
	m.t.Helper()
	if got := m.files(); got != want {
		m.t.Errorf("files  %s\nwanted %s", got, want)
	}
	m.wantAgreement()
}

// wantAgreement compares the ledger's copy with the directory, if it claims to
// be current.
func (m *machine) wantAgreement() {
	m.t.Helper()
	h := hostLocal{m.Ledger, m.boot, m.Log, m.request(cni.Status, smallCall(""))}
	dir, err := h.dir()
	if err != nil {
		m.t.Fatal(err)
	}
	found, err := dir.Scan()
	if err != nil {
		m.t.Fatal(err)
	}
	stamp, err := dir.Stamp()
	if err != nil {
		m.t.Fatal(err)
	}
	err = m.Ledger.View(func(tx *ledger.Tx) error {
		mirror := tx.Mirror("net", dir.String())
		if !mirror.Stamp().Equal(stamp) {
			return nil
		}
		s, err := h.sort(found, mirror.All())
		if !maps.Equal(s.now, mirror.All()) {
			m.t.Errorf("the ledger says %v\nthe files say  %v", mirror.All(), s.now)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

func TestHostLocalAdd(t *testing.T) {
	m := newMachine(t)
	if got := m.mustAdd(dualCall("c1")); got != "10.1.0.2/24 via 10.1.0.1 fd00::2/64 via fd00::1" {
		t.Errorf("first: %s", got)
	}
	if got := m.mustAdd(dualCall("c2")); got != "10.1.0.3/24 via 10.1.0.1 fd00::3/64 via fd00::1" {
		t.Errorf("second: %s", got)
	}
	m.wantFiles("10.1.0.2=c1/eth0 10.1.0.3=c2/eth0 fd00::2=c1/eth0 fd00::3=c2/eth0")
	for name, want := range map[string]string{"last_reserved_ip.0": "10.1.0.3", "last_reserved_ip.1": "fd00::3"} {
		if content, err := os.ReadFile(m.file(name)); err != nil || string(content) != want {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if info, err := os.Stat(m.file("")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
}

// TestHostLocalAddAgain never uses up a second address.
func TestHostLocalAddAgain(t *testing.T) {
	m := newMachine(t)
	first := m.mustAdd(dualCall("c1"))
	if again := m.mustAdd(dualCall("c1")); again != first {
		t.Errorf("got %s, then %s", first, again)
	}
	m.remove("fd00::2") // what a killed one made of the two
	if again := m.mustAdd(dualCall("c1")); again != "10.1.0.2/24 via 10.1.0.1 fd00::3/64 via fd00::1" {
		t.Errorf("half was there: got %s", again)
	}
	other := dualCall("c1")
	other.ifname = "eth1"
	if got := m.mustAdd(other); got != "10.1.0.3/24 via 10.1.0.1 fd00::4/64 via fd00::1" {
		t.Errorf("second interface: %s", got)
	}
	same := dualCall("c1")
	same.args = "IP=10.1.0.2"
	m.mustAdd(same)
	same.args = "IP=10.1.0.77"
	_, err := m.add(same)
	want(t, err, 102, "address 10.1.0.77 is asked for by an attachment that has 10.1.0.2 already")
	m.wantFiles("10.1.0.2=c1/eth0 10.1.0.3=c1/eth1 fd00::3=c1/eth0 fd00::4=c1/eth1")
}

func TestHostLocalWanted(t *testing.T) {
	m := newMachine(t)
	m.put("10.1.0.8", "printer on floor 2")
	m.put("10.1.0.9", "c9\r\neth0")
	wanted := func(container, ips string) call {
		c := dualCall(container)
		c.top = `,"runtimeConfig":{"ips":[` + ips + `]}`
		return c
	}
	if got := m.mustAdd(wanted("c1", `"fd00::77","10.1.0.7"`)); got != "10.1.0.7/24 via 10.1.0.1 fd00::77/64 via fd00::1" {
		t.Errorf("got %s", got)
	}
	for ips, part := range map[string]string{
		`"10.1.0.7"`: "address 10.1.0.7 is already taken by container c1",
		`"10.1.0.9"`: "address 10.1.0.9 is already taken by container c9",
		`"10.1.0.8"`: "address 10.1.0.8 is reserved by hand: file " + m.file("10.1.0.8"),
		// The first of the two is free; it must not stay reserved.
		`"10.1.0.50","fd00::77"`: "address fd00::77 is already taken",
	} {
		_, err := m.add(wanted("c2", ips))
		want(t, err, 102, part)
	}
	m.wantFiles("10.1.0.7=c1/eth0 10.1.0.8=printer on floor 2 10.1.0.9=c9/eth0 fd00::77=c1/eth0")
	// As with the reference, the search goes on from there.
	if got := m.mustAdd(dualCall("c3")); got != "10.1.0.10/24 via 10.1.0.1 fd00::78/64 via fd00::1" {
		t.Errorf("got %s", got)
	}
}

func TestHostLocalExhausted(t *testing.T) {
	m := newMachine(t)
	want(t, m.status(smallCall("")), 0, "")
	if _, err := os.Stat(m.file("")); err == nil {
		t.Error("STATUS made the directory")
	}
	for i := range 3 {
		m.mustAdd(smallCall(fmt.Sprintf("c%d", i)))
	}
	_, err := m.add(smallCall("c9"))
	want(t, err, 101, "no free address in net (10.1.0.1-10.1.0.4 in 10.1.0.0/29: 3 in use)")
	want(t, m.status(smallCall("")), 50, "no free address")
	m.put("10.1.0.3", "c1\r\neth0") // the copy is not current any more
	want(t, m.status(smallCall("")), 50, "3 in use")
	m.remove("10.1.0.3")
	want(t, m.status(smallCall("")), 0, "")
	if got := m.mustAdd(smallCall("c9")); got != "10.1.0.3/29 via 10.1.0.1" {
		t.Errorf("got %s", got)
	}
	m.mustDel(smallCall("c0"))
	want(t, m.status(smallCall("")), 0, "")
	m.mustAdd(smallCall("c10"))
	want(t, m.status(smallCall("")), 50, "no free address")
	m.wantFiles("10.1.0.2=c10/eth0 10.1.0.3=c9/eth0 10.1.0.4=c2/eth0")
}

// TestHostLocalLooksBeforeItRefuses also where an administrator freed an address
// without our noticing.
func TestHostLocalLooksBeforeItRefuses(t *testing.T) {
	m := newMachine(t)
	for i := range 3 {
		m.mustAdd(smallCall(fmt.Sprintf("c%d", i)))
	}
	before, err := os.Stat(m.file(""))
	if err != nil {
		t.Fatal(err)
	}
	m.remove("10.1.0.3")
	m.age("", before.ModTime())
	if got := m.mustAdd(smallCall("c9")); got != "10.1.0.3/29 via 10.1.0.1" {
		t.Errorf("got %s", got)
	}
	before, _ = os.Stat(m.file(""))
	m.remove("10.1.0.4")
	m.age("", before.ModTime())
	c := smallCall("c10")
	c.args = "IP=10.1.0.4"
	m.mustAdd(c)
	m.wantFiles("10.1.0.2=c0/eth0 10.1.0.3=c9/eth0 10.1.0.4=c10/eth0")
}

// TestHostLocalFileDecides: a file that came without a trace is found when ours
// is made.
func TestHostLocalFileDecides(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(smallCall("c0"))
	before, err := os.Stat(m.file(""))
	if err != nil {
		t.Fatal(err)
	}
	m.put("10.1.0.3", "c7\r\neth0")
	m.age("", before.ModTime())
	if got := m.mustAdd(smallCall("c1")); got != "10.1.0.4/29 via 10.1.0.1" {
		t.Errorf("got %s", got)
	}
	m.wantFiles("10.1.0.2=c0/eth0 10.1.0.3=c7/eth0 10.1.0.4=c1/eth0")
	m.mustDel(smallCall("c7"))
	m.wantFiles("10.1.0.2=c0/eth0 10.1.0.4=c1/eth0")
}

// TestHostLocalDel needs neither the ranges nor valid ones.
func TestHostLocalDel(t *testing.T) {
	for name, keys := range map[string]string{
		"as at ADD": dual, "ranges removed": "", "other ranges": `,"subnet":"10.9.0.0/24"`, "invalid ranges": `,"ranges":[[{"subnet":"x"}]]`,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.mustAdd(dualCall("c1"))
			m.mustAdd(dualCall("c2"))
			c := dualCall("c1")
			c.keys = keys
			m.mustDel(c)
			m.mustDel(c)
			m.wantFiles("10.1.0.3=c2/eth0 fd00::3=c2/eth0")
		})
	}
}

func TestHostLocalDelWithoutDirectory(t *testing.T) {
	m := newMachine(t)
	m.mustDel(dualCall("c1"))
	want(t, m.gc(dualCall("")), 0, "")
	if _, err := os.Stat(m.file("")); err == nil {
		t.Error("DEL made the directory")
	}
	m.mustAdd(dualCall("c1"))
	if err := os.RemoveAll(m.file("")); err != nil {
		t.Fatal(err)
	}
	m.mustDel(dualCall("c1"))
	if got := m.mustAdd(dualCall("c2")); got != "10.1.0.2/24 via 10.1.0.1 fd00::2/64 via fd00::1" {
		t.Errorf("got %s", got)
	}
}

func TestHostLocalCheck(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(dualCall("c1"))
	m.mustAdd(dualCall("c2"))
	for _, tt := range []struct {
		name     string
		previous []string
		part     string
		code     cni.Code
	}{
		{"as given", []string{"10.1.0.2/24", "fd00::2/64"}, "", 0},
		{"with what others added", []string{"10.7.0.1/24", "10.1.0.2/24", "fd00::2/64"}, "", 0},
		{"another's address", []string{"10.1.0.3/24"}, `reserved for container "c2"`, 109},
		{"nobody's address", []string{"10.1.0.9/24", "fd00::2/64"}, "address 10.1.0.9 of net/c1/eth0 is not reserved", 109},
		{"none from the ranges", []string{"10.7.0.1/24"}, "no address from", 109},
	} {
		t.Run(tt.name, func(t *testing.T) { want(t, m.check(dualCall("c1"), tt.previous...), tt.code, tt.part) })
	}
	other := dualCall("c1")
	other.ifname = "eth1"
	want(t, m.check(other, "10.1.0.2/24"), 109, `reserved for container "c1", interface "eth0"`)
	m.put("10.1.0.2", "c9\r\neth0") // edited in place
	want(t, m.check(dualCall("c1"), "10.1.0.2/24"), 109, `reserved for container "c9"`)
	m.remove("10.1.0.2")
	want(t, m.check(dualCall("c1"), "10.1.0.2/24"), 109, "there is no file")
	want(t, m.IPAM(HostLocalIPAM).Check(t.Context(), m.request(cni.Check, dualCall("c1"))), 7, "prevResult is missing")
}

func TestHostLocalGC(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(dualCall("gone"))
	m.mustAdd(dualCall("stays"))
	other := dualCall("stays")
	other.ifname = "eth1"
	m.mustAdd(other)
	m.put("10.1.0.50", "old-gone")
	m.put("10.1.0.51", "old-stays")
	m.put("10.1.0.52", "printer on floor 2")
	m.put("10.1.0.53", "")
	before, err := os.Stat(m.file("10.1.0.3"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		want(t, m.gc(dualCall(""), "stays/eth0", "old-stays/eth7"), 0, "")
		m.wantFiles("10.1.0.3=stays/eth0 10.1.0.51=old-stays 10.1.0.52=printer on floor 2 10.1.0.53= fd00::3=stays/eth0")
	}
	if after, err := os.Stat(m.file("10.1.0.3")); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a valid reservation was touched: %v", err)
	}
	for _, name := range []string{"lock", "last_reserved_ip.0", "last_reserved_ip.1"} {
		if _, err := os.Stat(m.file(name)); err != nil {
			t.Error(err)
		}
	}
	want(t, m.IPAM(HostLocalIPAM).GC(t.Context(), m.request(cni.GC, dualCall(""))), 7, "cni.dev/valid-attachments is missing")
	m.wantFiles("10.1.0.3=stays/eth0 10.1.0.51=old-stays 10.1.0.52=printer on floor 2 10.1.0.53= fd00::3=stays/eth0")
	want(t, m.gc(dualCall("")), 0, "")
	m.wantFiles("10.1.0.52=printer on floor 2 10.1.0.53=")
}
