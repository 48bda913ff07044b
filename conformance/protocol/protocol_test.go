package protocol

import (
	"encoding/json"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "with space", `{"a": "it's"}`, "$(touch x)", "a\nb", "é", `back\slash`} {
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("the shell reads %s as %q, %v; want %q", Quote(word), out, err, word)
		}
	}
}

func TestRequestCopies(t *testing.T) {
	r := Request{Plugin: "/bin/x", Env: map[string]string{"CNI_COMMAND": "ADD", "A": "1"}}
	_, _ = r.With("A", "2"), r.Without("CNI_COMMAND")
	if r.Env["A"] != "1" || r.Verb() != "ADD" {
		t.Errorf("With or Without changed the original: %v", r.Env)
	}
}

func TestBefore(t *testing.T) {
	versions := Versions()
	for i, a := range versions {
		for j, b := range versions {
			if Before(a, b) != (i < j) {
				t.Errorf("Before(%s, %s) = %v", a, b, !(i < j))
			}
		}
	}
	if !Before("banana", "0.1.0") {
		t.Error("a version without numbers is older than every real one")
	}
}

func TestConfPaths(t *testing.T) {
	c, err := ParseConf([]byte(`{"name": "n", "ipam": {"type": "x", "n": 1.50}}`))
	if err != nil {
		t.Fatal(err)
	}
	changed := c.With("ipam.ranges", []any{"r"}).With("runtimeConfig.mac", "m").Without("name", "ipam.type")
	if got, want := string(changed.JSON()), `{"ipam":{"n":1.50,"ranges":["r"]},"runtimeConfig":{"mac":"m"}}`; got != want {
		t.Errorf("changed copy is %s, want %s", got, want)
	}
	if got := c.String("ipam.type"); got != "x" {
		t.Errorf("the original has ipam.type %q", got)
	}
	if c.Get("no.such.path") != nil || c.Bool("ipam.type") {
		t.Error("absent and mistyped values should read as zero")
	}
	if got := c.Keys("ipam"); !reflect.DeepEqual(got, []string{"n", "type"}) {
		t.Errorf("keys of ipam: %v", got)
	}
}

func TestDocuments(t *testing.T) {
	for out, want := range map[string]int{"": 0, " \n": 0, "{}": 1, "{}\n{}": 2, "{} x": -1, "log\n{}": -1, "{": -1} {
		n, err := (&Reply{Stdout: []byte(out)}).Documents()
		if want < 0 && err == nil || want >= 0 && (n != want || err != nil) {
			t.Errorf("%q: %d documents, %v; want %d", out, n, err, want)
		}
	}
}

func TestFailure(t *testing.T) {
	good := Reply{Stdout: []byte(`{"cniVersion":"1.0.0","code":7,"msg":"bad","details":"more"}`)}
	f, err := good.Failure()
	if err != nil || f.Code != 7 || f.CNIVersion != "1.0.0" || f.Text() != "bad more" {
		t.Errorf("decoded as %+v, %v", f, err)
	}
	for _, bad := range []string{`{}`, `{"code":"7","msg":"x"}`, `{"code":7}`, `{"code":7,"msg":""}`, `{"code":7.5,"msg":"x"}`, `{"code":7,"msg":"x","details":1}`, `[]`, `{"code":7,"msg":"x"}{}`} {
		if _, err := (&Reply{Stdout: []byte(bad)}).Failure(); err == nil {
			t.Errorf("%s passes as an error document", bad)
		}
	}
}

func TestCrashed(t *testing.T) {
	for _, r := range []Reply{{Signal: "segmentation fault", Exit: -1}, {Exit: 2, Stderr: []byte("panic: x\n\ngoroutine 1 [running]:")}} {
		if !r.Crashed() {
			t.Errorf("%+v is not seen as a crash", r)
		}
	}
	for _, r := range []Reply{{Exit: 1, Stdout: []byte(`{"code":7,"msg":"no panic"}`)}, {Signal: "killed", TimedOut: true}} {
		if r.Crashed() {
			t.Errorf("%+v is seen as a crash", r)
		}
	}
}

