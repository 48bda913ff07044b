package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Open opens an archive, which may be compressed, or a directory.
func Open(name, spoolDir string) (*Archive, error) {
	// A FIFO would otherwise wait for its other end.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if st.IsDir() {
		f.Close()
		return openDir(name)
	}
	head := make([]byte, 4)
	if n, _ := f.ReadAt(head, 0); st.Mode().IsRegular() && !isCompressed(head[:n]) {
		return openTar(f)
	}
	defer f.Close()
	return Read(f, spoolDir)
}

// Read reads an archive from a stream. Its files are needed in another order
// than they come in, so it is kept in a file in spoolDir that has no name and
// goes with the process.
func Read(r io.Reader, spoolDir string) (*Archive, error) {
	if err := os.MkdirAll(spoolDir, 0o711); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(spoolDir, "load-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	if err := spool(f, r); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return openTar(f)
}

func isCompressed(head []byte) bool {
	return bytes.HasPrefix(head, []byte{0x1f, 0x8b}) || bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd})
}

// A stream may unpack to ratio times its size, if that is more than ratioFloor
// bytes.
const (
	ratio      = 200
	ratioFloor = 1 << 30
)

// spool writes the stream, decompressed, to a file.
func spool(f *os.File, r io.Reader) error {
	in := &counter{r: r}
	buffered := bufio.NewReader(in)
	var from io.Reader = buffered
	head, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case !isCompressed(head):
	case head[0] == 0x1f:
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		from = z
	default:
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer z.Close()
		from = z
	}
	var written int64
	for {
		n, err := io.CopyN(f, from, 4<<20)
		written += n
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if written > ratioFloor && written > in.n*ratio {
			return fmt.Errorf("it would unpack to more than %d times its size", ratio)
		}
	}
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// tarFiles are the files of a tar archive by name; their content stays where it
// is.
type tarFiles struct {
	file    *os.File
	entries map[string]tarEntry
}

type tarEntry struct {
	offset, size int64
	link         string // leads on to this name
}

// maxFiles bounds the entries of an archive: an image has few.
const maxFiles = 100_000

func openTar(f *os.File) (*Archive, error) {
	t := &tarFiles{file: f, entries: map[string]tarEntry{}}
	if err := t.list(); err != nil {
		f.Close()
		return nil, err
	}
	return &Archive{files: t, close: f.Close}, nil
}

func (t *tarFiles) list() error {
	archive := tar.NewReader(t.file)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		name := path.Clean("/" + h.Name)[1:]
		// The reader takes header by header and skips contents: after a
		// header the file stands at the content.
		offset, err := t.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		e := tarEntry{offset: offset, size: h.Size}
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink:
			e.link = path.Clean("/" + path.Join(path.Dir(name), h.Linkname))[1:]
		case tar.TypeLink:
			e.link = path.Clean("/" + h.Linkname)[1:]
		default:
			continue
		}
		if len(t.entries) == maxFiles {
			return fmt.Errorf("read archive: more than %d files", maxFiles)
		}
		t.entries[name] = e
	}
}

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	asked := name
	for range 10 {
		e, ok := t.entries[name]
		if !ok {
			return nil, 0, fmt.Errorf("%q: %w", asked, fs.ErrNotExist)
		}
		if e.link == "" {
			return io.NopCloser(io.NewSectionReader(t.file, e.offset, e.size)), e.size, nil
		}
		name = e.link
	}
	return nil, 0, fmt.Errorf("%q: links in a circle", asked)
}

// dirFiles are the files of a directory, and of nothing outside of it.
type dirFiles struct{ root *os.Root }

func openDir(name string) (*Archive, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &Archive{files: dirFiles{root}, close: root.Close}, nil
}

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	f, err := d.root.OpenFile(strings.TrimPrefix(path.Clean("/"+name), "/"), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%q is no file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}
