package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// bytesText writes a size: "64 B", "16 KiB", "1 MiB".
func bytesText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}

// countText writes a number to three digits, with commas: "1,230,000".
func countText(v float64) string {
	if v < 100 {
		return shortText(v)
	}
	scale := 1.0
	if v >= 1000 {
		scale = math.Pow(10, math.Floor(math.Log10(v))-2)
	}
	return exactText(int(math.Round(v/scale) * scale))
}

// shortText writes a number below 1,000 to two or three digits: "0.05", "1.3", "26", "174".
func shortText(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.0995:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case v < 0.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 9.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

// exactText writes a whole number with commas.
func exactText(n int) string {
	digits := strconv.Itoa(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// microsText writes a latency that is given in microseconds: "7.3 us", "1.2 ms", "2.5 s".
func microsText(us float64) string {
	switch {
	case us < 999.5:
		return shortText(us) + " us"
	case us < 999_500:
		return shortText(us/1e3) + " ms"
	default:
		return shortText(us/1e6) + " s"
	}
}

// microsMark is microsText for round figures on an axis: "1 ms", not "1.0 ms".
func microsMark(us float64) string { return strings.Replace(microsText(us), ".0 ", " ", 1) }

func millisText(ms float64) string { return microsText(ms * 1e3) }

// megaText writes a size in millions of bytes: "1.3 MB".
func megaText(bytes float64) string { return countText(bytes/1e6) + " MB" }

// secondsText writes a time: "0.12 s".
func secondsText(s float64) string { return shortText(s) + " s" }

// knownText writes a figure that may not be known.
func knownText(v *float64) string {
	if v == nil {
		return "–"
	}
	return shortText(*v)
}

func ratioText(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v >= 0.095:
		return strconv.FormatFloat(*v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(*v, 'f', 3, 64)
	}
}

// table writes rows as Markdown that also reads well in a terminal. The first row is the head; only the first columns, so
// many, are aligned to the left.
func table(rows [][]string, left int) string {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	for n, r := range rows {
		for i, cell := range r {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < left {
				b.WriteString("| " + cell + space + " ")
			} else {
				b.WriteString("| " + space + cell + " ")
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, w := range widths {
			if i < left {
				b.WriteString("|" + strings.Repeat("-", w+2))
			} else {
				b.WriteString("|" + strings.Repeat("-", w+1) + ":")
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// slug is s as part of a file name.
func slug(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(words, "-")
}
