package change

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// Imports says how far an acceptor of a new configuration has taken over the memory of others: its sources. From each source it takes
// all undecided records first, and then all decided ones up to the last Index that the source had by then.
//
// A source is an acceptor of the configuration before, or an acceptor of this one that is complete: a whole source. A phase-1 quorum of
// the first kind is enough, and so is one whole source: it has taken over all of such a quorum.
//
//	scan       pages of the names of undecided instances, in their order; the record of each is asked for
//	scanned    the last page is taken over, and durable here
//	done       so are all decisions up to the goal
//
// The order matters: an instance that is decided meanwhile is in the second part. The zero Imports has nothing to do.
type Imports struct {
	sources []source
	seq     uint64 // of the last page that was asked for
	ready   bool   // there may be work
}

type source struct {
	id      paxos.ServerID
	whole   bool
	before  bool // it was done before it became whole
	scanned bool
	goal    uint64        // once it is scanned: the last Index of the source
	asked   time.Duration // when something was last asked of it; 0: nothing is out
	seq     uint64        // of the page that was asked for; 0: none is out
	after   string        // the names up to this one are taken over
	end     string        // the last name of the page that is being taken over
	last    bool          // that page is the last
	top     uint64        // the last Index of the source when it sent that page
	names   []string      // of the page, not asked for yet
	waiting []string      // asked for
	page    bool          // a page is being taken over
	over    bool          // all of the last page is taken over, and may not be durable
	mark    uint64        // it is from then on: see the saves of a Replica
	done    bool
}

// Begin begins with these sources. stored is the result of Text in an earlier life.
func (m *Imports) Begin(sources []paxos.ServerID, stored string) {
	*m = Imports{ready: true, seq: m.seq} // a page of before answers no question of from now on
	goals := parseGoals(stored)
	for _, id := range sources {
		goal, scanned := goals[id]
		m.sources = append(m.sources, source{id: id, scanned: scanned, goal: goal})
	}
}

// End ends the work.
func (m *Imports) End() { *m = Imports{seq: m.seq} }

// Whole makes a server that is complete a whole source. Its scan begins anew: it may have been of a time when it was not complete.
func (m *Imports) Whole(id paxos.ServerID) {
	s := m.of(id)
	switch {
	case s == nil:
		m.sources = append(m.sources, source{id: id, whole: true})
	case s.whole:
		return
	default:
		*s = source{id: id, whole: true, before: s.done}
	}
	m.ready = true
}

// IsWhole reports whether a whole source is done.
func (m *Imports) IsWhole() bool {
	return slices.ContainsFunc(m.sources, func(s source) bool { return s.whole && s.done })
}

// OfWhole reports whether that source is a whole one.
func (m *Imports) OfWhole(id paxos.ServerID) bool {
	s := m.of(id)
	return s != nil && s.whole
}

// IsActive reports whether there is a source.
func (m *Imports) IsActive() bool { return len(m.sources) > 0 }

// IsReady reports whether there may be work: see Goes.
func (m *Imports) IsReady() bool { return m.ready }

// Goes notes that there may be work, or that it is about to be done.
func (m *Imports) Goes(on bool) { m.ready = on && m.IsActive() }

// Sources returns the sources.
func (m *Imports) Sources() []paxos.ServerID {
	all := make([]paxos.ServerID, len(m.sources))
	for i := range m.sources {
		all[i] = m.sources[i].id
	}
	return all
}

func (m *Imports) of(id paxos.ServerID) *source {
	for i := range m.sources {
		if m.sources[i].id == id {
			return &m.sources[i]
		}
	}
	return nil
}

// WantsPage reports whether a page is to be asked for now, and after which name. The page has the number seq, which no other question has,
// in this life. One that was asked for at the time again, or before, and did not come, is asked for again, as the same question.
func (m *Imports) WantsPage(id paxos.ServerID, now, again time.Duration) (seq uint64, after string, ok bool) {
	s := m.of(id)
	if s == nil || s.scanned || s.over || s.page || s.seq != 0 && s.asked > again {
		return 0, "", false
	}
	if s.seq == 0 { // else it is the same question
		m.seq++
		s.seq = m.seq
	}
	s.asked = max(now, 1)
	return s.seq, s.after, true
}

