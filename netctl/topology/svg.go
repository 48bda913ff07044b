package topology

import (
	"cmp"
	"fmt"
	"html"
	"strings"
)

// The picture: each network is a line from its name on the left to the right
// margin, each container a box below, with a wire up to each of its networks and
// its published ports underneath. All lengths are in pixels.
const (
	margin     = 24
	labelWidth = 300 // names of networks
	rowHeight  = 72
	colWidth   = 210
	boxWidth   = 170
	boxHeight  = 40
	wireGap    = 30
	portHeight = 20
)

const style = `text{font-family:system-ui,sans-serif;font-size:13px;fill:#222}
.name{font-weight:600}.small{font-size:11px;fill:#555}
.net{stroke-width:4;stroke-linecap:round}.wire{stroke:#888;stroke-width:1.5}
.box{fill:#fff;stroke:#444;stroke-width:1.2}.off{stroke-dasharray:4 3;stroke:#aaa}
.port{fill:#e8f0fe;stroke:#4a7dd0}`

// colours of networks, told apart by colour-blind people, too (Okabe and Ito).
func colour(i int) string {
	colours := []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"}
	return colours[i%len(colours)]
}

// SVG is the picture.
func (m Model) SVG() string {
	d := drawing{model: m, boxes: m.containers(), columns: map[string]int{}}
	for i, b := range d.boxes {
		d.columns[b.Container] = i
	}
	for _, a := range m.Apart {
		d.boxes = append(d.boxes, Member{Container: a.Container, Status: a.Status, Interface: where(a)})
	}
	return d.svg()
}

func where(a Apart) string {
	switch a.Where {
	case "host":
		return "the host's network"
	case "none":
		return "no network"
	}
	return "network of " + strings.TrimPrefix(a.Where, "container:")
}

type drawing struct {
	model   Model
	boxes   []Member
	columns map[string]int // of containers on networks
	out     strings.Builder
	wires   map[string]int // so far, of each container
}

func (d *drawing) svg() string {
	ports := 0
	for _, b := range d.boxes {
		ports = max(ports, len(b.Ports))
	}
	width := 2*margin + labelWidth + max(1, len(d.boxes))*colWidth
	height := d.boxTop() + boxHeight + ports*portHeight + 2*margin
	fmt.Fprintf(&d.out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`+"\n", width, height, width, height)
	fmt.Fprintf(&d.out, "<style>%s</style>\n<rect width=\"%d\" height=\"%d\" fill=\"#fafafa\"/>\n", style, width, height)
	d.text(margin, margin+10, "name", d.model.Host)
	d.wires = map[string]int{}
	for i, n := range d.model.Networks {
		d.network(i, n, width)
	}
	for i, b := range d.boxes {
		d.box(i, b)
	}
	d.out.WriteString("</svg>\n")
	return d.out.String()
}

func (d *drawing) rowY(i int) int { return margin + 56 + i*rowHeight }
func (d *drawing) boxTop() int    { return d.rowY(len(d.model.Networks)) }
func boxLeft(column int) int      { return margin + labelWidth + column*colWidth + (colWidth-boxWidth)/2 }

func (d *drawing) network(i int, n Network, width int) {
	y := d.rowY(i)
	fmt.Fprintf(&d.out, `<line class="net" stroke="%s" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", colour(i), margin, y, width-margin, y)
	d.text(margin, y-8, "name", n.Name)
	rest, _ := strings.CutPrefix(n.title(), n.Name+"  ")
	d.text(margin, y+18, "small", rest)
	for _, member := range n.Members {
		d.wire(i, y, member)
	}
}

// wire leads from a network down to the container. The wires of one container
// stand side by side.
func (d *drawing) wire(network, y int, m Member) {
	x := boxLeft(d.columns[m.Container]) + 20 + d.wires[m.Container]*wireGap
	d.wires[m.Container]++
	class := "wire"
	if !m.running() {
		class = "wire off"
	}
	fmt.Fprintf(&d.out, `<line class="%s" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", class, x, y, x, d.boxTop())
	fmt.Fprintf(&d.out, `<circle cx="%d" cy="%d" r="5" fill="%s"/>`+"\n", x, y, colour(network))
	words := []string{m.Interface}
	if len(m.Addresses) > 0 {
		words = append(words, m.Addresses[0].String())
	}
	d.text(x+7, y-8, "small", strings.TrimSpace(strings.Join(words, " ")))
	for i, a := range m.Addresses[min(1, len(m.Addresses)):] {
		d.text(x+7, y+16+i*12, "small", a.String())
	}
}

func (d *drawing) box(column int, m Member) {
	x, y := boxLeft(column), d.boxTop()
	class := "box"
	if !m.running() {
		class = "box off"
	}
	fmt.Fprintf(&d.out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`+"\n", class, x, y, boxWidth, boxHeight)
	note := cmp.Or(m.Status, "of another runtime")
	if m.Interface != "" {
		note = strings.TrimPrefix(note+", "+m.Interface, ", ")
	}
	d.text(x+10, y+17, "name", clip(m.Container, 22))
	d.text(x+10, y+32, "small", note)
	for i, p := range m.Ports {
		top := y + boxHeight + 4 + i*portHeight
		fmt.Fprintf(&d.out, `<rect class="port" x="%d" y="%d" width="%d" height="%d" rx="3"/>`+"\n", x, top, boxWidth, portHeight-4)
		d.text(x+10, top+12, "small", clip(p, 28))
	}
}

func (d *drawing) text(x, y int, class, text string) {
	fmt.Fprintf(&d.out, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, html.EscapeString(text))
}

// clip keeps a text inside of its box.
func clip(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}
