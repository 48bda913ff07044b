package monitor

import (
	"fmt"
	"os"

	"github.com/netctl/netctl/netctl/runner/namespace"
)

// openUsers opens the container's user namespace: the one that its network
// namespace was made in, so that its root may set up links and mount their sysfs; a
// new one where the network is somebody else's. It is kept open, for a program that
// is run again.
func (m *monitor) openUsers() (err error) {
	if !m.cfg.Userns.Own() {
		return nil
	}
	if m.cfg.Network.OwnNamespace() {
		m.users, err = namespace.OwnerOf(m.state.Netns)
	} else {
		m.users, err = namespace.NewUser(m.cfg.Userns.IDs)
	}
	if err != nil {
		return err
	}
	m.overlay = m.overlay.SeenBy(m.users, m.cfg.Userns.IDs)
	return nil
}

// usersPath is where the engine finds it, in whichever process. The dot is for
// libcontainer 1.5, which takes any path that begins like /proc/PID/ for that
// process's namespace and would read our own ids.
func (m *monitor) usersPath() string {
	if m.users == nil {
		return ""
	}
	return fmt.Sprintf("/proc/./%d/fd/%d", os.Getpid(), m.users.Fd())
}
