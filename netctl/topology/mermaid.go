package topology

import (
	"fmt"
	"strings"
)

// Mermaid is the drawing in Mermaid's language of flow charts, which GitHub and
// others render in Markdown.
func (m Model) Mermaid() string {
	var out strings.Builder
	fmt.Fprintln(&out, "flowchart LR")
	fmt.Fprintf(&out, "  host([%s])\n", quoted(m.Host))
	ids := map[string]string{}
	for i, c := range m.containers() {
		ids[c.Container] = fmt.Sprintf("c%d", i)
		fmt.Fprintf(&out, "  c%d[%s]\n", i, quoted(c.label()))
		for _, p := range c.Ports {
			fmt.Fprintf(&out, "  host -->|%s| c%d\n", quoted(p), i)
		}
	}
	for i, n := range m.Networks {
		fmt.Fprintf(&out, "  n%d{{%s}}\n", i, quoted(n.title()))
		for _, member := range n.Members {
			link := "---"
			if !member.running() {
				link = "-.-"
			}
			label := ""
			if place := member.place(); place != "" {
				label = "|" + quoted(place) + "|"
			}
			fmt.Fprintf(&out, "  n%d %s%s %s\n", i, link, label, ids[member.Container])
		}
	}
	for i, a := range m.Apart {
		fmt.Fprintf(&out, "  a%d[%s]\n", i, quoted(Member{Container: a.Container, Status: a.Status}.label()))
		switch target := strings.TrimPrefix(a.Where, "container:"); {
		case a.Where == "host":
			fmt.Fprintf(&out, "  host --- a%d\n", i)
		case ids[target] != "":
			fmt.Fprintf(&out, "  %s --- a%d\n", ids[target], i)
		}
	}
	return out.String()
}

// quoted is a text between quotation marks, which Mermaid writes as entities
// inside of them.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;").Replace(text) + `"`
}
