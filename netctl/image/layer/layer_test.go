package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// e is an entry of a test archive.
type e = tar.Header

func dir(name string) e { return e{Typeflag: tar.TypeDir, Name: name, Mode: 0o755} }
func file(name, text string) e {
	return e{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Linkname: text}
}
func link(name, target string) e   { return e{Typeflag: tar.TypeSymlink, Name: name, Linkname: target} }
func hard(name, target string) e   { return e{Typeflag: tar.TypeLink, Name: name, Linkname: target} }
func attribute(h e, k, v string) e { h.PAXRecords = map[string]string{xattrPrefix + k: v}; return h }

// archive makes a tar stream. The text of a regular file is in its Linkname.
func archive(t testing.TB, entries ...e) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range entries {
		text := ""
		if h.Typeflag == tar.TypeReg {
			text, h.Linkname = h.Linkname, ""
			h.Size = int64(len(text))
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1_000_000_000, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// place is a directory for a layer beside files that must not change.
func place(t testing.TB) (layer, outside string) {
	t.Helper()
	top := t.TempDir()
	layer, outside = filepath.Join(top, "layer"), filepath.Join(top, "outside")
	for _, d := range []string{layer, outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "passwd"), []byte("root"), 0o600); err != nil {
		t.Fatal(err)
	}
	return layer, outside
}

// tree lists a directory as text: type, name and what is special.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			rel += "/"
			if _, err := unix.Lgetxattr(path, opaqueAttribute, nil); err == nil {
				rel += " opaque"
			}
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			rel += " -> " + target
		case unix.S_IFCHR:
			rel += " whiteout"
		case unix.S_IFIFO:
			rel += " fifo"
		case unix.S_IFREG:
			b, _ := os.ReadFile(path)
			rel += " " + string(b)
		}
		lines = append(lines, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestUnpack(t *testing.T) {
	for name, test := range map[string]struct {
		entries []e
		want    []string
	}{
		"files":                  {[]e{dir("a/"), file("a/b", "x"), link("l", "/etc/passwd"), hard("h", "a/b"), {Typeflag: tar.TypeFifo, Name: "p", Mode: 0o600}}, []string{"a/", "a/b x", "h x", "l -> /etc/passwd", "p fifo"}},
		"no parents":             {[]e{file("a/b/c", "x")}, []string{"a/", "a/b/", "a/b/c x"}},
		"leading slash and dot":  {[]e{file("/a", "1"), file("./b", "2"), dir("./")}, []string{"a 1", "b 2"}},
		"whiteout":               {[]e{dir("a"), file("a/.wh.b", "")}, []string{"a/", "a/b whiteout"}},
		"opaque":                 {[]e{dir("a"), file("a/.wh..wh..opq", ""), file("a/b", "x")}, []string{"a/ opaque", "a/b x"}},
		"opaque root":            {[]e{file(".wh..wh..opq", ""), file("b", "x")}, []string{"b x"}},
		"aufs's own":             {[]e{dir(".wh..wh.plnk"), file(".wh..wh.aufs", "")}, nil},
		"whiteout, then file":    {[]e{file(".wh.a", ""), file("a", "x")}, []string{"a x"}},
		"whiteout, then dir":     {[]e{file(".wh.a", ""), dir("a"), file("a/b", "x")}, []string{"a/ opaque", "a/b x"}},
		"file, then whiteout":    {[]e{file("a", "x"), file(".wh.a", "")}, []string{"a x"}},
		"dir, then whiteout":     {[]e{dir("a"), file(".wh.a", "")}, []string{"a/ opaque"}},
		"whiteout in opaque":     {[]e{dir("a"), file("a/.wh.b", ""), file("a/.wh..wh..opq", "")}, []string{"a/ opaque"}},
		"whiteout, dir gone":     {[]e{dir("a"), file("a/.wh.b", ""), file("a", "x")}, []string{"a x"}},
		"whiteout anew":          {[]e{dir("a"), file("a/.wh.b", ""), file("a", "x"), dir("a"), file("a/.wh.b", "")}, []string{"a/", "a/b whiteout"}},
		"replaced":               {[]e{file("a", "1"), file("a", "2"), dir("a"), file("a/b", "3"), link("a", "x")}, []string{"a -> x"}},
		"directory twice":        {[]e{dir("a"), file("a/b", "1"), dir("a")}, []string{"a/", "a/b 1"}},
		"link inside":            {[]e{dir("b"), link("a", "b"), file("a/x", "1")}, []string{"a -> b", "b/", "b/x 1"}},
		"hard link to a link":    {[]e{link("a", "/etc/passwd"), hard("b", "a")}, []string{"a -> /etc/passwd", "b -> /etc/passwd"}},
		"devices of /dev":        {[]e{dir("dev"), {Typeflag: tar.TypeChar, Name: "dev/null", Devmajor: 1, Devminor: 3}, {Typeflag: tar.TypeBlock, Name: "dev/x/sda", Devmajor: 8}}, []string{"dev/"}},
		"replaced parent, again": {[]e{dir("a"), file("a/x", "1"), file("a", "f"), dir("a"), file("a/y", "2")}, []string{"a/", "a/y 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			layer, _ := place(t)
			if _, err := Unpack(layer, bytes.NewReader(archive(t, test.entries...)), DefaultLimits); err != nil {
				t.Fatal(err)
			}
			if got, want := tree(t, layer), strings.Join(test.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestUnpackSetsWhatTheEntrySays(t *testing.T) {
	layer, _ := place(t)
	at := time.Unix(1_234_567_890, 5)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_bind_service=ep
	entries := []e{
		{Typeflag: tar.TypeDir, Name: "d", Mode: 0o3750, Uid: 7, Gid: 8, ModTime: at},
		attribute(e{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o4711, Uid: 1000, Gid: 70000, ModTime: at, Format: tar.FormatPAX}, "security.capability", capability),
		{Typeflag: tar.TypeSymlink, Name: "d/l", Linkname: "f", Uid: 3, Gid: 4, ModTime: at},
		attribute(dir("d2"), "security.selinux", "x"),
	}
	for i := range entries {
		entries[i].Format = tar.FormatPAX
	}
	if _, err := Unpack(layer, bytes.NewReader(archive(t, entries...)), DefaultLimits); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct{ mode, uid, gid uint32 }{
		"d": {unix.S_IFDIR | 0o3750, 7, 8}, "d/f": {unix.S_IFREG | 0o4711, 1000, 70000}, "d/l": {unix.S_IFLNK | 0o777, 3, 4},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(layer, name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%s: mode %o, owner %d:%d; want %+v", name, st.Mode, st.Uid, st.Gid, want)
		}
		if st.Mtim.Sec != at.Unix() || st.Mtim.Nsec != 5 {
			t.Errorf("%s: time %v", name, st.Mtim)
		}
	}
	got := make([]byte, 64)
	n, err := unix.Lgetxattr(filepath.Join(layer, "d/f"), "security.capability", got)
	if err != nil || string(got[:n]) != capability {
		t.Errorf("capability: %q, %v", got[:max(n, 0)], err)
	}
}

// Nothing of these reaches the file system outside, and the error names the
// entry.
func TestUnpackRefuses(t *testing.T) {
	small := Limits{Bytes: 1 << 16, Headers: 1 << 14, Entries: 40, Depth: 20}
	many := make([]e, 41)
	for i := range many {
		many[i] = dir(strings.Repeat("d", i+1))
	}
	for name, test := range map[string]struct {
		entries []e
		err     string
	}{
		"parent":                    {[]e{file("../outside/new", "x")}, "leads out of the layer"},
		"parent inside":             {[]e{file("a/../../outside/new", "x")}, "leads out of the layer"},
		"absolute link":             {[]e{link("a", "OUT"), file("a/new", "x")}, "escapes"},
		"relative link":             {[]e{link("a", "../outside"), file("a/new", "x")}, "escapes"},
		"link, then directory":      {[]e{link("a", "OUT"), dir("a/new")}, "escapes"},
		"chain of links":            {[]e{link("a", "b"), link("b", "../outside"), file("a/new", "x")}, "escapes"},
		"loop of links":             {[]e{link("a", "b"), link("b", "a"), file("a/new", "x")}, "too many levels"},
		"directory, then link":      {[]e{dir("a"), file("a/x", "x"), link("a", "OUT"), file("a/new", "x")}, "escapes"},
		"link by a hard link":       {[]e{dir("a"), file("a/x", "x"), link("l", "OUT"), hard("a", "l"), file("a/new", "x")}, "escapes"},
		"hard link to itself":       {[]e{file("a", "x"), hard("a", "a")}, "no such file"},
		"hard link to the hidden":   {[]e{file(".wh.b", ""), dir("b"), hard("a", "b/passwd")}, "no such file"},
		"overlong name":             {[]e{file(strings.Repeat("n", 256), "x")}, "name too long"},
		"overlong whiteout":         {[]e{file(".wh."+strings.Repeat("n", 256), "")}, "name too long"},
		"overlong link":             {[]e{link("a", "/"+strings.Repeat("n/", 3000))}, "name too long"},
		"whiteout through a link":   {[]e{link("a", "OUT"), file("a/.wh.passwd", "")}, "escapes"},
		"opaque through a link":     {[]e{link("a", "OUT"), file("a/.wh..wh..opq", "")}, "escapes"},
		"hard link up":              {[]e{hard("a", "../outside/passwd")}, "leads out of the layer"},
		"hard link, absolute":       {[]e{hard("a", "OUT/passwd")}, "no such file"},
		"hard link through a link":  {[]e{link("l", "OUT"), hard("a", "l/passwd")}, "escapes"},
		"hard link to a directory":  {[]e{dir("d"), hard("a", "d")}, "not permitted"},
		"hard link to the root":     {[]e{hard("a", ".")}, "hard link"},
		"hard link to nothing":      {[]e{hard("a", "b")}, "no such file"},
		"hard link to a whiteout":   {[]e{file(".wh.b", ""), hard("a", "b")}, "deleted"},
		"file in a file":            {[]e{file("a", ""), file("a/b", "")}, "not a directory"},
		"device":                    {[]e{{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}}, "device node (8, 0) outside of /dev"},
		"forged whiteout":           {[]e{{Typeflag: tar.TypeChar, Name: "etc/passwd"}}, "device node (0, 0) outside of /dev"},
		"forged opaque":             {[]e{attribute(dir("a"), "trusted.overlay.opaque", "y")}, "steers overlayfs"},
		"forged redirect":           {[]e{attribute(dir("a"), "user.overlay.redirect", "/")}, "steers overlayfs"},
		"whiteout twice":            {[]e{file(".wh.a", ""), file(".wh.a", "")}, `the second whiteout of "a"`},
		"whiteout of the parent":    {[]e{file("a/.wh...", "")}, "whiteout of nothing"},
		"whiteout of nothing":       {[]e{file("a/.wh.", "")}, "whiteout of nothing"},
		"below a whiteout":          {[]e{file(".wh.a/b", "")}, "below a whiteout"},
		"whiteout below a whiteout": {[]e{file(".wh.a/.wh.b", "")}, "below a whiteout"},
		"root as a link":            {[]e{link("./", "OUT")}, "root is not a directory"},
		"link to nothing":           {[]e{link("a", "")}, "link"},
		"negative owner":            {[]e{{Typeflag: tar.TypeReg, Name: "a", Uid: -2, Format: tar.FormatGNU}}, "out of range"},
		"too many":                  {many, "over the limit of 40 entries"},
		"too many implied":          {[]e{file(strings.Repeat("a/", 15)+"x", ""), file(strings.Repeat("b/", 15)+"x", ""), file(strings.Repeat("c/", 15)+"x", "")}, "over the limit of 40 entries"},
		"too deep":                  {[]e{file(strings.Repeat("a/", 30)+"x", "")}, "over the limit of 20 directories"},
		"too much in attributes":    {[]e{attribute(dir("a"), "security.selinux", strings.Repeat("x", 9000)), attribute(dir("b"), "security.selinux", strings.Repeat("x", 9000))}, "over the limit of 16384 bytes of names and attributes"},
		"too much in names":         {[]e{dir("a/" + strings.Repeat(strings.Repeat("n", 200)+"/", 15)), dir("b/" + strings.Repeat(strings.Repeat("n", 200)+"/", 15)), dir("c/" + strings.Repeat(strings.Repeat("n", 200)+"/", 15))}, "over the limit of 16384 bytes of names and attributes"},
		"too large":                 {[]e{file("a", strings.Repeat("x", 1<<15)), file("b", strings.Repeat("x", 1<<15)), file("c", "x")}, "over the limit of 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			layer, outside := place(t)
			before := tree(t, outside)
			for i := range test.entries {
				test.entries[i].Linkname = strings.Replace(test.entries[i].Linkname, "OUT", outside, 1)
			}
			_, err := Unpack(layer, bytes.NewReader(archive(t, test.entries...)), small)
			var entry *EntryError
			if err == nil || !errors.As(err, &entry) || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %s", err, test.err)
			}
			if after := tree(t, outside); after != before {
				t.Errorf("the host has changed:\n%s", after)
			}
		})
	}
}

func TestUnpackCutShort(t *testing.T) {
	whole := archive(t, dir("a"), file("a/b", strings.Repeat("x", 3000)))
	for _, n := range []int{100, 512, 1500, 2000} {
		layer, _ := place(t)
		_, err := Unpack(layer, bytes.NewReader(whole[:n]), DefaultLimits)
		if n == 512 { // between two entries: only the digest can tell
			continue
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A sparse file counts by what it claims to be: that is what would be written.
func TestSparseFileCounts(t *testing.T) {
	block := make([]byte, 512)
	for at, text := range map[int]string{
		0: "bomb", 100: "0000644\x00", 108: "0000000\x00", 116: "0000000\x00", 124: "00000000000\x00", 136: "00000000000\x00",
		148: "        ", 156: "S", 257: "ustar  \x00", // GNU's format (tar(5))
		386: "77777777777\x00", 398: "00000000000\x00", 483: "77777777777\x00", // a hole of 8 GiB
	} {
		copy(block[at:], text)
	}
	var sum int
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	layer, _ := place(t)
	_, err := Unpack(layer, bytes.NewReader(append(block, make([]byte, 1024)...)), Limits{Bytes: 1 << 30, Headers: 1 << 10, Entries: 10, Depth: 10})
	var entry *EntryError
	if !errors.Is(err, ErrLimit) || !errors.As(err, &entry) || entry.Entry != "bomb" {
		t.Errorf("got %v", err)
	}
	if st, err := os.Stat(filepath.Join(layer, "bomb")); err == nil {
		t.Errorf("%d bytes were written", st.Size())
	}
}

func TestPaddingCounts(t *testing.T) {
	layer, _ := place(t)
	padded := io.MultiReader(bytes.NewReader(archive(t, file("a", "x"))), bytes.NewReader(make([]byte, 1<<17)))
	if _, err := Unpack(layer, padded, Limits{Bytes: 1 << 16, Headers: 1 << 10, Entries: 10, Depth: 10}); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v", err)
	}
}

// Whatever bytes come, nothing outside of the layer changes.
func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, dir("a"), link("a/l", "../.."), file("a/l/outside/x", "x")))
	f.Add(archive(f, file(".wh.a", ""), dir("a"), hard("b", "a")))
	f.Add(archive(f, attribute(file("a", "x"), "user.x", "y"), e{Typeflag: tar.TypeChar, Name: "dev/null"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		layer, outside := place(t)
		before := tree(t, outside)
		_, err := Unpack(layer, bytes.NewReader(b), Limits{Bytes: 1 << 16, Headers: 1 << 14, Entries: 50, Depth: 20})
		if after := tree(t, outside); after != before {
			t.Fatalf("the host has changed: %v\n%s", err, after)
		}
		entries, _ := os.ReadDir(filepath.Dir(layer))
		if names := len(entries); names != 2 || !slices.ContainsFunc(entries, fs.DirEntry.IsDir) {
			t.Fatalf("%d entries beside the layer", names)
		}
	})
}
