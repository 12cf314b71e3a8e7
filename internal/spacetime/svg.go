package spacetime

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// A Picture is a diagram as SVG, to stand in a page of HTML. It has classes in place of colours and fonts, so the page brings a
// style sheet. Every text in it is escaped.
type Picture struct {
	SVG string
	// Steps says in words what each row shows. Row number i is a group with the class "step" and the data-step i, from 1.
	Steps []Step
}

// A Step is one row in words.
type Step struct {
	Time string // since the first event
	Text string
}

// Sizes of a picture, in pixels. A character of its font, of 12 pixels, is charWidth wide.
const (
	charWidth  = 7.25
	lineHeight = 16
	gutter     = 84 // for the times
	headHeight = 46
	slope      = 7 // by which an arrow falls
)

// long is the time from which a row says when it ends, too.
const long = 100 * time.Millisecond

// leastWidth is how far, in pixels, the lanes are spread if texts do not need so much.
const leastWidth = 640

// pictureWidth is the width, in characters, from which long texts are wrapped.
const pictureWidth = 150

// Paint returns the picture of events, which are in the order in which they happened. It has the rows of [Draw].
func Paint(lanes []string, events []Event) Picture {
	rows := plan(len(lanes), events)
	l := layOut(lanes, rows, pictureWidth)
	c := canvas{names: lanes, layout: l, y: headHeight}
	if len(rows) > 0 {
		c.origin = rows[0].start
	}
	widest := max(float64(l.lanes[len(lanes)-1]-l.lanes[0])*charWidth, 1)
	stretch := min(max(leastWidth/widest, 1), 2)
	for _, lane := range l.lanes {
		c.lanes = append(c.lanes, strand{x: gutter + float64(lane-l.lanes[0])*charWidth*stretch, from: headHeight - 8, state: stateUp})
	}
	c.right = c.lanes[len(c.lanes)-1].x + 40
	for i, r := range rows {
		c.row(i+1, r)
	}
	return Picture{SVG: c.finish(), Steps: c.steps}
}

// A canvas grows row by row.
type canvas struct {
	layout
	names  []string
	lanes  []strand
	origin time.Duration
	y      int // the top of the next row
	right  float64
	back   strings.Builder // the lanes, below everything
	front  strings.Builder
	steps  []Step
}

// A strand is a lane from where its state changed last.
type strand struct {
	x     float64
	from  int
	state state
}

var stateClasses = map[state]string{stateUp: "up", stateBusy: "busy", stateDown: "down", statePaused: "paused"}

func (c *canvas) row(number int, r row) {
	at, until := Since(r.start-c.origin), ""
	if r.end-r.start >= long {
		until = "–" + Since(r.end-c.origin)
	}
	fmt.Fprintf(&c.front, `<g class="step" data-step="%d">`, number)
	text := ""
	top := c.y
	if len(r.marks) > 0 {
		text = c.marks(r)
	} else {
		text = c.arrows(r)
	}
	fmt.Fprintf(&c.front, `<text class="time" x="%d" y="%d" text-anchor="end">%s</text>`, gutter-24, top+18, html.EscapeString(at))
	if until != "" {
		fmt.Fprintf(&c.front, `<text class="time" x="%d" y="%d" text-anchor="end">%s</text>`, gutter-24, top+18+lineHeight, html.EscapeString(until))
		c.y = max(c.y, top+2*lineHeight+14)
	}
	c.front.WriteString("</g>\n")
	c.steps = append(c.steps, Step{Time: at + until, Text: text})
}

