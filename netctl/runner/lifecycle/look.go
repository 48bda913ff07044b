package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/netctl/netctl/netctl/runner"
	"github.com/netctl/netctl/netctl/runner/engine"
)

// Pids are the container's processes in the host's numbering.
func (c *Containers) Pids(rec *runner.Container) ([]int, error) {
	box, err := c.engine().Load(string(rec.Config.ID))
	if err != nil {
		return nil, err
	}
	return box.Pids()
}

// Pause freezes the container's processes.
func (c *Containers) Pause(rec *runner.Container) error {
	if rec.State.Status != runner.StatusRunning {
		return fmt.Errorf("container %s is not running", rec.Name)
	}
	box, err := c.engine().Load(string(rec.Config.ID))
	if err == nil {
		err = box.Pause()
	}
	if err != nil {
		return fmt.Errorf("pause container %s: %w", rec.Name, err)
	}
	c.note(&rec.Config, "pause", nil)
	return c.Store.SetPaused(rec.Config.ID, true)
}

// Unpause lets them run on.
func (c *Containers) Unpause(rec *runner.Container) error {
	if rec.State.Status != runner.StatusPaused {
		return fmt.Errorf("container %s is not paused", rec.Name)
	}
	box, err := c.engine().Load(string(rec.Config.ID))
	if err == nil {
		err = box.Resume()
	}
	if err != nil {
		return fmt.Errorf("unpause container %s: %w", rec.Name, err)
	}
	c.note(&rec.Config, "unpause", nil)
	return c.Store.SetPaused(rec.Config.ID, false)
}

// Traffic is what went through a container's links, lo left out, in bytes.
type Traffic struct{ Received, Sent uint64 }

// Stats reads what a running container uses. On a network that is not its own
// its traffic is not known, and zero.
func (c *Containers) Stats(rec *runner.Container) (*engine.Stats, Traffic, error) {
	box, err := c.engine().Load(string(rec.Config.ID))
	if err != nil {
		return nil, Traffic{}, err
	}
	s, err := box.Stats()
	if err != nil || !rec.Network.OwnNamespace() {
		return s, Traffic{}, err
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(rec.State.Pid) + "/net/dev")
	if errors.Is(err, os.ErrNotExist) {
		return nil, Traffic{}, engine.ErrNotRunning
	}
	return s, parseTraffic(string(text)), err
}

// parseTraffic sums up /proc/net/dev: two heading lines, then per link the name
// and a colon, the bytes received first and the bytes sent in the ninth column.
func parseTraffic(text string) Traffic {
	var t Traffic
	for line := range strings.Lines(text) {
		name, counts, ok := strings.Cut(line, ":")
		fields := strings.Fields(counts)
		if !ok || len(fields) < 9 || strings.TrimSpace(name) == "lo" {
			continue
		}
		received, _ := strconv.ParseUint(fields[0], 10, 64)
		sent, _ := strconv.ParseUint(fields[8], 10, 64)
		t.Received += received
		t.Sent += sent
	}
	return t
}
