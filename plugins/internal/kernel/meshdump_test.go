package kernel

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netctl/netctl/plugins/internal/wire"
)

// FuzzKernelList: whatever a list consists of, reading it ends, and what is read
// of a route and an entry does not depend on what comes behind them.
func FuzzKernelList(f *testing.F) {
	device := &meshDevice{index: 7}
	mac := wire.HardwareAddr{2, 0x56, 192, 0, 2, 9}
	seeds := []meshObject{
		fdbEntry{mac, netip.MustParseAddr("192.0.2.9")}, meshNeighbour{mac.LinkLocal(), mac},
		meshRoute{to: netip.MustParsePrefix("10.0.0.0/8"), refuse: true, metric: 1<<32 - 1},
		meshRoute{to: netip.MustParsePrefix("10.1.2.0/24"), gw: mac.LinkLocal(), tunnel: true, mtu: 1400, source: netip.MustParseAddr("10.1.1.0")},
		meshRoute{to: netip.MustParsePrefix("fd00:1::/64"), gw: mac.LinkLocal(), tunnel: true, metric: 128},
	}
	for _, object := range seeds {
		m := object.replace(device).message
		binary.NativeEndian.PutUint32(m, uint32(len(m)))
		f.Add([]byte(m))
		f.Add(append([]byte(m), m[:unix.SizeofNlMsghdr+3]...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var last []byte
		_, _, _ = readMessages(b, func(body []byte) {
			last = body
			if len(body) >= unix.SizeofRtMsg {
				readRoute(body)
			}
		})
		if len(last) > len(b) {
			t.Errorf("of %d bytes %d were read", len(b), len(last))
		}
	})
}

// TestWhatIsSentIsRead: a route as it is written is read as the same.
func TestWhatIsSentIsRead(t *testing.T) {
	device := &meshDevice{index: 7}
	for _, want := range []meshRoute{
		{to: netip.MustParsePrefix("10.1.2.0/24"), gw: netip.MustParseAddr("fe80::1"), tunnel: true, mtu: 1400, source: netip.MustParseAddr("10.1.1.0")},
		{to: netip.MustParsePrefix("10.1.2.0/24"), gw: netip.MustParseAddr("192.0.2.9"), metric: 515},
		{to: netip.MustParsePrefix("10.0.0.0/8"), refuse: true, metric: 1<<32 - 1},
		{to: netip.MustParsePrefix("fd00:1::/64"), gw: netip.MustParseAddr("fe80::1"), tunnel: true, metric: 128, mtu: 1380},
	} {
		m := want.replace(device).message
		binary.NativeEndian.PutUint32(m, uint32(len(m)))
		done, interrupted, err := readMessages(m, func(body []byte) {
			got := readRoute(body)
			got.tunnel = got.link == device.index
			if got.meshRoute != want {
				t.Errorf("%v is read as %+v", want, got.meshRoute)
			}
		})
		if done || interrupted || err != nil {
			t.Errorf("%v, %v, %v", done, interrupted, err)
		}
	}
	end := make([]byte, 20)
	binary.NativeEndian.PutUint32(end, 20)
	binary.NativeEndian.PutUint16(end[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint16(end[6:], unix.NLM_F_DUMP_INTR)
	code := -int32(unix.EPERM)
	binary.NativeEndian.PutUint32(end[16:], uint32(code))
	if done, interrupted, err := readMessages(end, nil); !done || !interrupted || err != unix.EPERM {
		t.Errorf("%v, %v, %v", done, interrupted, err)
	}
}
