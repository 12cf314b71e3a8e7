package main

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// A drawing is an SVG that grows. Its colors are neutral: they read on a light and on a dark page.
type drawing struct {
	width, height float64
	title         string
	body          strings.Builder
}

const (
	drawingWidth = 760
	fontSize     = 12
	charWidth    = 6.9 // the most that the characters of a line take at fontSize, on average
)

const style = `  <style>
    text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #4b5563; }
    .title { font-size: 15px; font-weight: 600; fill: #1f2937; }
    .head { font-weight: 600; fill: #1f2937; }
    .axis { stroke: #9ca3af; stroke-opacity: 0.35; }
    .ours { fill: #2f81d8; }
    .theirs { fill: #9aa5b1; }
    @media (prefers-color-scheme: dark) {
      text { fill: #a3adb8; }
      .title, .head { fill: #e5e7eb; }
    }
  </style>
`

func (d *drawing) text(x, y float64, anchor, class, s string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(&d.body, `  <text x="%s" y="%s" text-anchor="%s"%s>%s</text>`+"\n", px(x), px(y), anchor, class, html.EscapeString(s))
}

func (d *drawing) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(&d.body, `  <rect x="%s" y="%s" width="%s" height="%s" rx="2" class="%s"/>`+"\n", px(x), px(y), px(w), px(h), class)
}

func (d *drawing) line(x1, y1, x2, y2 float64) {
	fmt.Fprintf(&d.body, `  <line x1="%s" y1="%s" x2="%s" y2="%s" class="axis"/>`+"\n", px(x1), px(y1), px(x2), px(y2))
}

// String returns the file.
func (d *drawing) String() string {
	title := html.EscapeString(d.title)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img" aria-label="%s">`+"\n  <title>%s</title>\n",
		px(d.width), px(d.height), px(d.width), px(d.height), title, title) + style + d.body.String() + "</svg>\n"
}

// px writes a length with one decimal at most, so that files don't differ by what nobody sees.
func px(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") }

func textWidth(s string) float64 { return charWidth * float64(utf8.RuneCountInString(s)) }

// A bar is one line of a bar chart.
type bar struct {
	label, text string
	value       float64
	ours        bool
}

// A barGroup is bars to one scale.
type barGroup struct {
	title string
	bars  []bar
}

// bars draws groups below each other, each to its own scale: the label left of the bar, what it says right of it.
func bars(title, note string, groups []barGroup) string {
	const rowHeight, barHeight, gap = 22, 14, 12
	d := &drawing{width: drawingWidth, title: title}
	labels, texts := 0.0, 0.0
	for _, g := range groups {
		for _, b := range g.bars {
			labels, texts = max(labels, textWidth(b.label)), max(texts, textWidth(b.text))
		}
	}
	left := 16 + labels + 8
	room := drawingWidth - left - 8 - texts - 16
	d.text(16, 26, "start", "title", title)
	d.text(16, 46, "start", "", note)
	y := 58.0
	for _, g := range groups {
		y += gap
		d.text(16, y+13, "start", "head", g.title)
		y += rowHeight
		most := 0.0
		for _, b := range g.bars {
			most = max(most, b.value)
		}
		for _, b := range g.bars {
			length, class := 1.0, "theirs"
			if most > 0 {
				length = max(1, b.value/most*room)
			}
			if b.ours {
				class = "ours"
			}
			d.text(left-8, y+15, "end", "", b.label)
			d.rect(left, y+4, length, barHeight, class)
			d.text(left+length+8, y+15, "start", "", b.text)
			y += rowHeight
		}
	}
	d.height = y + 14
	return d.String()
}
