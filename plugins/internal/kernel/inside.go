package kernel

// Do runs fn on a thread inside the container's namespace: sockets and rules
// that it makes belong there.
func (c *Container) Do(fn func() error) error { return c.do(fn) }
