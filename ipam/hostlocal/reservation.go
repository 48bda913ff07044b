package hostlocal

import (
	"bytes"
	"net/netip"
	"strings"
	"time"
)

// maxContent bounds what is read of a file, in bytes; a container ID and an
// interface name are far below.
const maxContent = 4096

// A Holder is whom an address is reserved for.
type Holder struct {
	Container string // "" in a manual reservation
	IfName    string // "" in one of the old format: it matches every interface
}

// A Reservation is one address's file.
type Reservation struct {
	Addr netip.Addr
	Holder
	Modified time.Time
	// Damaged means that the file is empty, or all zeros: the reference was
	// killed between making the file and writing it, or the power failed
	// before the content was on disk (plugins#498).
	Damaged bool
	content string
}

// CutFrom tells whether the file looks like what is left of one that was made
// for the holder: its beginning, or nothing of it. By itself that proves
// nothing, as an empty file can be an administrator's, and half a name somebody
// else's. It takes a witness that the address was given to this holder.
func (r Reservation) CutFrom(h Holder) bool {
	if h.Container == "" || h.IfName == "" { // not of the present format
		return false
	}
	whole := string(h.content())
	return r.Damaged || r.content != whole && strings.HasPrefix(whole, r.content)
}

// Void tells that the reservation was made before the machine was started, and
// with that for a container that can't be alive.
//
// A damaged file names nobody. In the boot in which it was made it may be an
// ADD that is under way elsewhere, or an administrator's touch, so it stands
// like a manual reservation; after the next boot it is garbage. A manual
// reservation that is meant to last has some text in it.
//
// A time from before 2001 is that of a machine whose clock was not set when it
// wrote (they begin at 1970, 1980 or 2000), and says nothing.
func (r Reservation) Void(boot time.Time) bool {
	if r.Container == "" && !r.Damaged {
		return false
	}
	return plausible(r.Modified) && r.Modified.Before(boot)
}

func plausible(t time.Time) bool { return t.Year() > 2000 }

// isContainer tells what a runtime may call a container (CNI specification,
// "CNI operations": CNI_CONTAINERID). What is neither that nor the name of an
// interface is a person's note. (No regular expressions: compiling them would
// be part of every plugin's start.)
func isContainer(s string) bool {
	for i, c := range []byte(s) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return false
		}
	}
	return s != ""
}

// isInterface tells how Linux lets an interface be called.
func isInterface(s string) bool {
	return len(s) >= 1 && len(s) <= 15 && !strings.ContainsAny(s, "/: \t\n\v\f\r\x00")
}

// parse reads the content of an address's file. The reference compares it,
// without surrounding space, with what it would write.
func parse(content []byte) (h Holder, damaged bool) {
	if len(bytes.Trim(content, "\x00")) == 0 {
		return Holder{}, true
	}
	id, name, both := strings.Cut(strings.TrimSpace(string(content)), "\n")
	id = strings.TrimSuffix(id, "\r")
	if !isContainer(id) || both && !isInterface(name) {
		return Holder{}, false
	}
	return Holder{Container: id, IfName: name}, false
}

// content is what the reference writes.
func (h Holder) content() []byte { return []byte(h.Container + "\r\n" + h.IfName) }

// parseCursor gives the zero Addr for anything that is not an address.
func parseCursor(content []byte) netip.Addr {
	a, err := netip.ParseAddr(strings.TrimSpace(string(content)))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}
