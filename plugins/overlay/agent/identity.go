package agent

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/netctl/netctl/plugins/overlay/agent/store"
	"github.com/netctl/netctl/plugins/overlay/handover"
)

// memory is what a host remembers over reboots, in DIR/node.json: who it is and
// what it owns, with the fencing tokens.
type memory struct {
	Schema int `json:"schema"`
	// ID is made once. Machine is the machine ID beside which it was made: in a
	// cloned image it is another one, and the clone makes an identity of its own.
	ID      store.NodeID    `json:"id"`
	Machine string          `json:"machine"`
	Epoch   int64           `json:"epoch"`
	Cluster store.ClusterID `json:"cluster,omitempty"`
	// Kind is that of the store that Cluster is of.
	Kind  string        `json:"kind,omitempty"`
	Owned []store.Claim `json:"owned,omitempty"`
	Lost  []store.Claim `json:"lost,omitempty"`
	// Safe: the store has gone back in time, and nobody has confirmed yet that
	// what it does not know of may be deleted.
	Safe bool `json:"safe,omitempty"`
}

const memorySchema = 1

// remember reads the memory, or makes a new identity.
func remember(dir, machine string) (memory, error) {
	path := filepath.Join(dir, "node.json")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return memory{}, fmt.Errorf("read this host's identity: %w", err)
	}
	if err == nil {
		var m memory
		if err := json.Unmarshal(data, &m); err != nil {
			return memory{}, fmt.Errorf("%s is damaged: %w: restore it, or remove it to join as a new host", path, err)
		}
		if m.Schema > memorySchema {
			return memory{}, fmt.Errorf("%s has schema %d, and this program knows %d: update it", path, m.Schema, memorySchema)
		}
		if m.Machine == machine {
			return m, nil
		}
	}
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	m := memory{Schema: memorySchema, ID: store.NodeID(hex.EncodeToString(raw)), Machine: machine, Epoch: 1}
	return m, m.save(dir)
}

// saveMemory writes what is to be remembered now. A later call writes later.
func (a *Agent) saveMemory() error {
	a.disk.Lock()
	defer a.disk.Unlock()
	var m memory
	a.with(func(s *state) {
		m = s.memory
		m.Owned, m.Lost = slices.Clone(m.Owned), slices.Clone(m.Lost)
	})
	return m.save(a.dir)
}

func (m memory) save(dir string) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode this host's identity: %w", err)
	}
	if _, err := handover.Replace(filepath.Join(dir, "node.json"), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write this host's identity: %w", err)
	}
	return nil
}

// machineID is that of systemd's machine-id(5). A host without one is known by
// its state directory alone.
func machineID() string {
	data, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// snapshot is the last view, in DIR/view.json, to start from while the store is
// down.
func loadSnapshot(dir string) (store.View, bool, error) {
	data, err := os.ReadFile(filepath.Join(dir, "view.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return store.View{}, false, nil
	}
	if err != nil {
		return store.View{}, false, fmt.Errorf("read the snapshot: %w", err)
	}
	var v store.View
	if err := json.Unmarshal(data, &v); err != nil || v.Schema > store.Schema {
		return store.View{}, false, fmt.Errorf("snapshot in %s can't be read (schema %d): %w", dir, v.Schema, err)
	}
	return v, true, nil
}

func saveSnapshot(dir string, v store.View) error {
	data, err := json.Marshal(v)
	if err == nil {
		_, err = handover.Replace(filepath.Join(dir, "view.json"), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	return nil
}
