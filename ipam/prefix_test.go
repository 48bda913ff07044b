package ipam

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestBounds(t *testing.T) {
	for _, tt := range []struct{ prefix, first, last, end string }{
		{"10.88.0.0/16", "10.88.0.1", "10.88.255.254", "10.88.255.255"},
		{"10.88.0.0/24", "10.88.0.1", "10.88.0.254", "10.88.0.255"},
		{"10.88.0.77/24", "10.88.0.1", "10.88.0.254", "10.88.0.255"},
		{"10.0.0.4/30", "10.0.0.5", "10.0.0.6", "10.0.0.7"},
		{"10.0.0.4/31", "10.0.0.4", "10.0.0.5", "10.0.0.5"},
		{"10.0.0.4/32", "10.0.0.4", "10.0.0.4", "10.0.0.4"},
		{"0.0.0.0/0", "0.0.0.1", "255.255.255.254", "255.255.255.255"},
		{"fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::ffff:ffff:ffff:ffff"},
		{"fd00::/127", "fd00::", "fd00::1", "fd00::1"},
		{"::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		p := netip.MustParsePrefix(tt.prefix)
		if got := First(p).String(); got != tt.first {
			t.Errorf("First(%s) = %s, want %s", p, got, tt.first)
		}
		if got := Last(p).String(); got != tt.last {
			t.Errorf("Last(%s) = %s, want %s", p, got, tt.last)
		}
		if got := End(p).String(); got != tt.end {
			t.Errorf("End(%s) = %s, want %s", p, got, tt.end)
		}
	}
}

func TestNext(t *testing.T) {
	for _, tt := range []struct{ prefix, want string }{
		{"10.88.0.0/24", "10.88.1.0/24"},
		{"10.88.255.0/24", "10.89.0.0/24"},
		{"10.88.0.7/24", "10.88.1.0/24"},
		{"255.255.255.0/24", "invalid Prefix"},
		{"fd00:0:0:ffff::/64", "fd00:0:1::/64"},
		{"::/0", "invalid Prefix"},
	} {
		if got := Next(netip.MustParsePrefix(tt.prefix)).String(); got != tt.want {
			t.Errorf("Next(%s) = %s, want %s", tt.prefix, got, tt.want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"10.88.0.1", "10.88.0.1", "1"},
		{"10.88.0.1", "10.88.255.254", "65534"},
		{"0.0.0.0", "255.255.255.255", "4294967296"},
		{"fd00::", "fd00::ffff:ffff:ffff:ffff", "18446744073709551616"},
	} {
		if got := Count(netip.MustParseAddr(tt.from), netip.MustParseAddr(tt.to)).String(); got != tt.want {
			t.Errorf("Count(%s, %s) = %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestSuggestMasked(t *testing.T) {
	for _, tt := range []struct{ prefix, want string }{
		{"10.88.0.0/16", ""},
		{"10.88.0.1/16", "invalid subnet 10.88.0.1/16: did you mean 10.88.0.0/16?"},
		{"fd00::1/64", "invalid subnet fd00::1/64: did you mean fd00::/64?"},
		{"10.88.0.1/32", ""},
	} {
		got := ""
		if err := SuggestMasked(netip.MustParsePrefix(tt.prefix)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("SuggestMasked(%s) = %q, want %q", tt.prefix, got, tt.want)
		}
	}
}

func TestRandomULA(t *testing.T) {
	got, err := RandomULA(bytes.NewReader([]byte{0xc0, 0xff, 0xee, 0x12, 0x34}))
	if want := "fdc0:ffee:1234::/64"; err != nil || got.String() != want {
		t.Errorf("RandomULA = %s, %v; want %s", got, err, want)
	}
	if _, err := RandomULA(bytes.NewReader([]byte{1, 2})); err == nil {
		t.Error("a short read of randomness went unnoticed")
	}
}

// FuzzBounds compares with counting from one end of the prefix to the other.
func FuzzBounds(f *testing.F) {
	f.Add([]byte{10, 88, 0, 0}, 24)
	f.Add([]byte{255, 255, 255, 255}, 20)
	f.Add(bytes.Repeat([]byte{0xff}, 16), 120)
	f.Add(bytes.Repeat([]byte{0xfd}, 16), 127)
	f.Fuzz(func(t *testing.T, raw []byte, bits int) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok || bits < addr.BitLen()-12 || bits > addr.BitLen() {
			t.Skip()
		}
		p := netip.PrefixFrom(addr, bits)
		var inside []netip.Addr
		for a := p.Masked().Addr(); a.IsValid() && p.Contains(a); a = a.Next() {
			inside = append(inside, a)
		}
		end := inside[len(inside)-1]
		if got := End(p); got != end {
			t.Fatalf("End(%s) = %s, counted %s", p, got, end)
		}
		if len(inside) > 2 {
			inside = inside[1:]
			if addr.Is4() {
				inside = inside[:len(inside)-1]
			}
		}
		if First(p) != inside[0] || Last(p) != inside[len(inside)-1] {
			t.Fatalf("%s: First %s, Last %s; counted %s to %s", p, First(p), Last(p), inside[0], inside[len(inside)-1])
		}
		if next := Next(p); next.IsValid() != end.Next().IsValid() || next.IsValid() && next.Addr() != end.Next() {
			t.Fatalf("Next(%s) = %s after %s", p, next, end)
		}
	})
}
