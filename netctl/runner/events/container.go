package events

import (
	"maps"

	"github.com/netctl/netctl/netctl/runner"
)

// OfContainer is an event of a container. Its attributes are, as in docker, the
// labels, the image and the name, and what the event has of its own.
func OfContainer(c *runner.Config, action string, more map[string]string) Event {
	attributes := maps.Clone(c.Labels)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes["image"], attributes["name"] = c.Image, c.Name
	maps.Copy(attributes, more)
	return Event{Kind: Container, Action: action, ID: string(c.ID), Attributes: attributes}
}
