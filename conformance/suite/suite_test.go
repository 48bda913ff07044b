package suite

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/netctl/netctl/conformance/protocol"
	"github.com/netctl/netctl/conformance/trial"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReadList(t *testing.T) {
	l, err := ReadList(write(t, "a.conflist", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","ipam":{"type":"host-local","dataDir":"/srv/x"}},{"type":"portmap"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Plugins) != 2 || l.Plugins[1].String("name") != "n" || l.Version != "1.0.0" {
		t.Errorf("read %+v", l)
	}
	if dir := l.Plugins[0].String("ipam.dataDir"); !strings.HasPrefix(dir, "/var/lib/cni/") {
		t.Errorf("dataDir is %s, outside the lab's private directories", dir)
	}
	single, err := ReadList(write(t, "a.conf", `{"name":"n","type":"loopback"}`))
	if err != nil || len(single.Plugins) != 1 {
		t.Errorf("a single configuration reads as %+v, %v", single, err)
	}
	for text, want := range map[string]string{`{"type":"x"}`: "name", `{"name":"n","plugins":[{}]}`: "type", `junk`: "decode"} {
		if _, err := ReadList(write(t, "bad", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one about %q", text, err, want)
		}
	}
}

func TestReadDeviations(t *testing.T) {
	known, err := ReadDeviations(write(t, "known", "# comment\n\nC045 *  the library answers its own version\nC002 bridge two documents\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Deviation{{Row: "C045", Subject: "*", Reason: "the library answers its own version"}, {Row: "C002", Subject: "bridge", Reason: "two documents"}}
	if !slices.Equal(known, want) {
		t.Errorf("read %+v, want %+v", known, want)
	}
	if _, err := ReadDeviations(write(t, "bad", "C045 bridge\n")); err == nil || !strings.Contains(err.Error(), ":1:") {
		t.Errorf("a line without a reason: error %v, want one with the line number", err)
	}
}

func result(row, subject string, v trial.Verdict) Result {
	return Result{Case{&trial.Row{ID: row}, &trial.Subject{Name: subject}}, trial.Outcome{Verdict: v}}
}

func TestExcuse(t *testing.T) {
	results := []Result{result("C001", "bridge", trial.Fail), result("C001", "ptp", trial.Fail), result("C002", "bridge", trial.Pass), result("C003", "bridge", trial.Blocked)}
	stale := Excuse(results, []Deviation{
		{Row: "C001", Subject: "bridge", Reason: "r"}, {Row: "C002", Subject: "*", Reason: "r"}, {Row: "C003", Subject: "*", Reason: "r"}, {Row: "C004", Subject: "bridge", Reason: "r"},
	})
	var got []trial.Verdict
	for _, r := range results {
		got = append(got, r.Verdict)
	}
	if want := []trial.Verdict{trial.Known, trial.Fail, trial.Pass, trial.Blocked}; !slices.Equal(got, want) {
		t.Errorf("verdicts %v, want %v", got, want)
	}
	if len(stale) != 1 || stale[0].Row != "C002" {
		t.Errorf("stale deviations %+v, want C002: C003 and C004 were not judged", stale)
	}
	if Count(results).Clean() {
		t.Error("results with a failure count as clean")
	}
}

func TestSelect(t *testing.T) {
	catalogue := []trial.Row{
		{ID: "C001", Scope: trial.All, Profile: trial.Spec},
		{ID: "C012", Scope: trial.Chained, Profile: trial.Spec},
		{ID: "C013", Scope: trial.Delegating, Profile: trial.Runtime},
		{ID: "C020", Scope: trial.All, Profile: trial.Netctl},
	}
	bridge := &trial.Subject{Name: "bridge", Kind: trial.Interface | trial.Delegating}
	portmap := &trial.Subject{Name: "portmap", Kind: trial.Chained}
	for _, row := range []struct {
		profile  trial.Profile
		filter   []string
		subjects []string
		want     string
	}{
		{trial.Spec, nil, nil, "C001/bridge C001/portmap C012/portmap"},
		{trial.Runtime, nil, []string{"bridge"}, "C001/bridge C013/bridge"},
		{trial.Netctl, []string{"C01*"}, nil, "C012/portmap C013/bridge"},
		{trial.Netctl, []string{"C020", "C001"}, []string{"portmap"}, "C001/portmap C020/portmap"},
	} {
		var got []string
		for _, c := range Select(catalogue, []*trial.Subject{bridge, portmap}, row.profile, row.filter, row.subjects) {
			got = append(got, c.Row.ID+"/"+c.Subject.Name)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s %v %q selects %v, want %s", row.profile, row.filter, row.subjects, got, row.want)
		}
	}
}

// TestRunOrder: results are in the order of the cases, and a row that wants to
// be alone is.
func TestRunOrder(t *testing.T) {
	var running, most atomic.Int32
	busy := func(alone bool) func(*trial.T) {
		return func(tt *trial.T) {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			tt.Expect(!alone || n == 1, "alone", "%d rows run", n)
		}
	}
	subject := &trial.Subject{Name: "x"}
	var cases []Case
	for i := range 6 {
		cases = append(cases, Case{&trial.Row{ID: string(rune('a' + i)), Alone: i == 2, Check: busy(i == 2)}, subject})
	}
	var done int
	results := Run(context.Background(), cases, 3, "", func(Result) { done++ })
	for i, r := range results {
		if r.Row != cases[i].Row || r.Verdict != trial.Pass {
			t.Errorf("result %d is %s %s %v", i, r.Row.ID, r.Verdict, r.Findings)
		}
	}
	if done != len(cases) {
		t.Errorf("%d of %d cases were reported", done, len(cases))
	}
}

func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	cases := []Case{{&trial.Row{ID: "C001", Check: func(*trial.T) { t.Error("a row ran after the interrupt") }}, &trial.Subject{Name: "x"}}}
	results := Run(ctx, cases, 1, "", func(Result) {})
	if results[0].Verdict != trial.Blocked {
		t.Errorf("verdict %s, want blocked", results[0].Verdict)
	}
}

// TestDistinct: nothing is judged twice, and nothing is left out.
func TestDistinct(t *testing.T) {
	subject := func(kind trial.Kind, plugin, list, bridge string) *trial.Subject {
		conf := protocol.Conf{}.WithKey("name", list).WithKey("bridge", bridge)
		return &trial.Subject{Name: plugin, Type: plugin, Kind: kind, Conf: conf}
	}
	var got []string
	for _, s := range distinct([]*trial.Subject{
		subject(trial.Interface, "bridge", "one", "cni0"),
		subject(trial.IPAM, "host-local", "one", "cni0"),
		subject(trial.Chained, "portmap", "one", ""),
		subject(trial.Interface, "bridge", "two", "cni1"),
		subject(trial.IPAM, "host-local", "two", "cni1"),
		subject(trial.Chained, "portmap", "two", ""),
		subject(trial.Chained, "bridge", "two", "cni2"),
	}) {
		got = append(got, s.Name)
	}
	if want := "bridge host-local portmap bridge@two bridge@two#2"; strings.Join(got, " ") != want {
		t.Errorf("judged are %v, want %s", got, want)
	}
}
