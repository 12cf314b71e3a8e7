package replica

import (
	"time"

	"github.com/singledecree/paxos"
)

// pulledBy takes a Pull. It answers with a page of names, if there are decisions to name.
func (r *Replica) pulledBy(from *peer, m *paxos.Message) {
	store, after, boot, ok := parsePullText(m.Value)
	if !ok || boot != from.boot {
		r.counters.Dropped++
		return
	}
	q := &from.pull
	if store != r.saves.state.Store || after > r.saves.index {
		after = 0 // it names another storage: begin at the first decision
	}
	switch {
	case after < r.saves.index:
		r.answerPull(from, after)
	case !q.active && !r.behind(from):
		r.signFrom(from)
	}
	from.again = true // it asks only now and then: a good time to ask it, too
}

// answerPull sends a page of the decisions after that Index. If memory has all of them, it sends the page at once, else when
// the storage has listed it. It asks the storage for one page at a time.
func (r *Replica) answerPull(to *peer, after uint64) {
	q := &to.pull
	if q.ask != 0 {
		return
	}
	q.from, q.top = after, r.saves.index
	if names := r.recentNames(after); names != nil {
		r.sendNames(to, names)
		clear(names)
		return
	}
	r.pulls.asks++
	q.ask = r.pulls.asks
	r.pulls.lists = append(r.pulls.lists, ListAsk{ID: q.ask, After: after, Max: pullNames})
}

// Listed answers the ListAsk with that ID, however late: names is the result of [paxos.Storage].Decided for it. The slice
// stays the caller's.
//
// It reports whether the answer was still wanted. Then the ID was asked and not answered, and the peer has not asked anew
// since.
func (r *Replica) Listed(now time.Duration, id uint64, names []paxos.Named) bool {
	r.input(now)
	if r.stop != nil || id == 0 {
		return false
	}
	for i := range r.peers {
		if p := &r.peers[i]; p.pull.ask == id {
			p.pull.ask = 0
			r.sendNames(p, names)
			return true
		}
	}
	return false
}

// recentNames is the result of Storage.Decided for a page, if all of it is still in memory. Among servers that go on side by
// side it is, and no storage is read. The result is valid until the next call. Nil: ask the storage.
func (r *Replica) recentNames(after uint64) []paxos.Named {
	names := &r.pulls.recent
	*names = (*names)[:0]
	for index := after + 1; index <= r.saves.index && len(*names) < pullNames; index++ {
		m := r.table.recent(index)
		if m == nil {
			clear(*names)
			return nil
		}
		*names = append(*names, paxos.Named{Instance: m.name, Index: index})
	}
	return *names
}

func (r *Replica) sendNames(to *peer, names []paxos.Named) {
	r.send(to, paxos.Message{Kind: paxos.KindNames, Value: r.namesText(to, names)})
}

// namesText is the page for that peer. It leaves out two kinds of instances, where memory is enough to tell them. The peer's
// running process told of the first kind; the second kind has stopped.
func (r *Replica) namesText(to *peer, names []paxos.Named) paxos.Value {
	q := &to.pull
	lines := r.pulls.lines[:0]
	last, full := q.from, len(names) >= pullNames
	for _, n := range names {
		if n.Index > q.top || len(lines)+len(n.Instance) > pullBytes {
			full = n.Index <= q.top
			break
		}
		last = n.Index
		if r.table.recents.source(n.Index) == (source{to, to.boot}) || r.stopped(n.Instance) {
			continue
		}
		lines = append(append(lines, '\n'), n.Instance...)
	}
	if !full {
		last = q.top
	}
	r.pulls.lines = lines
	return namesPage(r.saves.state.Store, q.from, to.boot, last, lines)
}

// stopped reports whether the instance has stopped.
func (r *Replica) stopped(name string) bool {
	if r.counters.Faults == 0 {
		return false // no instance has stopped
	}
	inst := r.table.byName[name]
	return inst != nil && inst.stopped != nil
}
