package replica

import (
	"cmp"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// A table holds the instances in memory. Of a decided instance, a memo stays. Of an undecided one that left memory, and that
// this server has to see finished, the silence stays. For their numbers see room.
type table struct {
	byName    map[string]*instance
	evicted   map[string]*evicted
	decided   memos
	recents   recents
	evictable list        // instances that may leave memory, and have no timer
	watched   list        // instances that may leave memory, and have a timer
	rooms     [rooms]int  // instances in each; roomNone is not counted
	open      int         // instances that are not decided
	free      []*instance // for use again
	page      Page        // see recentPage
}

// init makes a table empty. It remembers that many durable decisions.
func (t *table) init(cache int) {
	t.byName, t.evicted = map[string]*instance{}, map[string]*evicted{}
	t.decided.init()
	t.recents.room = uint64(cache)
}

// maxFree bounds the instances kept for use again.
const maxFree = 4096

// unused returns an empty instance.
func (t *table) unused() (inst *instance) {
	if n := len(t.free); n > 0 {
		inst, t.free = t.free[n-1], t.free[:n-1]
		return inst
	}
	return new(instance)
}

// remember makes a memo of inst, which is decided and saved.
func (t *table) remember(inst *instance, most int) {
	number := t.decided.push(inst, most)
	if at := t.recents.at(inst.index); at != nil {
		at.memo = number + 1
	}
}

// recent returns the memo of the decision with that Index, which is durable. It returns nil if there is no memo any more, or
// not yet.
func (t *table) recent(index uint64) *memo {
	at := t.recents.at(index)
	if at == nil || at.memo == 0 {
		return nil
	}
	if m := t.decided.at(at.memo - 1); m.index == index {
		return m
	}
	return nil // its memo has gone since
}

// recentPage is the result of List for a page of the decisions after that Index, up to Index top, if all of it is still in
// memory. Among servers that go on side by side it is, and no storage is read. The result is valid until the next call.
// ok is false if the storage is to be asked.
func (t *table) recentPage(after, top uint64, values bool) (p Page, ok bool) {
	p.Names, p.Decisions = t.page.Names[:0], t.page.Decisions[:0]
	for index := after + 1; index <= top && len(p.Names) < page.MaxLines; index++ {
		m := t.recent(index)
		if m == nil {
			clear(p.Names)
			clear(p.Decisions)
			return Page{}, false
		}
		name, decision := m.name, m.Acceptor
		if m.Promised.IsForgotten() {
			name, decision = nameLine(name), paxos.Acceptor{}
		}
		p.Names = append(p.Names, paxos.Named{Instance: name, Index: index})
		if values {
			if len(decision.Value) > page.MaxValue {
				decision = paxos.Acceptor{}
			}
			p.Decisions = append(p.Decisions, decision)
		}
	}
	t.page = p
	return p, true
}

// A recent holds the facts, found by its Index, of a decision that became durable lately.
type recent struct {
	source
	memo uint32 // the number of its memo plus one; 0: it has had none
}

// recents are the latest durable decisions, Limits.Cache of them.
type recents struct {
	from uint64   // the Index of the first of this life
	next uint64   // the Index that comes next; 0: none has come
	ring []recent // the entry of Index i is at i - from, modulo the room
	room uint64
	runs []run // by Index; the last one may be short
}

// A run holds the decisions from one Index to another, that one included, which are all of one source. A server that has caught up with
// another one has long runs.
type run struct {
	source
	from, to uint64
}

// Bounds of the runs.
const (
	leastRun = 8 // decisions of a run that is kept
	mostRuns = 1024
)

// add notes the source of the decision with that Index, which is one above the last. The source is zero if this server
// counted the votes.
func (t *recents) add(index uint64, who source) {
	if t.next == 0 {
		t.from = index
	}
	if at := (index - t.from) % t.room; at < uint64(len(t.ring)) {
		t.ring[at] = recent{source: who}
	} else {
		t.ring = append(t.ring, recent{source: who})
	}
	t.next = index + 1
	t.run(index, who)
}

// run makes the decision with that Index part of a run.
func (t *recents) run(index uint64, who source) {
	n := len(t.runs)
	if n > 0 {
		last := &t.runs[n-1]
		switch {
		case last.source == who && last.to+1 == index:
			last.to = index
			return
		case last.to-last.from+1 < leastRun:
			*last = run{who, index, index}
			return
		case n == mostRuns:
			t.runs = slices.Delete(t.runs, 0, mostRuns/2)
		}
	}
	t.runs = append(t.runs, run{who, index, index})
}

// told returns the Index up to which all decisions after that one are known to be of that source.
func (t *recents) told(after uint64, who source) uint64 {
	i, _ := slices.BinarySearchFunc(t.runs, after+1, func(r run, index uint64) int { return cmp.Compare(r.to, index) })
	if i == len(t.runs) || t.runs[i].source != who || t.runs[i].from > after+1 {
		return after
	}
	return t.runs[i].to
}

// at returns the entry of that Index. It returns nil if the decision is not one of the latest.
func (t *recents) at(index uint64) *recent {
	if index < t.from || index >= t.next || t.next-index > t.room {
		return nil
	}
	return &t.ring[(index-t.from)%t.room]
}

// source returns the source of the decision with that Index, or the zero source.
func (t *recents) source(index uint64) source {
	if at := t.at(index); at != nil {
		return at.source
	}
	return source{}
}

// An openList keeps the oldest of the instances that are added to it, and few beside them. There may be a million, and the
// whole server waits while a Status is made.
type openList struct {
	all  []paxos.OpenInstance
	most int
	full bool // all begins with most instances, the oldest first: one that is younger than the last of these is none of the oldest
}

func (l *openList) add(o paxos.OpenInstance) {
	if l.full && olderFirst(o, l.all[l.most-1]) > 0 {
		return
	}
	if l.all = append(l.all, o); len(l.all) >= 2*l.most {
		l.trim()
	}
}

// trim puts the list in order, and forgets all but the oldest.
func (l *openList) trim() {
	slices.SortFunc(l.all, olderFirst)
	l.all = l.all[:min(len(l.all), l.most)]
	l.full = len(l.all) == l.most
}

func olderFirst(a, b paxos.OpenInstance) int {
	return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.Instance, b.Instance))
}
