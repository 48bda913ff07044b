package doctor

import (
	"context"
	"fmt"
	"strings"
)

// healthChecks come last: a container that is unhealthy is so for a reason, and the
// others know most of them.
func healthChecks() []Check {
	return []Check{{"its own health check is content", func(c *Case) bool { return c.Subject != nil && !c.asked() }, unhealthy}}
}

func unhealthy(_ context.Context, c *Case) (*Finding, error) {
	f := c.Subject.Unhealthy
	if f == nil {
		return nil, nil
	}
	said, _, _ := strings.Cut(strings.TrimSpace(f.Output), "\n")
	if said == "" {
		said = "nothing"
	}
	return &Finding{fmt.Sprintf("%s is unhealthy: its health check has failed %d times and said: %s", c.Subject.Name, f.Streak, said),
		fmt.Sprintf("netctl logs %s, and netctl healthcheck run %s", c.Subject.Name, c.Subject.Name)}, nil
}