// everything is a result with a value in every field.
func everything() *Result {
	at := 1
	return &Result{
		Interfaces: []Interface{{Name: "br0", Mac: "02:00:00:00:00:01", MTU: 1500}, {Name: "eth0", Mac: "02:00:00:00:00:02", MTU: 1500, Sandbox: "/run/netns/c"}},
		IPs:        []IP{{Address: "10.0.0.2/24", Gateway: "10.0.0.1", Interface: &at}, {Address: "fd00::2/64", Gateway: "fd00::1", Interface: &at}},
		Routes:     []Route{{Dst: "0.0.0.0/0"}, {Dst: "::/0", GW: "fd00::1"}},
		DNS:        &DNS{Nameservers: []string{"10.0.0.1"}},
	}
}

// TestEncodeHasItsShape: what the suite itself puts into prevResult has the
// form it demands of plugins, and reads back the same.
func TestEncodeHasItsShape(t *testing.T) {
	for _, v := range Versions() {
		reply := Reply{Stdout: everything().Encode(v)}
		res, err := reply.Result()
		if err != nil {
			t.Fatal(err)
		}
		if faults := Shape(v, res.Raw); len(faults) > 0 {
			t.Errorf("%s: %v in %s", v, faults, reply.Stdout)
		}
		if len(res.IPs) != 2 || res.IPs[1].Address != "fd00::2/64" || res.IPs[0].Gateway != "10.0.0.1" {
			t.Errorf("%s reads back as %+v", v, res.IPs)
		}
	}
}

func TestShapeFindsFaults(t *testing.T) {
	for _, row := range []struct{ version, doc, fault string }{
		{"1.0.0", `{"cniVersion":"0.4.0"}`, "cniVersion"},
		{"1.0.0", `{"cniVersion":"1.0.0","ip4":{"ip":"10.0.0.2/24"}}`, "ip4"},
		{"1.0.0", `{"cniVersion":"1.0.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}`, "version"},
		{"0.4.0", `{"cniVersion":"0.4.0","ips":[{"address":"10.0.0.2/24"}]}`, "version"},
		{"0.4.0", `{"cniVersion":"0.4.0","ips":[{"version":"6","address":"10.0.0.2/24"}]}`, "version"},
		{"1.0.0", `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mtu":1500}]}`, "mtu"},
		{"1.1.0", `{"cniVersion":"1.1.0","interfaces":[{"mac":"x"}]}`, "no name"},
		{"1.1.0", `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.0/24"}]}`, "host bits"},
		{"1.1.0", `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2"}]}`, "prefix length"},
		{"1.1.0", `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1/24"}]}`, "bare address"},
		{"1.1.0", `{"cniVersion":"1.1.0","routes":[{"dst":"10.0.0.2/24"}]}`, "not a network"},
		{"1.1.0", `{"cniVersion":"1.1.0","dns":{"servers":[]}}`, "dns.servers"},
		{"0.2.0", `{"cniVersion":"0.2.0"}`, "neither"},
		{"0.2.0", `{"cniVersion":"0.2.0","ips":[],"ip4":{"ip":"10.0.0.2/24"}}`, "ips"},
		{"0.2.0", `{"cniVersion":"0.2.0","ip4":{"ip":"fd00::2/64"}}`, "other family"},
		{"0.2.0", `{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","routes":[{"dst":"::/0"}]}}`, "other family"},
	} {
		var obj map[string]any
		if err := json.Unmarshal([]byte(row.doc), &obj); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(Shape(row.version, obj), "; "); !strings.Contains(got, row.fault) {
			t.Errorf("%s: faults %q, want one about %q", row.doc, got, row.fault)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, v := range Versions() {
		f.Add([]byte(everything().Encode(v)))
	}
	f.Add([]byte(`{"code":7,"msg":"x"}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		r := &Reply{Stdout: out}
		r.Failure()
		r.Versions()
		r.Summary()
		res, err := r.Result()
		if err != nil {
			return
		}
		for _, v := range Versions() {
			Shape(v, res.Raw)
			res.Encode(v)
		}
	})
}
