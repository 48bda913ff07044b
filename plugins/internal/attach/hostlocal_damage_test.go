package attach

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/ipam/ledger"
	"github.com/netctl/netctl/plugins/internal/cni"
)

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
