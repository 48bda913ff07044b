package netctl

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"
)

// What a container has made a program of its root's is, once copied, one of the
// host's root: with the set-user-ID bit or file capabilities anybody who can reach
// it has root's powers, and a device node is the device. So without --archive what
// is copied to the host has none of these, as with cp(1).

// withoutPowers is an archive without what gives power over the host. A device node
// is an error.
func withoutPowers(archived io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(copyWithoutPowers(w, archived)) }()
	return r
}

func copyWithoutPowers(to io.Writer, from io.Reader) error {
	in, out := tar.NewReader(from), tar.NewWriter(to)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			return fmt.Errorf("%s is a device node (%d, %d): to copy it as such, give --archive", strings.TrimSuffix(h.Name, "/"), h.Devmajor, h.Devminor)
		}
		if h.Typeflag != tar.TypeDir {
			h.Mode &^= 0o6000
		}
		delete(h.PAXRecords, "SCHILY.xattr.security.capability")
		h.Xattrs = nil //lint:ignore SA1019 the reader still fills it, and the writer would take it from here
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}
