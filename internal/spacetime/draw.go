package spacetime

import (
	"slices"
	"strconv"
	"strings"
)

// A drawing grows line by line.
type drawing struct {
	layout
	states []state // of the lanes
	out    strings.Builder
}

// A line is one line of the diagram, a rune a column.
type line []rune

func draw(lanes []string, rows []row, l layout) string {
	d := drawing{layout: l}
	for range lanes {
		d.states = append(d.states, stateUp)
	}
	head := d.blank()
	head.put(d.lanes[0]-gutterGap-length("ms"), "ms")
	for i, name := range lanes {
		head.put(d.lanes[i], name)
	}
	d.end(head)
	d.end(d.line())
	for _, r := range rows {
		if len(r.marks) > 0 {
			d.marks(r)
			continue
		}
		d.arrows(r)
	}
	d.end(d.line())
	return d.out.String()
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (d *drawing) blank() line { return line(strings.Repeat(" ", d.width)) }

// line returns a line with the lanes as they are.
func (d *drawing) line() line {
	l := d.blank()
	for i, s := range d.states {
		l[d.lanes[i]] = laneRunes[s]
	}
	return l
}

var laneRunes = map[state]rune{stateUp: '│', stateBusy: '║', stateDown: ' ', statePaused: '┊'}

// end writes a line that is done.
func (d *drawing) end(l line) {
	d.out.WriteString(strings.TrimRight(string(l), " ") + "\n")
}

// put writes s from column at on, as far as the line goes.
func (l line) put(at int, s string) {
	for _, c := range s {
		if at >= 0 && at < len(l) {
			l[at] = c
		}
		at++
	}
}

func (d *drawing) time(l line, r row) {
	text := timeText(r)
	l.put(d.lanes[0]-gutterGap-length(text), text)
}

// room returns how many characters fit between lane i and the next one, or the edge.
func (d *drawing) room(i int) int {
	if i+1 < len(d.lanes) {
		return d.lanes[i+1] - d.lanes[i] - 1
	}
	return d.width - d.lanes[i] - 1
}

// marks draws a row of marks, on as many lines as the longest text needs.
func (d *drawing) marks(r row) {
	texts, lines := make([][]string, len(r.marks)), 1
	for i, m := range r.marks {
		texts[i] = wrap(m.text, d.room(m.lane)-2)
		lines = max(lines, len(texts[i]))
	}
	for n := range lines {
		l := d.line()
		if n == 0 {
			d.time(l, r)
		}
		for i, m := range r.marks {
			at := d.lanes[m.lane]
			if n == 0 {
				l[at] = m.symbol
			}
			if n < len(texts[i]) {
				l.put(at+2, texts[i][n])
			}
			if n == 0 && m.state != stateSame {
				d.states[m.lane] = m.state
			}
		}
		d.end(l)
	}
}

// arrows draws a sending, or the arrival of a message that left in another row. In each direction the label stands beside
// the sender.
func (d *drawing) arrows(r row) {
	left := slices.ContainsFunc(r.arrows, func(a arrow) bool { return a.to < r.from })
	right := slices.ContainsFunc(r.arrows, func(a arrow) bool { return a.to > r.from })
	label := r.arrows[0].label()
	above := d.above(r.from, label, left, right)
	for n, text := range above {
		l := d.line()
		if n == 0 {
			d.time(l, r)
		}
		if right {
			l.put(d.lanes[r.from]+2, text)
		}
		if left {
			l.put(d.lanes[r.from]-1-length(text), text)
		}
		d.end(l)
	}
	l := d.line()
	if len(above) == 0 {
		d.time(l, r)
	} else {
		label = ""
	}
	if right {
		d.shaft(l, r, +1, label)
	}
	if left {
		d.shaft(l, r, -1, label)
	}
	if r.arrows[0].half != enters {
		l[d.lanes[r.from]] = SymbolSend
	}
	d.end(l)
}

// above returns the label in lines, if it has no room on the shaft beside the sender.
func (d *drawing) above(from int, label string, left, right bool) []string {
	room := d.width
	if right {
		room = d.room(from)
	}
	if left {
		room = min(room, d.room(from-1))
	}
	if length(label)+aroundText-1 <= room {
		return nil
	}
	return wrap(label, room-2)
}

// shaft draws the arrows of r that go in direction dir, and the label beside the sender. A message that arrives in another
// row only sets out here; one that left in another row is a dotted line.
func (d *drawing) shaft(l line, r row, dir int, label string) {
	far := r.from
	for _, a := range r.arrows {
		if a.half != leaves && (a.to-far)*dir > 0 {
			far = a.to
		}
	}
	dash, end := '─', d.lanes[far]
	switch {
	case far == r.from:
		dash, end = '┄', d.lanes[r.from+dir]-dir
	case r.arrows[0].half == enters:
		dash = '┄'
	}
	for x := d.lanes[r.from] + dir; x != end; x += dir {
		l[x] = crossing(l[x], dash)
	}
	for _, a := range r.arrows {
		if (a.to-r.from)*dir > 0 && a.half != leaves {
			l[d.lanes[a.to]-dir] = head(a.lost, dir)
		}
	}
	switch {
	case label == "":
	case dir > 0:
		l.put(d.lanes[r.from]+2, " "+label+" ")
	default:
		l.put(d.lanes[r.from]-3-length(label), " "+label+" ")
	}
}

// crossing is what a shaft looks like at a place where c stands already.
func crossing(c, dash rune) rune {
	switch c {
	case '│', '┊':
		return '┼'
	case '║':
		return '╫'
	}
	return dash
}

func head(lost bool, dir int) rune {
	switch {
	case lost:
		return symbolLost
	case dir > 0:
		return symbolRight
	}
	return symbolLeft
}