// change ends the strand of a lane at y, and begins one of another state.
func (c *canvas) change(lane, y int, s state) {
	strand := &c.lanes[lane]
	fmt.Fprintf(&c.back, `<line class="lane %s" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, stateClasses[strand.state], strand.x, strand.from, strand.x, y)
	strand.from, strand.state = y, s
}

func (c *canvas) marks(r row) string {
	lines := 1
	var told []string
	for _, m := range r.marks {
		texts, x := wrap(m.text, c.space(m.lane)-2), c.lanes[m.lane].x
		lines = max(lines, len(texts))
		y := c.y + 14
		if m.state != stateSame {
			c.change(m.lane, y, m.state)
		}
		fmt.Fprintf(&c.front, `<g class="mark %s">`, symbolClass(m.symbol))
		c.symbol(m.symbol, x, y)
		for i, text := range texts {
			c.text("label", x+13, y+4+i*lineHeight, "start", text)
		}
		c.front.WriteString("</g>")
		told = append(told, c.names[m.lane]+": "+m.text)
	}
	c.y += lines*lineHeight + 14
	return strings.Join(told, "; ")
}

// space returns how many characters fit between a lane and the next, or beside the last.
func (c *canvas) space(lane int) int {
	if lane+1 < len(c.layout.lanes) {
		return c.layout.lanes[lane+1] - c.layout.lanes[lane] - 1
	}
	return max(c.layout.width-c.layout.lanes[lane], 40)
}

func (c *canvas) text(class string, x float64, y int, anchor, text string) {
	fmt.Fprintf(&c.front, `<text class="%s" x="%.1f" y="%d" text-anchor="%s">%s</text>`, class, x, y, anchor, html.EscapeString(text))
	if anchor == "start" {
		c.right = max(c.right, x+float64(length(text))*charWidth)
	}
}

// arrows draws a sending, or the arrival of a message that left in another row. The label stands beside the sender, or at an
// arrival of its own beside the receiver.
func (c *canvas) arrows(r row) string {
	fmt.Fprintf(&c.front, `<g class="message %s">`, kindClass(r.arrows[0].text))
	at, left, right := r.from, false, false
	for _, a := range r.arrows {
		left, right = left || a.to < r.from, right || a.to > r.from
	}
	if r.arrows[0].half == enters {
		at, left, right = r.arrows[0].to, right, left
	}
	room := 1 << 20
	if right {
		room = c.space(at)
	}
	if left {
		room = min(room, c.space(at-1))
	}
	texts := wrap(r.arrows[0].label(), room-2)
	for i, text := range texts {
		if right {
			c.text("label", c.lanes[at].x+12, c.y+12+i*lineHeight, "start", text)
		}
		if left {
			c.text("label", c.lanes[at].x-12, c.y+12+i*lineHeight, "end", text)
		}
	}
	y := c.y + 21 + (len(texts)-1)*lineHeight
	for _, a := range r.arrows {
		c.shaft(r.from, a, y)
	}
	if r.arrows[0].half != enters {
		c.symbol(SymbolSend, c.lanes[r.from].x, y)
	}
	c.front.WriteString("</g>")
	c.y = y + slope + 14
	return c.tell(r)
}

// shaft draws one arrow: to the lane of its receiver, or dashed and half of the way.
func (c *canvas) shaft(from int, a arrow, y int) {
	dir := 1.0
	if a.to < from {
		dir = -1
	}
	x1, x2, y1, y2 := c.lanes[from].x, c.lanes[a.to].x, float64(y), float64(y+slope)
	class := "shaft"
	switch middle := (x1 + c.lanes[from+int(dir)].x) / 2; a.half {
	case leaves:
		class, x2, y2 = "shaft half", middle, float64(y)+slope/2
	case enters:
		class, x1, y1 = "shaft half", (c.lanes[a.to-int(dir)].x+c.lanes[a.to].x)/2, float64(y)+slope/2
	}
	end := x2
	if a.half != leaves {
		end = x2 - dir*7
	}
	fmt.Fprintf(&c.front, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, end, y2)
	switch {
	case a.lost:
		fmt.Fprintf(&c.front, `<path class="lost" d="M%.1f %.1fl8 8m0 -8l-8 8"/>`, x2-dir*8-4, y2-4)
	case a.half != leaves:
		fmt.Fprintf(&c.front, `<path class="head" d="M%.1f %.1fl%.1f -4.5v9z"/>`, x2-dir, y2, -dir*9)
	}
}

// tell says in words what an arrow row shows.
func (c *canvas) tell(r row) string {
	var to []string
	for _, a := range r.arrows {
		name := c.names[a.to]
		switch {
		case a.lost:
			name += " (lost)"
		case a.half == leaves:
			name += " (on its way)"
		case a.half == enters:
			name += " (arrives late)"
		}
		to = append(to, name)
	}
	return fmt.Sprintf("%s to %s: %s", c.names[r.from], strings.Join(to, ", "), r.arrows[0].label())
}

// symbol draws a symbol around a point.
func (c *canvas) symbol(symbol rune, x float64, y int) {
	shape, ok := map[rune]string{
		SymbolSend: "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", '◆': "m0 -6l6 6l-6 6l-6 -6z", '★': "m0 -7.5l2.2 4.9l5.3 .6l-4 3.6l1.1 5.2l-4.6 -2.6l-4.6 2.6l1.1 -5.2l-4 -3.6l5.3 -.6z",
		SymbolBegin: "m-4.5 -4.5h9v9h-9z", SymbolEnd: "m-4.5 -4.5h9v9h-9z", SymbolCrash: "m-5 -5l10 10m0 -10l-10 10", '✗': "m-4 -4l8 8m0 -8l-8 8",
		SymbolRestart: "m0 -6l6 6l-6 6l-6 -6z", SymbolPause: "m-6 0h12", SymbolResume: "m-6 0h12", '!': "m0 -7l7 13h-14z",
	}[symbol]
	if !ok {
		shape = "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"
	}
	fmt.Fprintf(&c.front, `<path class="symbol" d="M%.1f %d%s"/>`, x, y, shape)
}

func symbolClass(symbol rune) string {
	switch symbol {
	case '◆':
		return "call"
	case '★':
		return "learn"
	case SymbolBegin:
		return "save open"
	case SymbolEnd:
		return "save"
	case SymbolRestart:
		return "restart"
	case SymbolCrash, '✗', '!':
		return "bad"
	}
	return "other"
}

// kindClass is the class of a message: its first word, if that is only letters.
func kindClass(text string) string {
	word, _, _ := strings.Cut(text, " ")
	word = strings.TrimSuffix(word, ":")
	for _, c := range word {
		if c < 'a' || c > 'z' {
			return "other"
		}
	}
	return "kind-" + word
}

// finish returns the SVG.
func (c *canvas) finish() string {
	height := c.y + 14
	for i := range c.lanes {
		c.change(i, height-8, stateUp)
	}
	var b strings.Builder
	width := int(c.right) + 24
	fmt.Fprintf(&b, `<svg class="spacetime" xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="space-time diagram">`+"\n",
		width, height, width, height)
	for i, name := range c.names {
		fmt.Fprintf(&b, `<text class="server" x="%.1f" y="24" text-anchor="middle">%s</text>`, c.lanes[i].x, html.EscapeString(name))
	}
	b.WriteString("\n" + c.back.String() + "\n" + c.front.String() + "</svg>\n")
	return b.String()
}

// Since returns a time as a reader takes it in: 0, 12 µs, 1.25 ms, 3.1 s.
func Since(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
