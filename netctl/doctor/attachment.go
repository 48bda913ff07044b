package doctor

import (
	"context"
	"errors"
	"fmt"
)

// attachmentChecks compare everything with what was made: the last resort,
// because its message is less to the point.
func attachmentChecks() []Check {
	return []Check{{"everything is as it was attached", nil, attachments}}
}

func attachments(ctx context.Context, c *Case) (*Finding, error) {
	subjects := c.All
	if c.Subject != nil {
		subjects = []*Container{c.Subject}
	}
	for _, s := range subjects {
		if !s.Running() || !s.Own() {
			continue
		}
		for _, a := range s.Attached {
			err := c.World.Attachment(ctx, s.Name, a.Network.Name)
			var d *Difference
			if errors.As(err, &d) {
				return &Finding{fmt.Sprintf("%s on network %s: %s", s.Name, a.Network.Name, d.Text), "netctl reload"}, nil
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}
