package plugins

import (
	"context"

	"github.com/netctl/netctl/plugins/internal/cni"
)

// Preview gives the commands that a person would type in place of ADD, plugin
// by plugin. What a foreign plugin does is not known.
func (l *List) Preview(ctx context.Context, call Call) ([]string, error) {
	var lines []string
	for _, e := range l.entries {
		mode, ok := findMode(e.kind)
		if !ok || mode.Chained {
			lines = append(lines, "# plugin "+e.kind+" is called here")
			continue
		}
		req, err := l.request(cni.Add, e, call, nil)
		if err != nil {
			return nil, err
		}
		a, err := l.host.attacher(mode)
		if err != nil {
			return nil, err
		}
		more, err := a.Preview(ctx, req)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	return lines, nil
}
