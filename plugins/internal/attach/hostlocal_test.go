package attach

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// TestHostLocalOldFormat matches a container ID alone, and only where no file
// names the interface.
func TestHostLocalOldFormat(t *testing.T) {
	m := newMachine(t)
	m.put("10.1.0.2", "c1")
	m.put("10.1.0.3", "c1\r\neth0")
	m.put("10.1.0.4", "c2")
	m.put("10.1.0.5", "printer on floor 2")
	m.put("10.1.0.6", "")
	m.mustDel(dualCall("c1"))
	m.wantFiles("10.1.0.2=c1 10.1.0.4=c2 10.1.0.5=printer on floor 2 10.1.0.6=")
	m.mustDel(dualCall("c1"))
	m.wantFiles("10.1.0.4=c2 10.1.0.5=printer on floor 2 10.1.0.6=")
	// It may belong to the container's other interface: never given out again.
	if got := m.mustAdd(dualCall("c2")); got != "10.1.0.2/24 via 10.1.0.1 fd00::2/64 via fd00::1" {
		t.Errorf("got %s", got)
	}
	want(t, m.check(dualCall("c2"), "10.1.0.4/24"), 0, "")
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

// TestHostLocalEditedInPlace: what names somebody else is not removed.
func TestHostLocalEditedInPlace(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(dualCall("c1"))
	m.put("10.1.0.2", "c2\r\neth0")
	m.mustDel(dualCall("c1"))
	m.wantFiles("10.1.0.2=c2/eth0")
	m.mustDel(dualCall("c2"))
	m.wantFiles("")
}

// TestHostLocalLostContent: a file that was emptied or cut off, by a power cut
// or a full disk, still belongs to whom the ledger saw it given to. One that the
// ledger knows nothing of stays: it may be an administrator's.
func TestHostLocalLostContent(t *testing.T) {
	for _, left := range []string{"", "\x00\x00\x00", "c", "c1", "c1\r\ne"} {
		t.Run(fmt.Sprintf("%q", left), func(t *testing.T) {
			m := newMachine(t)
			m.mustAdd(smallCall("c1"))
			m.put("10.1.0.2", left)
			m.put("10.1.0.4", left[:min(len(left), 1)])
			m.mustAdd(smallCall("c2")) // sees the new file, and repairs the other
			rest := " 10.1.0.3=c2/eth0 10.1.0.4=" + left[:min(len(left), 1)]
			m.wantFiles("10.1.0.2=c1/eth0" + rest)
			m.put("10.1.0.2", left) // which nothing gives away but the DEL itself
			m.mustDel(smallCall("c1"))
			m.wantFiles(strings.TrimSpace(rest))
			if got := m.mustAdd(smallCall("c3")); got != "10.1.0.2/29 via 10.1.0.1" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestHostLocalAnothersContent: what is no remainder of ours is somebody else's.
func TestHostLocalAnothersContent(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(smallCall("c1"))
	m.put("10.1.0.2", "c1\r\neth1")
	m.mustDel(smallCall("c1"))
	m.wantFiles("10.1.0.2=c1/eth1")
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

// TestHostLocalReboot keeps the files and loses the ledger, as a reboot does.
func TestHostLocalReboot(t *testing.T) {
	boot := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	before, after := boot.Add(-time.Minute), boot.Add(time.Minute)
	for _, tt := range []struct {
		content string
		written time.Time
		stays   bool
	}{
		{"c1\r\neth0", before, false},
		{"c1\r\neth0", after, true},
		{"c1", before, false},
		{"c1", after, true},
		{"", before, false},
		{"", after, true},
		{"\x00\x00\x00", before, false},
		{"c1\r\n", before, false}, // cut short
		{"printer on floor 2", before, true},
		{"\n", before, true},
		{"c1\r\neth0", time.Unix(90, 0), true}, // the clock was not set
	} {
		t.Run(fmt.Sprintf("%q/%s", tt.content, tt.written.Format(time.DateTime)), func(t *testing.T) {
			m := newMachine(t)
			m.boot = func() (time.Time, error) { return boot, nil }
			m.put("10.1.0.2", tt.content)
			m.age("10.1.0.2", tt.written)
			want(t, m.status(smallCall("")), 0, "")
			if _, err := os.Stat(m.file("10.1.0.2")); err != nil {
				t.Error("STATUS released it")
			}
			free := map[bool]string{false: "10.1.0.2/29 via 10.1.0.1", true: "10.1.0.3/29 via 10.1.0.1"}
			if got := m.mustAdd(smallCall("new")); got != free[tt.stays] {
				t.Errorf("got %s, want %s", got, free[tt.stays])
			}
			m.wantAgreement()
		})
	}
}

// TestHostLocalAfterReboot has a full pool of dead containers.
func TestHostLocalAfterReboot(t *testing.T) {
	m := newMachine(t)
	for i := range 3 {
		m.mustAdd(smallCall(fmt.Sprintf("c%d", i)))
		m.age(fmt.Sprintf("10.1.0.%d", i+2), time.Now().Add(-2*time.Hour))
	}
	want(t, m.status(smallCall("")), 50, "")
	next, err := ledger.OpenBoot(m.Ledger.Dir(), "next boot")
	if err != nil {
		t.Fatal(err)
	}
	m.Ledger = next
	want(t, m.status(smallCall("")), 0, "")
	if got := m.mustAdd(smallCall("new")); got != "10.1.0.2/29 via 10.1.0.1" {
		t.Errorf("got %s", got)
	}
	m.wantFiles("10.1.0.2=new/eth0")
}

// TestHostLocalClockJump: what the ledger knows is of this boot, although the
// clock now says that the boot began after it.
func TestHostLocalClockJump(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(smallCall("ours"))
	m.put("10.1.0.3", "theirs\r\neth0")
	m.mustAdd(smallCall("sees"))
	m.boot = func() (time.Time, error) { return time.Now().Add(time.Hour), nil }
	m.put("README", "changes the directory")
	want(t, m.status(smallCall("")), 50, "3 in use")
	_, err := m.add(smallCall("late"))
	want(t, err, 101, "3 in use")
	m.remove("README")
	m.wantFiles("10.1.0.2=ours/eth0 10.1.0.3=theirs/eth0 10.1.0.4=sees/eth0")
}

// TestHostLocalKilled leaves each state in which a process can be killed
// between the files and the ledger; the next call finds its way.
func TestHostLocalKilled(t *testing.T) {
	for name, kill := range map[string]func(*machine){
		"before the first name": func(m *machine) { m.put(".netctl-unfinished", "victim\r\neth0") },
		"after the first file":  func(m *machine) { m.put("10.1.0.3", "victim\r\neth0") },
		"before the cursor is renamed": func(m *machine) {
			m.put("10.1.0.3", "victim\r\neth0")
			m.put(".netctl-unfinished", "10.1.0.3")
		},
		"half of the release": func(m *machine) {
			m.mustAdd(dualCall("victim"))
			m.remove("10.1.0.3")
		},
		"all of the release": func(m *machine) {
			m.mustAdd(dualCall("victim"))
			m.remove("10.1.0.3")
			m.remove("fd00::3")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.mustAdd(dualCall("peer"))
			kill(m)
			m.mustDel(dualCall("victim"))
			m.wantFiles("10.1.0.2=peer/eth0 fd00::2=peer/eth0")
			got := m.mustAdd(dualCall("victim"))
			if strings.Contains(got, "10.1.0.2/") {
				t.Errorf("the peer's address was given out: %s", got)
			}
			m.mustDel(dualCall("victim"))
			m.wantFiles("10.1.0.2=peer/eth0 fd00::2=peer/eth0")
		})
	}
}

// TestHostLocalUndo: what comes after the addresses fails.
func TestHostLocalUndo(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(dualCall("peer"))
	addressing, err := m.source(HostLocalIPAM, m.request(cni.Add, dualCall("victim"))).parse()
	if err != nil {
		t.Fatal(err)
	}
	at := attachmentOf(m.request(cni.Add, dualCall("victim")))
	port := ledger.Port{Protocol: "tcp", HostPort: 80, Container: 80}
	err = m.Ledger.Update(func(tx *ledger.Tx) error {
		return tx.Put(ledger.Record{Key: ledger.Key{Network: "net", Container: "peer", IfName: "eth0"}, Foreign: true, Ports: []ledger.Port{port}})
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = addressing.reserve(t.Context(), at, func(tx *ledger.Tx, g Grant) error {
		return tx.Put(ledger.Record{Key: ledger.Key(at), Foreign: true, Ports: []ledger.Port{port}})
	})
	want(t, err, cni.CodePort, "port 80/tcp is already taken by container peer")
	m.wantFiles("10.1.0.2=peer/eth0 fd00::2=peer/eth0")
}

// TestHostLocalFileInTheWay has the second of two addresses fail at the last
// moment.
func TestHostLocalFileInTheWay(t *testing.T) {
	m := newMachine(t)
	m.mustAdd(dualCall("peer"))
	m.remove("last_reserved_ip.1")
	if err := os.Mkdir(m.file("last_reserved_ip.1"), 0o700); err != nil { // can't be written
		t.Fatal(err)
	}
	_, err := m.add(dualCall("victim"))
	want(t, err, cni.CodeStore, "record the last address")
	m.remove("last_reserved_ip.1")
	m.wantFiles("10.1.0.2=peer/eth0 fd00::2=peer/eth0")
}

// TestHostLocalRecord is the use by our own modes: record and files go
// together.
func TestHostLocalRecord(t *testing.T) {
	m := newMachine(t)
	at := attachmentOf(m.request(cni.Add, dualCall("c1")))
	reserve := func() {
		t.Helper()
		source := m.source(HostLocalIPAM, m.request(cni.Add, dualCall("c1")))
		addressing, err := source.parse()
		if err != nil {
			t.Fatal(err)
		}
		_, err = addressing.reserve(t.Context(), at, func(tx *ledger.Tx, g Grant) error {
			r := ledger.Record{Key: ledger.Key(at), Foreign: true, Names: ledger.Names{Own: []string{"web"}, Device: "br0"}}
			for _, a := range g.Addresses {
				r.Addresses = append(r.Addresses, ledger.Address(a))
			}
			return tx.Put(r)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	record := func() (r ledger.Record, found bool) {
		t.Helper()
		if err := m.Ledger.View(func(tx *ledger.Tx) (err error) {
			r, found, err = tx.Attachment(ledger.Key(at))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return r, found
	}
	reserve()
	reserve()
	if r, _ := record(); len(r.Addresses) != 2 {
		t.Errorf("record: %+v", r)
	}
	// GC of the files leaves to the record what the record stands for.
	source := m.source(HostLocalIPAM, m.request(cni.GC, dualCall("")))
	if err := source.collect(t.Context(), valid{}); err != nil {
		t.Fatal(err)
	}
	m.wantFiles("10.1.0.2=c1/eth0 fd00::2=c1/eth0")
	// The reference releases the addresses: the names go too.
	m.remove("10.1.0.2")
	m.remove("fd00::2")
	m.mustAdd(dualCall("c2"))
	if r, found := record(); !found || len(r.Addresses) != 0 || !r.Names.IsZero() {
		t.Errorf("record: %+v, %t", r, found)
	}
	if err := m.source(HostLocalIPAM, m.request(cni.Del, dualCall("c1"))).release(t.Context(), at, forgetting(at)); err != nil {
		t.Fatal(err)
	}
	if _, found := record(); found {
		t.Error("the record has stayed")
	}
	m.wantFiles("10.1.0.3=c2/eth0 fd00::3=c2/eth0")
}

// TestHostLocalParallel has many at once, in one process.
func TestHostLocalParallel(t *testing.T) {
	const n = 40
	m := newMachine(t)
	for range 3 {
		got := make([]string, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				result, err := m.IPAM(HostLocalIPAM).Add(t.Context(), m.request(cni.Add, dualCall(fmt.Sprintf("c%d", i))))
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = text(result)
			})
		}
		wg.Wait()
		slices.Sort(got)
		if len(slices.Compact(got)) != n {
			t.Fatalf("an address was given out twice: %v", got)
		}
		for i := range n {
			wg.Go(func() {
				if err := m.IPAM(HostLocalIPAM).Del(t.Context(), m.request(cni.Del, dualCall(fmt.Sprintf("c%d", i)))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		m.wantFiles("")
	}
}

func TestRoomBeside(t *testing.T) {
	m := newMachine(t)
	pool, err := ParsePool(m.request(cni.Add, smallCall("c1")))
	if err != nil {
		t.Fatal(err)
	}
	taken := map[netip.Addr]ledger.Key{}
	for i, text := range []string{"10.1.0.2", "10.1.0.3", "10.9.0.1", "10.1.0.4"} {
		if err := roomBeside(taken, "net", pool.Sets[0]); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		taken[netip.MustParseAddr(text)] = ledger.Key{}
	}
	if err := roomBeside(taken, "net", pool.Sets[0]); err == nil || !strings.Contains(err.Error(), "3 in use") {
		t.Errorf("full: %v", err)
	}
}

// FuzzIPAM gives all kinds whatever may stand in a configuration.
func FuzzIPAM(f *testing.F) {
	for _, seed := range []string{dual, twoSets, `,"addresses":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}]`,
		`,"subnet":"::/0"`, `,"routes":[null,{"dst":"::/0"}]`, `,"ranges":[[{"subnet":"255.255.255.0/24","rangeEnd":"255.255.255.255"}]]`} {
		f.Add(seed, `,"runtimeConfig":{"ips":["10.1.0.9"],"ipRanges":[[{"subnet":"10.4.0.0/24"}]]}`, "IP=10.1.0.7/24")
	}
	m := newMachine(f)
	f.Fuzz(func(t *testing.T, keys, top, args string) {
		env := map[string]string{"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/x", "CNI_IFNAME": "eth0", "CNI_ARGS": args}
		for _, kind := range IPAMKinds() {
			stdin := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","ipam":{"type":%q%s}%s}`, kind, keys, top)
			req, err := cni.Parse(func(name string) string { return env[name] }, []byte(stdin))
			if err != nil {
				continue
			}
			addressing, err := m.source(kind, req).parse()
			var coded *cni.Error
			if err != nil && !errors.As(err, &coded) {
				t.Fatalf("error without code: %v", err)
			}
			if err == nil {
				addressing.routes()
			}
		}
	})
}

// BenchmarkHostLocal is the work of one ADD and DEL without the process.
func BenchmarkHostLocal(b *testing.B) {
	for _, used := range []int{0, 1000, 65000} {
		b.Run(fmt.Sprint(used), func(b *testing.B) {
			m := newMachine(b)
			a := netip.MustParseAddr("10.1.0.2")
			for i := range used {
				m.put(a.String(), fmt.Sprintf("%064x\r\neth0", i))
				a = a.Next()
			}
			c := call{kind: HostLocalIPAM, container: "bench", keys: `,"subnet":"10.1.0.0/16"`}
			m.mustAdd(c)
			m.mustDel(c)
			for b.Loop() {
				m.mustAdd(c)
				m.mustDel(c)
			}
		})
	}
}
