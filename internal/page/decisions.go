package page

import (
	"encoding/binary"
	"strings"

	"github.com/singledecree/paxos"
)

// Decisions builds a page of decisions, one after the other. A line of it is:
//
//	uvarint  4 × the bytes that its name begins with as the name before does, and its form: name, same or ballot
//	uvarint  the bytes of the rest of the name
//	         the rest of the name
//	varint   of form ballot: the Round, less the Round of the decision before, modulo 2^64
//	uvarint  of form ballot: the Server of the Ballot
//	uvarint  of forms ballot and same: the bytes of the value
//	         the value
//
// Form name has no decision. Form same has the ballot of the decision before.
type Decisions struct {
	bytes  []byte
	size   int // as Line.size counts
	lines  int
	name   string
	ballot paxos.Ballot
}

// The forms of a line.
const (
	formName   = 0
	formSame   = 1
	formBallot = 2
)

// Reset begins a page.
func (w *Decisions) Reset() { *w = Decisions{bytes: w.bytes[:0]} }

// Fits reports whether another line fits.
func (w *Decisions) Fits(l *Line) bool { return w.lines < MaxLines && w.size+l.size() <= MaxBytes }

// Add adds a line.
func (w *Decisions) Add(l *Line) {
	shared := 0
	for shared < min(len(w.name), len(l.Name)) && w.name[shared] == l.Name[shared] {
		shared++
	}
	form := formName
	switch {
	case l.Decided && l.Ballot == w.ballot:
		form = formSame
	case l.Decided:
		form = formBallot
	}
	b := binary.AppendUvarint(w.bytes, uint64(shared)<<2|uint64(form))
	b = binary.AppendUvarint(b, uint64(len(l.Name)-shared))
	b = append(b, l.Name[shared:]...)
	if form == formBallot {
		b = binary.AppendVarint(b, int64(l.Ballot.Round-w.ballot.Round))
		b = binary.AppendUvarint(b, uint64(l.Ballot.Server))
		w.ballot = l.Ballot
	}
	if l.Decided {
		b = binary.AppendUvarint(b, uint64(len(l.Value)))
		b = append(b, l.Value...)
	}
	w.bytes, w.name, w.size, w.lines = b, l.Name, w.size+l.size(), w.lines+1
}

// Text is the page.
func (w *Decisions) Text(h Head) paxos.Value {
	head := append(h.append(make([]byte, 0, 96)), '\n')
	var text strings.Builder
	text.Grow(len(head) + len(w.bytes))
	text.Write(head)
	text.Write(w.bytes)
	return paxos.Value(text.String())
}

// ParseDecisions reads a page of decisions, and appends its lines. A line for which isLine is false spoils the page. The values are parts
// of v.
func ParseDecisions(v paxos.Value, lines []Line, isLine func(string) bool) (h Head, all []Line, ok bool) {
	h, rest, more, ok := cutHead(v)
	if !ok || !more {
		return Head{}, lines, false
	}
	r := reader{rest: rest}
	all = lines
	for size, last := 0, (Line{}); r.rest != ""; {
		l := r.line(last.Name, last.Ballot)
		size += l.size()
		if r.bad || len(all)-len(lines) >= MaxLines || size > MaxBytes || !isLine(l.Name) {
			return Head{}, lines, false
		}
		last.Name = l.Name
		if l.Decided {
			last.Ballot = l.Ballot
		}
		all = append(all, l)
	}
	return h, all, true
}

// A reader reads the bytes of Decisions.
type reader struct {
	rest string
	bad  bool // they are not of the form of Decisions
}

// line reads a line that comes after that name, and after that ballot.
func (r *reader) line(name string, ballot paxos.Ballot) (l Line) {
	first := r.uvarint()
	shared, form := first>>2, first&3
	own := r.text()
	if r.bad || shared > uint64(len(name)) || shared+uint64(len(own)) > MaxBytes || form > formBallot {
		r.bad = true
		return Line{}
	}
	if l.Name = own; shared > 0 {
		l.Name = name[:shared] + own
	}
	if form == formName {
		return l
	}
	if l.Decided, l.Ballot = true, ballot; form == formBallot {
		l.Ballot.Round += uint64(r.varint())
		l.Ballot.Server = paxos.ServerID(r.uvarint())
	}
	l.Value = paxos.Value(r.text())
	return l
}

// text reads the number of bytes, and the bytes.
func (r *reader) text() (s string) {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, ""
		return ""
	}
	s, r.rest = r.rest[:n], r.rest[n:]
	return s
}

func (r *reader) uvarint() (n uint64) {
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		c := r.rest[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break
			}
			r.rest = r.rest[i+1:]
			return n | uint64(c)<<(7*i)
		}
		n |= uint64(c&0x7f) << (7 * i)
	}
	r.bad, r.rest = true, ""
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	n := int64(u >> 1)
	if u&1 != 0 {
		n = ^n
	}
	return n
}
