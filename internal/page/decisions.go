package page

import (
	"encoding/binary"

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

// mostNumbers is at least the bytes of the numbers of a line.
const mostNumbers = 5 * binary.MaxVarintLen64

// Fits reports whether another line fits: in memory, and in the bytes of the page.
func (w *Decisions) Fits(l *Line) bool {
	return w.lines < MaxLines && max(w.size, len(w.bytes)+mostNumbers)+l.size() <= MaxBytes
}

// Add adds a line.
func (w *Decisions) Add(l *Line) {
	shared := 0
	for shared < min(len(w.name), len(l.Name)) && w.name[shared] == l.Name[shared] {
		shared++
	}
	form := formName
	switch {
	case l.HasDecision() && l.Ballot == w.ballot:
		form = formSame
	case l.HasDecision():
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
	if l.HasDecision() {
		b = binary.AppendUvarint(b, uint64(len(l.Value)))
		b = append(b, l.Value...)
	}
	w.bytes, w.name, w.size, w.lines = b, l.Name, w.size+l.size(), w.lines+1
}

// Text is the page.
func (w *Decisions) Text(h Head) paxos.Value { return h.before(w.bytes, '\n') }

// A Reader reads pages of decisions. The zero Reader is ready for use.
type Reader struct {
	rest  string
	bad   bool   // they are not of the form of Decisions
	names []byte // of the page, one after the other
	ends  []int  // where in names each of them ends
}

// Parse reads a page of decisions, and appends its lines. A line for which isLine is false spoils the page. The values are parts of v. The
// names are parts of one string.
func (r *Reader) Parse(v paxos.Value, lines []Line, isLine func(string) bool) (h Head, all []Line, ok bool) {
	h, rest, more, ok := cutHead(v)
	if !ok || !more {
		return Head{}, lines, false
	}
	r.rest, r.bad, r.names, r.ends = rest, false, r.names[:0], r.ends[:0]
	all = lines
	from, values := 0, 0
	for ballot := (paxos.Ballot{}); r.rest != ""; {
		begin := len(r.names)
		l := r.line(from, ballot)
		from = begin
		values += len(l.Value)
		if r.bad || len(r.ends) > MaxLines || len(r.names)+values > MaxBytes {
			return Head{}, lines, false
		}
		if l.HasDecision() {
			ballot = l.Ballot
		}
		all = append(all, l)
	}
	names, begin := string(r.names), 0
	for i, end := range r.ends {
		l := &all[len(lines)+i]
		l.Name, begin = names[begin:end], end
		if !isLine(l.Name) {
			return Head{}, lines, false
		}
	}
	return h, all, true
}

// line reads a line that comes after a name, which begins there in names, and after that ballot. It adds the name to names.
func (r *Reader) line(name int, ballot paxos.Ballot) (l Line) {
	first := r.uvarint()
	shared, form := first>>2, first&3
	own := r.text()
	if r.bad || shared > uint64(len(r.names)-name) || form > formBallot {
		r.bad = true
		return Line{}
	}
	r.names = append(append(r.names, r.names[name:name+int(shared)]...), own...)
	r.ends = append(r.ends, len(r.names))
	if form == formName {
		return l
	}
	if l.Ballot = ballot; form == formBallot {
		l.Ballot.Round += uint64(r.varint())
		l.Ballot.Server = paxos.ServerID(r.uvarint())
	}
	l.Value = paxos.Value(r.text())
	r.bad = r.bad || !l.HasDecision()
	return l
}

// text reads the number of bytes, and the bytes.
func (r *Reader) text() (s string) {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, ""
		return ""
	}
	s, r.rest = r.rest[:n], r.rest[n:]
	return s
}

func (r *Reader) uvarint() uint64 {
	n, size := binary.Uvarint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	r.skip(size)
	return n
}

func (r *Reader) varint() int64 {
	n, size := binary.Varint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	r.skip(size)
	return n
}

// skip goes on after a number of that many bytes. It is at most 0 if there was none.
func (r *Reader) skip(size int) {
	if size <= 0 {
		r.bad, r.rest = true, ""
		return
	}
	r.rest = r.rest[size:]
}
