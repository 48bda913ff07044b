package ipam

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestPoolFree(t *testing.T) {
	for _, tt := range []struct {
		name, pool string
		bits       int
		taken      []netip.Prefix
		want       string
	}{
		{"empty", "10.89.0.0/16", 24, nil, "10.89.0.0/24"},
		{"first taken", "10.89.0.0/16", 24, prefixes("10.89.0.0/24"), "10.89.1.0/24"},
		{"hole", "10.89.0.0/16", 24, prefixes("10.89.2.0/24", "10.89.0.0/24"), "10.89.1.0/24"},
		{"a host route in the first", "10.89.0.0/16", 24, prefixes("10.89.0.200/32"), "10.89.1.0/24"},
		{"a larger obstacle", "10.89.0.0/16", 24, prefixes("10.89.0.0/20"), "10.89.16.0/24"},
		{"obstacle with host bits", "10.89.0.0/16", 24, prefixes("10.89.3.7/22"), "10.89.4.0/24"},
		{"pool covered", "10.89.0.0/16", 24, prefixes("10.0.0.0/8"), ""},
		{"full", "10.89.0.0/23", 24, prefixes("10.89.0.0/24", "10.89.1.0/24"), ""},
		{"end of the address space", "255.255.255.0/24", 25, prefixes("255.255.255.0/24"), ""},
		{"other family is no obstacle", "10.89.0.0/16", 24, prefixes("::/0"), "10.89.0.0/24"},
		{"IPv6", "fd00::/48", 64, prefixes("fd00::/64", "fd00:0:0:1::1/128"), "fd00:0:0:2::/64"},
		{"pool smaller than its parts", "10.89.0.0/26", 24, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool := Pool{Prefix: netip.MustParsePrefix(tt.pool), Bits: tt.bits}
			got, ok := pool.Free(tt.taken)
			if ok != (tt.want != "") || ok && got.String() != tt.want {
				t.Errorf("got %s, %t; want %q", got, ok, tt.want)
			}
		})
	}
}

func TestFreeIn(t *testing.T) {
	pools := []Pool{
		{netip.MustParsePrefix("10.90.0.0/16"), 24},
		{netip.MustParsePrefix("192.168.0.0/23"), 24},
	}
	got, err := FreeIn(pools, prefixes("10.0.0.0/8"))
	if err != nil || got.String() != "192.168.0.0/24" {
		t.Errorf("second pool: got %s, %v", got, err)
	}
	_, err = FreeIn(pools, prefixes("10.0.0.0/8", "192.168.0.0/16"))
	var exhausted *PoolsExhaustedError
	if !errors.As(err, &exhausted) {
		t.Fatalf("got %v, want a PoolsExhaustedError", err)
	}
	want := "no free /24 left in the default pools (10.90.0.0/16: 256 used, 192.168.0.0/23: 2 used)"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestDefaultPools(t *testing.T) {
	pools := DefaultPools()
	if first := pools[0].Prefix.String(); first != "10.89.0.0/16" {
		t.Errorf("the first pool is %s", first)
	}
	for i, p := range pools {
		if p.Prefix != p.Prefix.Masked() || p.Bits != 24 {
			t.Errorf("bad pool %v", p)
		}
		if p.Prefix.Overlaps(netip.MustParsePrefix("10.88.0.0/16")) {
			t.Errorf("%s takes the subnet that is kept free", p.Prefix)
		}
		for _, q := range pools[:i] {
			if p.Prefix.Overlaps(q.Prefix) {
				t.Errorf("%s and %s overlap", p.Prefix, q.Prefix)
			}
		}
	}
}

// slowFree tries every prefix of the pool in turn.
func slowFree(p Pool, taken []netip.Prefix) (netip.Prefix, bool) {
	for candidate := netip.PrefixFrom(p.Prefix.Masked().Addr(), p.Bits); p.Prefix.Contains(candidate.Addr()); {
		free := true
		for _, other := range taken {
			if other.Overlaps(candidate) {
				free = false
			}
		}
		if free {
			return candidate, true
		}
		if candidate = Next(candidate); !candidate.IsValid() {
			break
		}
	}
	return netip.Prefix{}, false
}

// FuzzPoolFree reads a list of obstacles, five bytes each, near the pool.
func FuzzPoolFree(f *testing.F) {
	f.Add([]byte{10, 89, 0, 0, 24, 10, 89, 1, 0, 25}, 24)
	f.Add([]byte{10, 89, 0, 0, 17, 10, 89, 128, 0, 32}, 20)
	f.Add([]byte{10, 0, 0, 0, 8}, 24)
	f.Fuzz(func(t *testing.T, data []byte, bits int) {
		if bits < 16 || bits > 26 {
			t.Skip()
		}
		var taken []netip.Prefix
		for ; len(data) >= 5; data = data[5:] {
			b := binary.BigEndian.AppendUint32(nil, 10<<24|89<<16|uint32(data[2])<<8|uint32(data[3]))
			taken = append(taken, netip.PrefixFrom(netip.AddrFrom4([4]byte(b)), int(data[4])%33))
		}
		pool := Pool{Prefix: netip.MustParsePrefix("10.89.0.0/16"), Bits: bits}
		got, ok := pool.Free(taken)
		want, wantOK := slowFree(pool, taken)
		if got != want || ok != wantOK {
			t.Fatalf("taken %v: got %s %t, the slow search %s %t", taken, got, ok, want, wantOK)
		}
	})
}

func TestPoolAt(t *testing.T) {
	for _, c := range []struct {
		pool string
		bits int
		n    int
		want string
	}{
		{"10.100.0.0/16", 24, 0, "10.100.0.0/24"},
		{"10.100.0.0/16", 24, 255, "10.100.255.0/24"},
		{"10.100.0.0/16", 24, 256, "invalid Prefix"},
		{"10.100.0.0/16", 24, -1, "invalid Prefix"},
		{"10.96.0.0/12", 26, 0x2a7b, "10.106.158.192/26"},
		{"10.0.0.0/8", 30, 1<<22 - 1, "10.255.255.252/30"},
		{"10.0.0.0/24", 24, 0, "10.0.0.0/24"},
		{"fd00:1::/48", 80, 0x12345678, "fd00:1:0:1234:5678::/80"},
		{"fd00:1::/48", 83, 9, "fd00:1::1:2000:0:0/83"},
	} {
		p := Pool{Prefix: netip.MustParsePrefix(c.pool), Bits: c.bits}
		if got := p.At(c.n).String(); got != c.want {
			t.Errorf("%s in /%d: prefix %d is %s, want %s", c.pool, c.bits, c.n, got, c.want)
		}
	}
}
