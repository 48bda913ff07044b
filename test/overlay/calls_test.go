package overlay

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netctl/netctl/test/hosts"
)

// Row 6: how often etcd is asked by a host that joins, and by one whose overlayd
// starts again, does not depend on how many others there are. A stream is one
// call.
func TestCallsAtStart(t *testing.T) {
	others := 30
	if long() {
		others = 1000
	}
	w := hosts.New(t, binaries, 0)
	e := w.StartEtcd()
	e.Populate("blue", netip.MustParsePrefix("10.64.0.0/12"), others)
	h := w.AddHost("a", netip.MustParseAddr("192.0.2.1"))
	h.UseEtcd()
	for _, c := range []struct {
		what string
		most int
		end  func()
	}{
		{"joining", 5, h.Stop},
		{"after a stop", 3, h.Kill},
		{"after a kill", 3, h.Stop},
	} {
		before, since := e.Calls(), len(h.Log())
		h.StartWithEtcd()
		eventually(t, "ready", func() bool { return strings.Contains(h.Log()[since:], "msg=ready") })
		eventually(t, "a definition", func() bool {
			_, err := os.Stat(filepath.Join(h.ConfDir(), "blue.conflist"))
			return err == nil
		})
		// What comes a little later counts, too.
		time.Sleep(500 * time.Millisecond)
		total, methods := 0, []string(nil)
		for method, n := range e.Calls() {
			if n -= before[method]; n > 0 {
				total, methods = total+n, append(methods, fmt.Sprintf("%s %d", method, n))
			}
		}
		slices.Sort(methods)
		t.Logf("%s: %d calls: %s", c.what, total, strings.Join(methods, ", "))
		if total > c.most {
			t.Errorf("%s etcd was asked %d times (%s), want at most %d", c.what, total, strings.Join(methods, ", "), c.most)
		}
		c.end()
	}
}

// TestCallsAtStartKubernetes is the same with the API: the namespace that names
// the cluster, this Node, the list of Nodes, two streams, the annotation, the
// condition. After a restart the annotation is as it was.
func TestCallsAtStartKubernetes(t *testing.T) {
	w := hosts.New(t, binaries, 1)
	k, h := w.StartKubernetes(), w.Hosts[0]
	k.SetNode(h.Name, "10.244.1.0/24")
	for i := range 30 {
		k.SetNode(fmt.Sprintf("other-%d", i), fmt.Sprintf("10.244.%d.0/24", i+2))
	}
	h.UseKubernetes(k, installed(t, readManifest(t), h.Name))
	for _, c := range []struct {
		what string
		most int
		end  func()
	}{
		{"joining", 7, h.Stop},
		{"after a stop", 6, h.Kill},
		{"after a kill", 6, h.Stop},
	} {
		kinds, before := []string{"namespace", "get", "list", "watch", "apply", "status"}, map[string]int{}
		for _, kind := range kinds {
			before[kind] = k.Requests(kind)
		}
		h.StartWithEtcd()
		eventually(t, "condition NetworkUnavailable is set", func() bool { return k.Requests("status") > before["status"] })
		// What comes a little later counts, too.
		time.Sleep(500 * time.Millisecond)
		total, said := 0, []string(nil)
		for _, kind := range kinds {
			n := k.Requests(kind) - before[kind]
			total, said = total+n, append(said, fmt.Sprintf("%s %d", kind, n))
		}
		t.Logf("%s: %d calls: %s", c.what, total, strings.Join(said, ", "))
		if total > c.most {
			t.Errorf("%s the API was asked %d times (%s), want at most %d", c.what, total, strings.Join(said, ", "), c.most)
		}
		c.end()
	}
}
