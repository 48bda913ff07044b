package runner

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestAgain(t *testing.T) {
	last := []Attached{{
		Network: "n", IfName: "eth0", MAC: "02:00:00:00:00:01",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.88.0.2/24"), netip.MustParsePrefix("fd00::2/64")},
		Ports:     []PortSpec{{Protocol: "tcp", HostPort: 32768, ContainerPort: 80}, {Protocol: "tcp", HostPort: 8443, ContainerPort: 443}},
		Undo:      []byte("x"),
	}}
	ports := []PortSpec{{Protocol: "tcp", ContainerPort: 80}, {Protocol: "tcp", HostPort: 443, ContainerPort: 443}}
	for name, c := range map[string]struct {
		asked Endpoint
		want  string
	}{
		"nothing asked for": {Endpoint{Network: "n", IfName: "eth0", Ports: ports}, "[10.88.0.2 fd00::2] 02:00:00:00:00:01 32768 443"},
		"own address":       {Endpoint{Network: "n", IfName: "eth0", IPs: []netip.Addr{netip.MustParseAddr("10.88.0.9")}, MAC: "02::", Ports: ports}, "[10.88.0.9] 02:: 32768 443"},
		"other network":     {Endpoint{Network: "m", IfName: "eth0", Ports: ports}, "[]  0 443"},
		"other interface":   {Endpoint{Network: "n", IfName: "eth1", Ports: ports}, "[]  0 443"},
	} {
		got := Again([]Endpoint{c.asked}, last)[0]
		if text := fmt.Sprint(got.IPs, " ", got.MAC, " ", got.Ports[0].HostPort, " ", got.Ports[1].HostPort); text != c.want {
			t.Errorf("%s: got %s, want %s", name, text, c.want)
		}
	}
	if ports[0].HostPort != 0 {
		t.Error("the request was changed")
	}
}

func TestEndedRemembers(t *testing.T) {
	begin, end := time.Unix(1, 0), time.Unix(2, 0)
	ran := State{Status: StatusRunning, Pid: 7, Started: begin, Netns: "x", Attached: []Attached{{Network: "n", MAC: "02::", Undo: []byte("x")}}}
	st := ran.Ended(end, 3)
	if st.Status != StatusExited || st.Pid != 0 || st.ExitCode != 3 || !st.Started.Equal(begin) || !st.Finished.Equal(end) || len(st.Attached) > 0 {
		t.Errorf("got %+v", st)
	}
	if len(st.Last) != 1 || st.Last[0].MAC != "02::" || st.Last[0].Undo != nil {
		t.Errorf("remembered %+v", st.Last)
	}
	// A start that got nothing does not forget.
	st.Status, st.Attached = StatusStarting, Planned([]Endpoint{{Network: "n"}})
	if again := st.Ended(end, 3); len(again.Last) != 1 {
		t.Errorf("forgot: %+v", again)
	}
}
