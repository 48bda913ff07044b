package netctl

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/netctl/netctl/netctl/runner"
)

// Every row of spec cli 1.4.
func TestParsePublish(t *testing.T) {
	port := func(ip string, host, container uint16, protocol string) runner.PortSpec {
		p := runner.PortSpec{Protocol: protocol, HostPort: host, ContainerPort: container}
		if ip != "" {
			p.HostIP = netip.MustParseAddr(ip)
		}
		return p
	}
	for text, want := range map[string][]runner.PortSpec{
		"80":                        {port("", 0, 80, "tcp")},
		"8080:80":                   {port("", 8080, 80, "tcp")},
		"127.0.0.1:8080:80":         {port("127.0.0.1", 8080, 80, "tcp")},
		"[::1]:8080:80":             {port("::1", 8080, 80, "tcp")},
		"[fd00::1]::80/udp":         {port("fd00::1", 0, 80, "udp")},
		"127.0.0.1::80":             {port("127.0.0.1", 0, 80, "tcp")},
		"0:80":                      {port("", 0, 80, "tcp")},
		":80":                       {port("", 0, 80, "tcp")},
		"8080:80/udp":               {port("", 8080, 80, "udp")},
		"8080:80/sctp":              {port("", 8080, 80, "sctp")},
		"8080:80/TCP":               {port("", 8080, 80, "tcp")},
		"0.0.0.0:8080:80":           {port("0.0.0.0", 8080, 80, "tcp")},
		"8000-8002:80-82":           {port("", 8000, 80, "tcp"), port("", 8001, 81, "tcp"), port("", 8002, 82, "tcp")},
		"3000-3002":                 {port("", 0, 3000, "tcp"), port("", 0, 3001, "tcp"), port("", 0, 3002, "tcp")},
		"127.0.0.1:53-54:53-54/udp": {port("127.0.0.1", 53, 53, "udp"), port("127.0.0.1", 54, 54, "udp")},
		"65535:65535":               {port("", 65535, 65535, "tcp")},
		"target=80":                 {port("", 0, 80, "tcp")},
		"target=80,published=8080,protocol=udp,host_ip=127.0.0.1": {port("127.0.0.1", 8080, 80, "udp")},
		"published=8080,TARGET=80,host_ip=::1,mode=host":          {port("::1", 8080, 80, "tcp")},
		"target=80-81,published=8080-8081":                        {port("", 8080, 80, "tcp"), port("", 8081, 81, "tcp")},
		"8000-8010:80/udp":                                        {{Protocol: "udp", HostPort: 8000, HostPortEnd: 8010, ContainerPort: 80}},
	} {
		got, err := parsePublish(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                             "invalid containerPort: ",
		"x":                            "invalid containerPort: x",
		"published=8080":               "target is missing",
		"target=80,publish=1":          `invalid field key "publish"`,
		"target=80,published=":         `invalid field "published="`,
		"target=80,protocol=x":         "invalid proto: x",
		"target=80,host_ip=host":       "invalid IP address: host",
		"target=80,published=1,mode=x": "invalid publish mode: x",
		"8080:0":                       "invalid containerPort: 0",
		"8080:65536":                   "invalid containerPort: 65536",
		"8080:82-80":                   "invalid containerPort: 82-80",
		"8080:":                        "invalid containerPort: ",
		"x:80":                         "invalid hostPort: x",
		"-1:80":                        "invalid hostPort: -1",
		"70000:80":                     "invalid hostPort: 70000",
		"8002-8000:80-82":              "invalid hostPort: 8002-8000",
		"8000-8001:80-82":              "invalid ranges specified",
		"8000:80-82":                   "invalid ranges specified",
		"8080:80/xyz":                  "invalid proto: xyz",
		"8080:80/":                     "invalid proto: ",
		"localhost:8080:80":            "invalid IP address: localhost",
		"1.2.3:8080:80":                "invalid IP address: 1.2.3",
		"::1:8080:80":                  "invalid IP address: ::1",
		"[::1:8080:80":                 "invalid IP address: [::1",
		"[127.0.0.1]:8080:80":          "invalid IP address: [127.0.0.1]",
	} {
		if _, err := parsePublish(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// What is printed for a published port is read as the same port again.
func FuzzParsePublish(f *testing.F) {
	for _, seed := range []string{"80", "8080:80", "127.0.0.1:8080:80/udp", "[::1]::80", "8000-8002:80-82", "8000-8002:80", "target=80,published=8080", "a:b:c/d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		specs, err := parsePublish(text)
		if err != nil || len(specs) > 100 {
			return
		}
		for _, p := range specs {
			host := ""
			if p.HostIP.Is4() {
				host = p.HostIP.String() + ":"
			} else if p.HostIP.IsValid() {
				host = "[" + p.HostIP.String() + "]:"
			}
			outside := fmt.Sprint(p.HostPort)
			if p.HostPortEnd != 0 {
				outside += fmt.Sprint("-", p.HostPortEnd)
			}
			again, err := parsePublish(fmt.Sprintf("%s%s:%d/%s", host, outside, p.ContainerPort, p.Protocol))
			if err != nil || len(again) != 1 || again[0] != p {
				t.Errorf("%q: %v became %v, %v", text, p, again, err)
			}
		}
	})
}

// An image may expose ranges without number: each port counts once.
func TestExposedPortsCountOnce(t *testing.T) {
	var ranges []exposedRange
	for _, text := range []string{"80", "443/udp", "70-90", "75-80/tcp", "90-95", "80/udp", "100"} {
		r, err := parseExposed(text)
		if err != nil {
			t.Fatal(err)
		}
		ranges = append(ranges, r)
	}
	var got []string
	for _, p := range portsOf(ranges) {
		got = append(got, fmt.Sprint(p.ContainerPort, p.Protocol))
	}
	want := []string{}
	for port := 70; port <= 95; port++ {
		want = append(want, fmt.Sprint(port, "tcp"))
	}
	if want = append(want, "100tcp", "80udp", "443udp"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	all := exposedRange{"tcp", portRange{1, 65535}}
	if n := len(portsOf(slices.Repeat([]exposedRange{all}, 200_000))); n != 65535 {
		t.Errorf("got %d ports", n)
	}
	for _, text := range []string{"", "0", "80:80", "80=80", "9-8", "65536", "80/icmp", "x"} {
		if _, err := parseExposed(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
