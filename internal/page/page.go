// Package page has the forms in which servers tell each other which decisions they have: the Pull that asks, and the pages that answer.
//
//	Pull       STORE INDEX BOOT             the decisions after INDEX of storage STORE are wanted, by process BOOT
//	           STORE INDEX BOOT values      … with their values
//	Names      STORE INDEX BOOT TO          the answer: up to TO it is the decisions of these names
//	           STORE INDEX BOOT TO FORGOT MERGED   … of a server that has forgotten names, the last of them at Index FORGOT, and
//	                                        the last range of them at Index MERGED
//	           name                         … a line each
//	Decisions  STORE INDEX BOOT TO          the answer, if values were wanted
//	           …                            … the names, and with nearly all of them the decisions, in bytes: see Decisions
//
// STORE is hexadecimal, the other numbers are decimal. Names have no control characters, so lines are enough.
package page

import (
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// Bounds of a page.
const (
	MaxLines = 1024
	MaxBytes = 64 << 10 // of its names and values, as they are in memory
	MaxValue = 4 << 10  // of a value in it: a larger one is asked for by itself

	// ShortNames is the number of names from which a page for a server that is far behind has the form of Decisions, without values: names
	// share their beginnings.
	ShortNames = 64
)

// A Pull says where the cursor of a server stands among the decisions of another one.
type Pull struct {
	Store, Index uint64 // all decisions up to this Index of that storage are known
	Boot         uint64 // the start of the sender
	Values       bool   // it wants Decisions in place of Names
}

// Text is the text of a Pull.
func (p Pull) Text() paxos.Value {
	b := p.append(make([]byte, 0, 64))
	if p.Values {
		b = append(b, wantsValues...)
	}
	return paxos.Value(b)
}

const wantsValues = " values"

func (p Pull) append(b []byte) []byte {
	b = append(strconv.AppendUint(b, p.Store, 16), ' ')
	b = append(strconv.AppendUint(b, p.Index, 10), ' ')
	return strconv.AppendUint(b, p.Boot, 10)
}

// ParsePull reads the text of a Pull.
func ParsePull(v paxos.Value) (p Pull, ok bool) {
	if len(v) > 100 {
		return Pull{}, false
	}
	text := string(v)
	text, p.Values = strings.CutSuffix(text, wantsValues)
	first, rest, _ := strings.Cut(text, " ")
	second, third, _ := strings.Cut(rest, " ")
	var err1, err2, err3 error
	p.Store, err1 = strconv.ParseUint(first, 16, 64)
	p.Index, err2 = strconv.ParseUint(second, 10, 64)
	p.Boot, err3 = strconv.ParseUint(third, 10, 64)
	return p, err1 == nil && err2 == nil && err3 == nil
}

// A Head is the first line of a page: the Pull that it answers, and the Index at which it ends.
type Head struct {
	Store, From, Boot, To uint64
	// Forgot is the last Index at which a name or a range was forgotten before the page was read, or one above it. A forgotten name leaves
	// the Index that it had. So a page may lack names that were decided in its part, if it ends below Forgot.
	Forgot uint64
	// Merged is likewise the last Index at which a range was forgotten. Names in it that were forgotten before have left their Indexes, too.
	Merged uint64
}

func (h Head) append(b []byte) []byte {
	b = append(Pull{Store: h.Store, Index: h.From, Boot: h.Boot}.append(b), ' ')
	b = strconv.AppendUint(b, h.To, 10)
	if h.Forgot > 0 {
		b = strconv.AppendUint(append(b, ' '), h.Forgot, 10)
		b = strconv.AppendUint(append(b, ' '), h.Merged, 10)
	}
	return b
}

// before is the page with that first line, the bytes between, and the rest.
func (h Head) before(rest []byte, between ...byte) paxos.Value {
	head := append(h.append(make([]byte, 0, 96)), between...)
	var text strings.Builder
	text.Grow(len(head) + len(rest))
	text.Write(head)
	text.Write(rest)
	return paxos.Value(text.String())
}

// cutHead reads the first line of a page, and returns the rest. more is false if nothing follows the first line.
func cutHead(v paxos.Value) (h Head, rest string, more, ok bool) {
	line, rest, more := strings.Cut(string(v), "\n")
	forgets := strings.Count(line, " ") == 5
	if line, h.Merged, ok = cutNumber(line, forgets); !ok {
		return Head{}, "", false, false
	}
	if line, h.Forgot, ok = cutNumber(line, forgets); !ok || forgets && h.Forgot == 0 {
		return Head{}, "", false, false
	}
	if line, h.To, ok = cutNumber(line, true); !ok {
		return Head{}, "", false, false
	}
	p, ok := ParsePull(paxos.Value(line))
	h.Store, h.From, h.Boot = p.Store, p.Index, p.Boot
	return h, rest, more, ok && !p.Values
}

// cutNumber cuts the last word off line, if it is wanted, and reads it as a number.
func cutNumber(line string, wanted bool) (rest string, n uint64, ok bool) {
	if !wanted {
		return line, 0, true
	}
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(line[i+1:], 10, 64)
	return line[:i], n, err == nil
}

// A Line is one entry of a page.
type Line struct {
	Name   string       // the instance, or a line of the Replica about forgotten names
	Ballot paxos.Ballot // the ballot in which the sender knows the decision; zero: the page does not have the decision
	Value  paxos.Value
}

// HasDecision reports whether the page has the decision.
func (l *Line) HasDecision() bool { return !l.Ballot.IsZero() }

// size is the bytes of the line in memory.
func (l *Line) size() int { return len(l.Name) + len(l.Value) }

// A Writer builds a page, line after line.
type Writer interface {
	Reset()            // begins a page
	Fits(l *Line) bool // reports whether another line fits
	Add(l *Line)
	Text(h Head) paxos.Value // the page
}

// Names builds a page of names.
type Names struct{ lines []byte }

// Reset begins a page.
func (w *Names) Reset() { w.lines = w.lines[:0] }

// Fits reports whether the name of another line fits.
func (w *Names) Fits(l *Line) bool { return len(w.lines)+len(l.Name) <= MaxBytes }

// Add adds the name of a line.
func (w *Names) Add(l *Line) { w.lines = append(append(w.lines, '\n'), l.Name...) }

// Text is the page.
func (w *Names) Text(h Head) paxos.Value { return h.before(w.lines) }

// ParseNames reads a page of names, and appends its lines. A line for which isLine is false spoils the page.
func ParseNames(v paxos.Value, lines []Line, isLine func(string) bool) (h Head, all []Line, ok bool) {
	h, rest, more, ok := cutHead(v)
	if !ok || strings.Count(rest, "\n") >= MaxLines {
		return Head{}, lines, false
	}
	for more {
		var name string
		name, rest, more = strings.Cut(rest, "\n")
		if !isLine(name) {
			return Head{}, lines, false
		}
		lines = append(lines, Line{Name: name})
	}
	return h, lines, true
}
