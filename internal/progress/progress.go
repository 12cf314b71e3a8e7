// Package progress shows a person how far long work is. It stays quiet where nobody watches, as in a pipe.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	patience = 500 * time.Millisecond // shorter work shows nothing
	pace     = 200 * time.Millisecond // between two texts
	width    = 79                     // characters of a line: it fits the usual terminal
)

// A Line is one line of a terminal that tells how far work is. Each text takes the place of the one before. A nil Line shows nothing. It
// is for one goroutine at a time.
type Line struct {
	w      io.Writer
	now    func() time.Time
	began  time.Time
	next   time.Time // when Step shows a text again
	filled int       // characters that stand in the line
}

// To returns a Line on f, or nil if f is no terminal.
func To(f *os.File) *Line {
	if !IsTerminal(f) {
		return nil
	}
	return New(f, time.Now)
}

// New returns a Line on w. The clock now tells the time.
func New(w io.Writer, now func() time.Time) *Line {
	began := now()
	return &Line{w: w, now: now, began: began, next: began.Add(patience)}
}

// IsTerminal reports whether a person is at the other end of f.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Step tells that so much of all is done, and how long the rest takes at this pace. It may be called as often as one likes: it writes
// five times a second at most, and not before the work has taken half a second.
func (l *Line) Step(what string, done, all int64) {
	if l == nil || l.now().Before(l.next) {
		return
	}
	l.Show(what, done, all)
}

// Show is Step that writes at once.
func (l *Line) Show(what string, done, all int64) {
	if l == nil {
		return
	}
	now := l.now()
	l.next = now.Add(pace)
	numbers := share(done, all) + rest(now.Sub(l.began), done, all)
	l.put(cut(what, width-utf8.RuneCountInString(numbers)) + numbers)
}

// Print writes a line that stays, above the one that tells how far the work is.
func (l *Line) Print(text string) {
	if l == nil {
		return
	}
	l.End()
	fmt.Fprintln(l.w, text)
}

// End clears the line.
func (l *Line) End() {
	if l == nil || l.filled == 0 {
		return
	}
	l.put("")
	fmt.Fprint(l.w, "\r")
}

// put puts a text in the place of the one before. It covers the rest of that with spaces, which every terminal understands.
func (l *Line) put(text string) {
	length := utf8.RuneCountInString(text)
	fmt.Fprint(l.w, "\r", text, strings.Repeat(" ", max(l.filled-length, 0)))
	l.filled = length
}

// cut returns text with at most so many characters.
func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// share tells how much of all is done; empty: it is not known.
func share(done, all int64) string {
	if all <= 0 {
		return ""
	}
	return fmt.Sprintf(": %d %%", int(100*(float64(min(max(done, 0), all))/float64(all))))
}

// rest tells how long the rest takes if it goes on as until now. It is empty while that says little.
func rest(took time.Duration, done, all int64) string {
	if done <= 0 || done >= all || took < time.Second {
		return ""
	}
	left := took.Seconds() * float64(all-done) / float64(done)
	switch {
	case left > 1e6: // it says little
		return ""
	case left > 120:
		return fmt.Sprintf(", about %.0f min left", left/60)
	}
	return fmt.Sprintf(", about %.0f s left", left)
}