// Page takes a page of names in ascending order, if it is the one that was asked for. The last Index of the source is top. No undecided
// instance comes after the page if it is the last.
func (m *Imports) Page(id paxos.ServerID, seq uint64, names []string, top uint64, last bool) (ok bool) {
	s := m.of(id)
	if s == nil || s.seq == 0 || s.seq != seq || len(names) == 0 && !last {
		return false
	}
	for i, name := range names {
		if name <= s.after || i > 0 && name <= names[i-1] {
			return false
		}
	}
	s.seq, s.page, s.last, s.top = 0, true, last, top
	s.names, s.waiting = slices.Clone(names), nil
	if len(names) > 0 {
		s.end = names[len(names)-1]
	}
	m.ready = true
	return true
}

// Ask returns the next names to ask the source for. At most so many are out at a time. Those that were asked before again are asked
// once more.
func (m *Imports) Ask(id paxos.ServerID, window int, now, again time.Duration) (names []string) {
	s := m.of(id)
	if s == nil || !s.page {
		return nil
	}
	if len(s.waiting) > 0 && s.asked <= again {
		names, s.waiting = s.waiting, nil
	}
	for len(s.names) > 0 && len(s.waiting)+len(names) < window {
		names, s.names = append(names, s.names[0]), s.names[1:]
	}
	if len(names) > 0 {
		s.waiting = append(s.waiting, names...)
		s.asked = max(now, 1)
	}
	return names
}

// Waits reports whether the record of that instance was asked of the source, and is not known yet.
func (m *Imports) Waits(id paxos.ServerID, name string) bool {
	s := m.of(id)
	return s != nil && slices.Contains(s.waiting, name)
}

// Took notes that the record of the source is taken over.
func (m *Imports) Took(id paxos.ServerID, name string) {
	if s := m.of(id); s != nil {
		s.took(name)
		m.ready = true
	}
}

// Knows notes that the instance is decided here, or forgotten. No source has to be asked for it.
func (m *Imports) Knows(name string) {
	for i := range m.sources {
		m.sources[i].took(name)
	}
	m.ready = m.ready || m.IsActive()
}

func (s *source) took(name string) {
	is := func(other string) bool { return other == name }
	s.waiting = slices.DeleteFunc(s.waiting, is)
	s.names = slices.DeleteFunc(s.names, is)
}

// Turn ends the page if all of it is taken over. mark stands for all that is about to be saved.
func (m *Imports) Turn(id paxos.ServerID, mark uint64) {
	s := m.of(id)
	if s == nil || !s.page || len(s.names)+len(s.waiting) > 0 {
		return
	}
	s.page, s.after = false, s.end
	if s.last {
		s.over, s.mark, s.goal = true, mark, s.top
	}
}

// Durable notes how far the disk is. All is durable up to each mark for which isKept returns true. All decisions of the source up to the
// Index pulled are here, and durable. It reports whether Text has changed.
func (m *Imports) Durable(id paxos.ServerID, isKept func(mark uint64) bool, pulled uint64) (changed bool) {
	s := m.of(id)
	if s == nil {
		return false
	}
	if s.over && isKept(s.mark) {
		s.over, s.scanned, changed = false, true, true
	}
	s.done = s.done || s.scanned && pulled >= s.goal
	return changed
}

// Done reports whether all is taken over that the source remembers of the configuration before.
func (m *Imports) Done(id paxos.ServerID) bool {
	s := m.of(id)
	return s != nil && (s.done || s.before)
}

// Progress returns how many sources are done, and how many there are.
func (m *Imports) Progress() (done, all int) {
	for i := range m.sources {
		if s := &m.sources[i]; s.done || s.before {
			done++
		}
	}
	return done, len(m.sources)
}

