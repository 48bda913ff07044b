package runner

import (
	"fmt"
	"slices"
	"strconv"
)

// Change is what may become of a container after it was made. One field is set.
// The holder of the container's lock carries it out: a command while the
// container is stopped, its monitor while it runs.
type Change struct {
	Connect    *Endpoint `json:"connect,omitempty"`
	Disconnect string    `json:"disconnect,omitempty"` // a network's name
	Rename     string    `json:"rename,omitempty"`
	// Stop: somebody wants the container to end, so it is not to be restarted.
	Stop bool `json:"stop,omitempty"`
	// Keep: it is to be started again at once, so what was to be removed at its end
	// (--rm) stays this time.
	Keep bool `json:"keep,omitempty"`
}

// NotConnectedError: there is nothing to disconnect.
type NotConnectedError struct{ Container, Network string }

func (e *NotConnectedError) Error() string {
	return fmt.Sprintf("container %s is not connected to network %s", e.Container, e.Network)
}

// Connect adds an endpoint and gives it an interface name and its names.
func (c *Config) Connect(e Endpoint) error {
	if !c.Network.OwnNamespace() {
		return fmt.Errorf("container %s has no network namespace of its own (it was made with --network %s) and can't be connected to a network", c.Name, c.Network.Kind)
	}
	if slices.ContainsFunc(c.Endpoints, func(o Endpoint) bool { return o.Network == e.Network }) {
		return fmt.Errorf("container %s is connected to network %s already", c.Name, e.Network)
	}
	endpoints := append(slices.Clone(c.Endpoints), e)
	if err := NameInterfaces(endpoints); err != nil {
		return err
	}
	c.Network.Kind, c.Endpoints = NetworkAttached, endpoints
	c.NameEndpoints()
	return nil
}

// Disconnect takes the endpoint on a network away. With the last one the
// container is left with lo only.
func (c *Config) Disconnect(network string) error {
	i := slices.IndexFunc(c.Endpoints, func(e Endpoint) bool { return e.Network == network })
	if i < 0 {
		return &NotConnectedError{Container: c.Name, Network: network}
	}
	c.Endpoints = slices.Delete(slices.Clone(c.Endpoints), i, i+1)
	return nil
}

// NameEndpoints gives each endpoint the names it is known by: the container's,
// the aliases asked for, the short ID.
func (c *Config) NameEndpoints() {
	c.Endpoints = slices.Clone(c.Endpoints)
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		aliases := slices.DeleteFunc(slices.Clone(e.Aliases), func(a string) bool { return a == c.Name })
		e.Names = append(append([]string{c.Name}, aliases...), c.ID.Short())
		e.Host = c.Hostname
	}
}

// NameInterfaces gives eth0, eth1 ... (or what the network says in place of eth)
// to the endpoints that have no name, in their order.
func NameInterfaces(endpoints []Endpoint) error {
	taken := map[string]bool{"lo": true}
	for _, e := range endpoints {
		if e.IfName != "" && taken[e.IfName] {
			return fmt.Errorf("the interface name %s is used twice", e.IfName)
		}
		taken[e.IfName] = true
	}
	for i := range endpoints {
		e := &endpoints[i]
		for n := 0; e.IfName == ""; n++ {
			if name := e.prefix() + strconv.Itoa(n); !taken[name] {
				e.IfName, taken[name] = name, true
			}
		}
	}
	return nil
}

func (e Endpoint) prefix() string {
	if e.IfPrefix != "" {
		return e.IfPrefix
	}
	return "eth"
}
