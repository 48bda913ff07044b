package netctl

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestCopiesHaveNoPowers(t *testing.T) {
	const capability = "SCHILY.xattr.security.capability"
	var archived bytes.Buffer
	w := tar.NewWriter(&archived)
	at := time.Unix(1_000_000_000, 5)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o3775, ModTime: at, Format: tar.FormatPAX},
		{Typeflag: tar.TypeReg, Name: "d/su", Mode: 0o6755, Uid: 7, Size: 4, ModTime: at, Format: tar.FormatPAX,
			PAXRecords: map[string]string{capability: "x", "SCHILY.xattr.user.note": "kept"}},
		{Typeflag: tar.TypeSymlink, Name: "d/link", Linkname: "su", Mode: 0o777},
		{Typeflag: tar.TypeFifo, Name: "d/fifo", Mode: 0o644},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, "text"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(withoutPowers(&archived)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Name {
		case "d/": // a directory's own bits say who its files belong to
			if h.Mode != 0o3775 {
				t.Errorf("directory: mode %o", h.Mode)
			}
		case "d/su":
			if h.Mode != 0o755 || h.PAXRecords[capability] != "" || h.PAXRecords["SCHILY.xattr.user.note"] != "kept" ||
				h.Uid != 7 || string(text) != "text" || !h.ModTime.Equal(at) {
				t.Errorf("file: %+v, %q", h, text)
			}
		}
	}
	if got := strings.Join(names, " "); got != "d/ d/su d/link d/fifo" {
		t.Errorf("got %s", got)
	}
}

func TestCopiesAreNoDevices(t *testing.T) {
	var archived bytes.Buffer
	w := tar.NewWriter(&archived)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeBlock, Name: "d/disk", Devmajor: 8, Mode: 0o666}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(withoutPowers(&archived)); err == nil || !strings.Contains(err.Error(), "d/disk is a device node (8, 0)") {
		t.Errorf("got %v", err)
	}
}