// Goal returns the last Index of the source that has to be here. ok is false before its scan has ended.
func (m *Imports) Goal(id paxos.ServerID) (index uint64, ok bool) {
	s := m.of(id)
	if s == nil {
		return 0, false
	}
	return s.goal, s.scanned
}

// Text returns the text of ServerState.Import: "2/57,3/60" says that the scans of servers 2 and 3 have ended, and their goals. Whole
// sources are not in it.
func (m *Imports) Text() string {
	var b []byte
	for i := range m.sources {
		s := &m.sources[i]
		if !s.scanned || s.whole {
			continue // another life has to ask a whole source anew
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendUint(b, uint64(s.id), 10), '/')
		b = strconv.AppendUint(b, s.goal, 10)
	}
	return string(b)
}

// parseGoals reads what Text writes. A part that is not valid is left out: its scan begins anew.
func parseGoals(text string) map[paxos.ServerID]uint64 {
	goals := map[paxos.ServerID]uint64{}
	for part := range strings.SplitSeq(text, ",") {
		id, index, _ := strings.Cut(part, "/")
		n, err1 := strconv.ParseUint(id, 10, 64)
		goal, err2 := strconv.ParseUint(index, 10, 64)
		if err1 == nil && err2 == nil {
			goals[paxos.ServerID(n)] = goal
		}
	}
	return goals
}

// The texts of the two messages of a scan. Names have no control characters, so lines are enough.

// ScanText asks the process with that Boot for the page number seq: undecided instances after that name.
func ScanText(boot, seq uint64, after string) paxos.Value {
	return paxos.Value(strconv.FormatUint(boot, 10) + " " + strconv.FormatUint(seq, 10) + "\n" + after)
}

// ParseScan reads what ScanText writes.
func ParseScan(v paxos.Value) (boot, seq uint64, after string, ok bool) {
	head, after, ok := strings.Cut(string(v[:min(len(v), 48+paxos.MaxName)]), "\n")
	first, second, _ := strings.Cut(head, " ")
	boot, err1 := strconv.ParseUint(first, 10, 64)
	seq, err2 := strconv.ParseUint(second, 10, 64)
	return boot, seq, after, ok && err1 == nil && err2 == nil && seq > 0
}

// PageText is the page number seq for the process with that Boot. top is the sender's last Index. last says that no undecided instance
// comes after the page.
func PageText(boot, seq, top uint64, names []string, last bool) paxos.Value {
	b := strconv.AppendUint(nil, boot, 10)
	b = strconv.AppendUint(append(b, ' '), seq, 10)
	b = strconv.AppendUint(append(b, ' '), top, 10)
	if last {
		b = append(b, " end"...)
	}
	for _, name := range names {
		b = append(append(b, '\n'), name...)
	}
	return paxos.Value(b)
}

// MaxPage is the most names of a page.
const MaxPage = 256

// ParsePage reads what PageText writes. An invalid name spoils the page.
func ParsePage(v paxos.Value) (boot, seq, top uint64, names []string, last, ok bool) {
	head, rest, more := strings.Cut(string(v), "\n")
	words := strings.SplitN(head[:min(len(head), 100)], " ", 5)
	if len(words) < 3 || len(words) > 4 || len(words) == 4 && words[3] != "end" || strings.Count(rest, "\n") >= MaxPage {
		return 0, 0, 0, nil, false, false
	}
	boot, err1 := strconv.ParseUint(words[0], 10, 64)
	seq, err2 := strconv.ParseUint(words[1], 10, 64)
	top, err3 := strconv.ParseUint(words[2], 10, 64)
	ok = err1 == nil && err2 == nil && err3 == nil
	for more && ok {
		var name string
		name, rest, more = strings.Cut(rest, "\n")
		names = append(names, name)
		ok = paxos.CheckInstance(name) == nil
	}
	return boot, seq, top, names, len(words) == 4, ok
}
