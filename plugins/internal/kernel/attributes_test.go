package kernel

import (
	"bytes"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What the library reads of a message, attributes does too; of one that is cut
// off it reads what is whole.
func FuzzAttributes(f *testing.F) {
	outer := nl.NewRtAttr(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, nil)
	outer.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	outer.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_BR_VLAN_FILTERING, []byte{1})
	whole := append(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("br0")).Serialize(), outer.Serialize()...)
	f.Add(whole)
	f.Add(append([]byte{4, 0, 1, 0}, whole...)) // an empty one before the others
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{3, 0, 1, 0, 0})
	f.Add([]byte{255, 255, 1, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for range attributes(data) { // whatever its length; the library would panic
		}
		_, _ = parseLink(data)
		data = data[:len(data)&^3]
		want, err := nl.ParseRouteAttr(data)
		i := 0
		for kind, value := range attributes(data) {
			if err == nil && (i == len(want) || kind != want[i].Attr.Type&nlaType || !bytes.Equal(value, want[i].Value)) {
				t.Fatalf("%x: attribute %d is %d, %x; the library has %+v", data, i, kind, value, want)
			}
			i++
		}
		if err == nil && i != len(want) {
			t.Fatalf("%x: %d attributes; the library has %+v", data, i, want)
		}
	})
}

func TestAttribute(t *testing.T) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("veth"))
	data := append(nl.NewRtAttr(unix.IFLA_IFNAME, []byte("a")).Serialize(), info.Serialize()...)
	if got := attribute(data, unix.IFLA_LINKINFO, nl.IFLA_INFO_KIND); string(got) != "veth" {
		t.Errorf("down the path: %q", got)
	}
	for _, path := range [][]uint16{{unix.IFLA_MTU}, {unix.IFLA_LINKINFO, nl.IFLA_INFO_DATA}, {unix.IFLA_IFNAME, 1}} {
		if got := attribute(data, path...); got != nil {
			t.Errorf("%v: %q, want nothing", path, got)
		}
	}
}
