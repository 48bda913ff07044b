package page

import (
	"fmt"
	"math"
	"strings"
)

// A Line is a named curve of a plot.
type Line struct {
	Name   string
	Points []Point
}

// A Point of a curve; y must be positive, because its axis is logarithmic.
type Point struct{ X, Y float64 }

// The picture's measures, in pixels.
const (
	width, height        = 760, 400
	left, right          = 60, 230
	top, bottom          = 40, 45
	innerWide, innerHigh = width - left - right, height - top - bottom
)

// colours are told apart by most eyes, also in grey (Okabe and Ito).
var colours = []string{"#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#999999"}

// Lines draws curves over a linear x and a logarithmic y.
func Lines(title, xLabel, yLabel string, lines []Line) string {
	var b strings.Builder
	a := axesOf(lines)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="14">%s</text>`+"\n", left, escape(title))
	a.draw(&b, xLabel, yLabel)
	for i, l := range lines {
		drawLine(&b, a, l, colours[i%len(colours)], top+12+18*i)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// axes map values to the picture.
type axes struct {
	xs        []float64 // where there are points
	maxX      float64
	low, high float64 // decades of y: 10^low..10^high
}

func axesOf(lines []Line) axes {
	a := axes{low: math.Inf(1), high: math.Inf(-1)}
	seen := map[float64]bool{}
	for _, l := range lines {
		for _, p := range l.Points {
			a.low, a.high = min(a.low, math.Floor(math.Log10(p.Y))), max(a.high, math.Ceil(math.Log10(p.Y)))
			a.maxX = max(a.maxX, p.X)
			if !seen[p.X] {
				seen[p.X] = true
				a.xs = append(a.xs, p.X)
			}
		}
	}
	if a.high <= a.low {
		a.high = a.low + 1
	}
	if a.maxX == 0 {
		a.maxX = 1
	}
	return a
}

func (a axes) x(v float64) float64 { return left + v/a.maxX*innerWide }

func (a axes) y(v float64) float64 {
	return top + (a.high-math.Log10(v))/(a.high-a.low)*innerHigh
}

func (a axes) draw(b *strings.Builder, xLabel, yLabel string) {
	for decade := a.low; decade <= a.high; decade++ {
		y := a.y(math.Pow(10, decade))
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", left, width-right, y, y)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", left-6, y+4, math.Pow(10, decade))
	}
	for _, x := range a.xs {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", a.x(x), height-bottom+18, x)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+innerWide/2, height-8, escape(xLabel))
	fmt.Fprintf(b, `<text x="14" y="%d" text-anchor="middle" transform="rotate(-90 14 %d)">%s</text>`+"\n", top+innerHigh/2, top+innerHigh/2, escape(yLabel))
}

func drawLine(b *strings.Builder, a axes, l Line, colour string, labelY int) {
	var points []string
	for _, p := range l.Points {
		points = append(points, fmt.Sprintf("%.1f,%.1f", a.x(p.X), a.y(p.Y)))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", a.x(p.X), a.y(p.Y), colour)
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
	x := width - right + 14
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="12" height="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, labelY-6, colour, x+18, labelY, escape(l.Name))
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
