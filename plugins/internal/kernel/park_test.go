package kernel

import (
	"os"
	"testing"
	"time"

	"github.com/netctl/netctl/test/netns"
)

// A parked descriptor is closed by nobody of this process, and in the end by
// somebody: with a link that is deleted, and without.
func TestParkedDescriptorIsClosedElsewhere(t *testing.T) {
	host, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for _, deletes := range []bool{true, false} {
		if err := host.Run("ip", "link", "add", "v1", "type", "veth", "peer", "v2"); err != nil {
			t.Fatal(err)
		}
		parked, end := pipe(t)
		err = host.Do(func() error {
			h, err := OpenHost()
			if err != nil {
				return err
			}
			h.Park(parked.Fd())
			_ = parked.Close()
			assertOpen(t, end) // h has it
			if deletes {
				err = h.DeleteLink("v1")
			}
			h.Close()
			if h.parked != 0 {
				t.Error("still parked here")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = end.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := end.Read(make([]byte, 1)); os.IsTimeout(err) {
			t.Errorf("deleting a link: %v: the descriptor is never closed", deletes)
		}
		_ = host.Run("ip", "link", "del", "v1")
	}
}

func pipe(t *testing.T) (write, read *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close(); _ = write.Close() })
	return write, read
}

// assertOpen fails when nobody has the other end any more.
func assertOpen(t *testing.T, end *os.File) {
	t.Helper()
	_ = end.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := end.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("closed already: %v", err)
	}
}
