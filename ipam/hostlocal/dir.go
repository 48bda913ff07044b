// Package hostlocal reads and writes the files in which the reference
// host-local plugin keeps its reservations, so that a live node can be switched
// from the reference binaries to ours and back in the middle of its life, and
// both can work side by side meanwhile.
//
//	<dataDir>/<network>/
//	    10.88.0.5             one file for each reserved address: container ID,
//	                          CR LF, interface name, no newline at the end
//	    last_reserved_ip.<n>  the address given out last from the n-th set of ranges
//	    lock                  held (flock) during each change
//
// A file that names no container is a manual reservation, made by an
// administrator; nobody but he takes it away. Files of the reference's first
// releases hold a container ID alone.
//
// What the reference reads anew at each call, package ledger remembers. To find
// out whether its copy is current, each change of ours ends by giving the
// directory a modification time of its own (Mark): any change by somebody else
// gives it another.
package hostlocal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// DefaultDataDir is the reference's.
const DefaultDataDir = "/var/lib/cni/networks"

// A Dir is the directory of one network, which may not exist. Its methods
// change nothing.
type Dir struct{ path string }

// In gives the network's directory under dataDir, which is DefaultDataDir if
// it is "".
func In(dataDir, network string) (Dir, error) {
	if dataDir == "" {
		dataDir = DefaultDataDir
	}
	path, err := filepath.Abs(filepath.Join(dataDir, network))
	if err != nil {
		return Dir{}, fmt.Errorf("data directory %s: %w", dataDir, err)
	}
	return Dir{path}, nil
}

func (d Dir) String() string { return d.path }

// File is the path of an address's file.
func (d Dir) File(a netip.Addr) string { return filepath.Join(d.path, a.String()) }

// Stamp is the directory's modification time. It is the zero time if there is
// no directory.
func (d Dir) Stamp() (time.Time, error) {
	info, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("data directory: %w", err)
	}
	return info.ModTime(), nil
}

// Read gives the reservation of an address, or false if there is none.
func (d Dir) Read(a netip.Addr) (Reservation, bool) {
	r := Reservation{Addr: a}
	// The name alone reserves: it keeps everybody from making the file.
	// What can't be read is nobody's to take away, like a manual one.
	info, err := os.Lstat(d.File(a))
	if err != nil {
		return r, !errors.Is(err, fs.ErrNotExist)
	}
	r.Modified = info.ModTime()
	if !info.Mode().IsRegular() {
		return r, true
	}
	content, err := readFile(d.File(a))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false
	}
	if err == nil {
		r.Holder, r.Damaged = parse(content)
		r.content = string(content)
	}
	return r, true
}

// Scan reads all reservations. It takes some microseconds for each.
func (d Dir) Scan() ([]Reservation, error) {
	dir, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	var all []Reservation
	for _, name := range names {
		a, ok := addressOf(name)
		if !ok {
			continue
		}
		if r, found := d.Read(a); found {
			all = append(all, r)
		}
	}
	return all, nil
}

// addressOf reads a file's name. Only the form that the reference writes
// counts, because its exclusive creation sees no other.
func addressOf(name string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(name)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.String() != name {
		return netip.Addr{}, false
	}
	return a, true
}

// Cursor is the address given out last from the n-th set of ranges, or the zero
// Addr if that is not known.
func (d Dir) Cursor(n int) netip.Addr {
	content, err := readFile(d.cursorFile(n))
	if err != nil {
		return netip.Addr{}
	}
	return parseCursor(content)
}

func (d Dir) cursorFile(n int) string {
	return filepath.Join(d.path, fmt.Sprintf("last_reserved_ip.%d", n))
}

// readFile reads a small file.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxContent))
}
