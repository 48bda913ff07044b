// Package layer unpacks an image's layer, a tar stream that anybody may have
// made, into a directory that overlayfs can use as a lower one.
//
// The stream is hostile until proven otherwise. Nothing is written, linked,
// changed or looked up outside of the directory: an entry's parent is opened
// through os.Root, which follows links inside of the directory only, and
// everything after that works on the open parent with names that have no
// slash. What an honest archive has no use for is an error, never skipped in
// silence:
//
//   - names and hard links that lead out of the layer (.., links to elsewhere);
//   - device nodes outside of /dev (a container's /dev is its own: those are
//     left out), among them the nodes overlayfs takes for whiteouts;
//   - extended attributes in overlayfs's name space;
//   - the same whiteout twice, and whiteouts with impossible names;
//   - more bytes, entries or names than Limits allows.
//
// Whiteouts (.wh.NAME, .wh..wh..opq; OCI image specification, "layer") become
// overlayfs's own: a character device 0/0, and the attribute
// trusted.overlay.opaque.
package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Limits bound what one layer may unpack to.
type Limits struct {
	Bytes   int64 // of all files together
	Headers int64 // of all names, links and attributes together, in bytes
	Entries int
	Depth   int // directories above an entry
}

// DefaultLimits is far above what images in use have, and far below what would
// hurt a host.
var DefaultLimits = Limits{Bytes: 64 << 30, Headers: 512 << 20, Entries: 2_000_000, Depth: 256}

// An EntryError is an entry that makes the layer unusable.
type EntryError struct {
	Entry string // its name as in the archive
	Err   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("entry %q: %s", e.Entry, e.Err) }
func (e *EntryError) Unwrap() error { return e.Err }

// ErrLimit is wrapped by errors about too much of something.
var ErrLimit = errors.New("over the limit")

// Unpack writes the tar stream r into dir, which exists and is empty. It reads
// r to its end, whatever follows the archive. It returns the number of bytes of
// the files. On an error dir holds a part of the layer; the caller removes it.
func Unpack(dir string, r io.Reader, limits Limits) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	u := &unpacker{root: root, limits: limits}
	defer u.parents.close()
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u.bytes, fmt.Errorf("read archive: %w", truncated(err))
		}
		if err := u.entry(h, archive); err != nil {
			return u.bytes, &EntryError{Entry: h.Name, Err: truncated(err)}
		}
	}
	if err := u.finish(); err != nil {
		return u.bytes, err
	}
	// What pads the archive counts like a file: it has to be read for the
	// digest, and may be as much as somebody likes.
	left := limits.Bytes - u.bytes
	n, err := io.Copy(io.Discard, io.LimitReader(r, left+1))
	if err == nil && n > left {
		err = fmt.Errorf("%w of %d bytes", ErrLimit, limits.Bytes)
	}
	return u.bytes, err
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the archive is cut short: %w", err)
	}
	return err
}

// unpacker is the state of one Unpack.
type unpacker struct {
	root    *os.Root
	limits  Limits
	parents parentCache

	bytes   int64
	headers int64
	entries int
	// whiteouts are the names hidden so far; some may have been replaced.
	whiteouts []string
	// dirTimes are set at the end: every new entry changes its parent's.
	dirTimes []dirTime
}

type dirTime struct {
	name string
	at   time.Time
}

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	// reservedPrefix are names aufs used for itself; docker leaves them out.
	reservedPrefix = ".wh..wh."
)

// entry writes one entry.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if err := errors.Join(u.count(1), u.countHeader(h)); err != nil {
		return err
	}
	name, err := u.localName(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	dir, base := path.Split(name)
	dir = path.Clean("./" + dir)
	switch {
	case base == opaqueName:
		return u.makeOpaque(dir)
	case strings.HasPrefix(base, reservedPrefix):
		return nil
	case strings.HasPrefix(base, whiteoutPrefix):
		return u.whiteout(dir, strings.TrimPrefix(base, whiteoutPrefix))
	case inWhiteout(dir):
		return errors.New("lies below a whiteout")
	case name == ".":
		return u.top(h)
	}
	return u.file(dir, base, h, content)
}

// count adds to the number of entries. Directories nobody listed count as well.
func (u *unpacker) count(n int) error {
	if u.entries += n; u.entries > u.limits.Entries {
		return fmt.Errorf("%w of %d entries", ErrLimit, u.limits.Entries)
	}
	return nil
}

// countHeader adds to the bytes that describe entries. A name may have a megabyte
// (archive/tar), of which a compressed archive needs next to nothing, and those of
// directories are kept to the end.
func (u *unpacker) countHeader(h *tar.Header) error {
	u.headers += int64(len(h.Name) + len(h.Linkname))
	for key, value := range h.PAXRecords {
		u.headers += int64(len(key) + len(value))
	}
	if u.headers > u.limits.Headers {
		return fmt.Errorf("%w of %d bytes of names and attributes", ErrLimit, u.limits.Headers)
	}
	return nil
}

// localName makes an entry's name relative to the layer. A leading slash is
// what some archivers write and docker takes off; a step upwards is an attack,
// even where it would come back down.
func (u *unpacker) localName(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", errors.New("not a usable name")
	}
	parts := strings.Split(name, "/")
	if slices.Contains(parts, "..") {
		return "", errors.New("leads out of the layer")
	}
	if len(parts) > u.limits.Depth {
		return "", fmt.Errorf("%w of %d directories", ErrLimit, u.limits.Depth)
	}
	return path.Clean("./" + name), nil
}

func inWhiteout(dir string) bool {
	return slices.ContainsFunc(strings.Split(dir, "/"), func(part string) bool { return strings.HasPrefix(part, whiteoutPrefix) })
}

// finish does what had to wait for the last entry.
func (u *unpacker) finish() error {
	u.parents.close()
	if err := u.dropHidden(); err != nil {
		return err
	}
	for _, d := range slices.Backward(u.dirTimes) {
		if err := u.setDirTime(d); err != nil {
			return fmt.Errorf("entry %q: %w", d.name, err)
		}
	}
	return nil
}
