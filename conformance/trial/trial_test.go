package trial

import (
	"context"
	"testing"
)

// TestVerdicts: how a check ends decides the verdict.
func TestVerdicts(t *testing.T) {
	for name, row := range map[string]struct {
		check func(*T)
		want  Verdict
	}{
		"nothing to say":           {func(*T) {}, Pass},
		"an expectation not met":   {func(t *T) { t.Expect(false, "a", "b") }, Fail},
		"a requirement not met":    {func(t *T) { t.Require(false, "a", "b"); t.NotApplicable("not reached") }, Fail},
		"not applicable":           {func(t *T) { t.Need(false, "no such thing"); t.Expect(false, "a", "b") }, NotApplicable},
		"blocked":                  {func(t *T) { t.Block("set-up failed") }, Blocked},
		"blocked after a finding":  {func(t *T) { t.Expect(false, "a", "b"); t.Block("set-up failed") }, Fail},
		"a check that falls over":  {func(*T) { panic("fell over") }, Blocked},
		"not applicable, then met": {func(t *T) { t.Expect(true, "a", "b"); t.Need(false, "x") }, NotApplicable},
	} {
		out := Judge(context.Background(), &Row{ID: name, Check: row.check}, &Subject{Name: "x"}, "")
		if out.Verdict != row.want {
			t.Errorf("%s: %s (%s), want %s", name, out.Verdict, out.Reason, row.want)
		}
	}
	if out := Judge(context.Background(), &Row{Never: "no hardware"}, &Subject{}, ""); out.Verdict != NotApplicable || out.Reason != "no hardware" {
		t.Errorf("a row without a check: %+v", out)
	}
}

func TestProfilesContainEachOther(t *testing.T) {
	for i, p := range Profiles() {
		for j, q := range Profiles() {
			if p.Includes(q) != (j <= i) {
				t.Errorf("%s includes %s: %v", p, q, p.Includes(q))
			}
		}
	}
}

func TestShrunk(t *testing.T) {
	conf := Subject{}.Conf.With("ipam", map[string]any{"type": "host-local", "subnet": "10.1.0.0/16", "rangeStart": "10.1.9.9", "ranges": []any{[]any{map[string]any{"subnet": "fd00::/64"}}}})
	ipam, ok := shrunk(conf, 2)
	if !ok {
		t.Fatal("a configuration with ranges cannot be shrunk")
	}
	got := string(conf.With("ipam", ipam).JSON())
	want := `{"ipam":{"ranges":[[{"rangeEnd":"10.1.0.11","rangeStart":"10.1.0.10","subnet":"10.1.0.0/16"}],[{"rangeEnd":"fd00::b","rangeStart":"fd00::a","subnet":"fd00::/64"}]],"type":"host-local"}}`
	if got != want {
		t.Errorf("shrunk to %s, want %s", got, want)
	}
	if _, ok := shrunk(conf.With("ipam", map[string]any{"type": "dhcp"}), 2); ok {
		t.Error("a configuration without ranges can be shrunk")
	}
}

// TestDeclares: what a bridge can do is not asked of its IPAM plugin.
func TestDeclares(t *testing.T) {
	conf := Subject{}.Conf.With("capabilities", map[string]any{"ips": true, "portMappings": true, "mac": false})
	for capability, want := range map[string][2]bool{"ips": {true, true}, "portMappings": {true, false}, "mac": {false, false}, "dns": {false, false}} {
		bridge, ipam := &Subject{Kind: Interface | Delegating, Conf: conf}, &Subject{Kind: IPAM, Conf: conf}
		if got := [2]bool{bridge.Declares(capability), ipam.Declares(capability)}; got != want {
			t.Errorf("%s: %v, want %v", capability, got, want)
		}
	}
}
