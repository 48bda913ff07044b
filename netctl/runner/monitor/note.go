package monitor

import "github.com/netctl/netctl/netctl/runner/events"

// note records that something happened to the container.
func (m *monitor) note(action string, more map[string]string) {
	cfg := m.config()
	if err := m.events.Append(events.OfContainer(&cfg, action, more)); err != nil {
		m.log.Warn("event", "action", action, "err", err)
	}
}
