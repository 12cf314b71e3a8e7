package main

import (
	"fmt"
	"math"
	"strings"
)

// A tick is a mark on an axis.
type tick struct {
	at   float64
	text string
}

// A series is one curve. Its y are drawn to a logarithmic scale and must be above zero; its x are as the caller says.
type series struct {
	name string
	ours bool
	x, y []float64
}

// A curveChart is some curves over one another.
type curveChart struct {
	title, note string
	xTicks      []tick
	yText       func(float64) string
	series      []series
}

// ourColors and colors can be told apart on light and dark.
var (
	ourColors = []string{"#2f81d8", "#66aef0"}
	colors    = []string{"#e08a1e", "#3a9d5d", "#9a6fd0", "#d0524f", "#1fa3a3", "#8b949e"}
)

// dashes tell curves apart for those who can't by color.
var dashes = []string{"", "7 3", "2 3", "9 3 2 3"}

// curves draws the chart, with a legend above it.
func curves(c curveChart) string {
	const plot, bottom, right = 300, 34, 24
	d := &drawing{width: drawingWidth, title: c.title}
	d.text(16, 26, "start", "title", c.title)
	d.text(16, 46, "start", "", c.note)
	top := d.legend(c.series, 70) + 16
	low, high := c.span()
	ticks := logTicks(low, high, c.yText)
	left := 24.0
	for _, t := range ticks {
		left = max(left, 24+textWidth(t.text))
	}
	first, last := c.xTicks[0].at, c.xTicks[len(c.xTicks)-1].at
	x := func(v float64) float64 { return left + (v-first)/(last-first)*(drawingWidth-left-right) }
	y := func(v float64) float64 { return top + plot - (math.Log10(v)-low)/(high-low)*plot }
	for _, t := range ticks {
		d.line(left, y(t.at), drawingWidth-right, y(t.at))
		d.text(left-8, y(t.at)+4, "end", "", t.text)
	}
	for i, t := range c.xTicks {
		d.line(x(t.at), top, x(t.at), top+plot)
		anchor := "middle"
		if i == len(c.xTicks)-1 {
			anchor = "end"
		}
		d.text(min(x(t.at), drawingWidth-16), top+plot+18, anchor, "", t.text)
	}
	looks := strokes(c.series)
	for i, s := range c.series {
		var points []string
		for j := range s.x {
			points = append(points, px(x(s.x[j]))+","+px(y(s.y[j])))
		}
		fmt.Fprintf(&d.body, `  <polyline points="%s" fill="none" stroke-linejoin="round"%s/>`+"\n", strings.Join(points, " "), looks[i])
	}
	d.height = top + plot + bottom
	return d.String()
}

// strokes are how the curves look: ours are blue, and wider.
func strokes(all []series) (looks []string) {
	seen := map[bool]int{}
	for _, s := range all {
		i, palette, width := seen[s.ours], colors, "1.75"
		seen[s.ours]++
		if s.ours {
			palette, width = ourColors, "3"
		}
		look := fmt.Sprintf(` stroke="%s" stroke-width="%s"`, palette[i%len(palette)], width)
		if dash := dashes[i%len(dashes)]; dash != "" {
			look += ` stroke-dasharray="` + dash + `"`
		}
		looks = append(looks, look)
	}
	return looks
}

// legend names the curves in lines that begin at y, and returns where it ends.
func (d *drawing) legend(all []series, y float64) float64 {
	const sample, gap = 26, 20
	x, looks := 16.0, strokes(all)
	for i, s := range all {
		width := sample + 6 + textWidth(s.name)
		if x > 16 && x+width > drawingWidth-16 {
			x, y = 16, y+20
		}
		fmt.Fprintf(&d.body, `  <line x1="%s" y1="%s" x2="%s" y2="%s"%s/>`+"\n", px(x), px(y-4), px(x+sample), px(y-4), looks[i])
		d.text(x+sample+6, y, "start", "", s.name)
		x += width + gap
	}
	return y
}

// span is the range of all y as powers of ten, half a decade at least, with a little room.
func (c curveChart) span() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range c.series {
		for _, v := range s.y {
			low, high = min(low, math.Log10(v)), max(high, math.Log10(v))
		}
	}
	if missing := 0.5 - (high - low); missing > 0 {
		low, high = low-missing/2, high+missing/2
	}
	return low - 0.05, high + 0.05
}

// logTicks marks powers of ten, and where these are few also twice and five times as much.
func logTicks(low, high float64, text func(float64) string) (ticks []tick) {
	steps := []float64{1, 2, 5}
	if high-low > 2.5 {
		steps = steps[:1]
	}
	for power := math.Floor(low); power <= high; power++ {
		for _, s := range steps {
			if v := s * math.Pow(10, power); math.Log10(v) >= low && math.Log10(v) <= high {
				ticks = append(ticks, tick{v, text(v)})
			}
		}
	}
	return ticks
}
