package spacetime

import (
	"strings"
	"time"
	"unicode/utf8"
)

// A layout says where everything stands.
type layout struct {
	lanes []int // the column of each lane
	width int
}

// Room that texts need beside themselves.
const (
	gutterGap  = 2  // between the times and the first lane
	aroundMark = 3  // the symbol, a space, and one before the next lane
	aroundText = 6  // of an arrow: "● label ─►" and one more dash
	least      = 12 // from lane to lane
)

// layOut gives each lane a column. Lanes stand equally far apart if that leaves room for every text; else as far as their
// own texts need; else texts will be wrapped, the longest ones first.
func layOut(lanes []string, rows []row, width int) layout {
	gaps := make([]int, len(lanes)) // from each lane to the next, or to the edge
	for i, name := range lanes {
		gaps[i] = max(least, length(name)+2)
	}
	gutter := length("ms")
	for _, r := range rows {
		gutter = max(gutter, length(timeText(r)))
		for _, m := range r.marks {
			gaps[m.lane] = max(gaps[m.lane], length(m.text)+aroundMark)
		}
		for _, a := range r.arrows {
			gap := gapOf(r.from, a.to)
			gaps[gap] = max(gaps[gap], length(a.label())+aroundText)
		}
	}
	gutter += gutterGap
	fit(gaps, width-gutter)
	l := layout{width: width}
	at := gutter
	for _, gap := range gaps {
		l.lanes = append(l.lanes, at)
		at += gap
	}
	l.width = max(width, at)
	return l
}

// fit makes gaps sum up to at most room.
func fit(gaps []int, room int) {
	widest, edge := 0, len(gaps)-1
	for _, gap := range gaps[:edge] {
		widest = max(widest, gap)
	}
	if widest*edge+gaps[edge] <= room {
		for i := range gaps[:edge] {
			gaps[i] = widest
		}
		return
	}
	most := room
	for total(gaps) > room && most > least {
		most--
		for i := range gaps {
			gaps[i] = min(gaps[i], most)
		}
	}
}

func total(gaps []int) (sum int) {
	for _, gap := range gaps {
		sum += gap
	}
	return sum
}

// gapOf returns the gap beside its sender in which an arrow has its label.
func gapOf(from, to int) int {
	if to > from {
		return from
	}
	return from - 1
}

// label is the arrow's text, with its number.
func (a arrow) label() string {
	if a.number == 0 {
		return a.text
	}
	return tag(a.number) + " " + a.text
}

// tag writes a number as one character, as far as there are such.
func tag(n int) string {
	if n <= 20 {
		return string(rune('①' + n - 1))
	}
	return string(rune('㉑' + (n-21)%15))
}

// timeText is what stands at the left of a row: when it began, and when it ended, in milliseconds.
func timeText(r row) string {
	start, end := r.start.Round(time.Millisecond).Milliseconds(), r.end.Round(time.Millisecond).Milliseconds()
	if start == end {
		return itoa(start)
	}
	return itoa(start) + "–" + itoa(end)
}

// length counts characters.
func length(s string) int { return utf8.RuneCountInString(s) }

// wrap breaks s at spaces into lines of at most width characters. A word that is longer is cut.
func wrap(s string, width int) (lines []string) {
	width = max(width, 4)
	line := ""
	for _, word := range strings.Split(s, " ") {
		if line != "" && length(line)+1+length(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for length(word) > width {
			runes := []rune(word)
			lines, word = append(lines, string(runes[:width])), string(runes[width:])
		}
		line = word
	}
	return append(lines, line)
}
