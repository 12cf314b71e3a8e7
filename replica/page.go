package replica

import (
	"time"

	"github.com/singledecree/paxos"
)

// pulledBy takes a Pull: it is answered with a page of names, if there is anything to tell.
func (r *Replica) pulledBy(from *peer, m *paxos.Message) {
	store, after, boot, ok := parsePullText(m.Value)
	if !ok || boot != from.boot {
		r.counters.Dropped++
		return
	}
	q := &from.pull
	if store != r.saves.state.Store || after > r.saves.index {
		after = 0 // it speaks of another storage: it begins anew
	}
	switch {
	case after < r.saves.index:
		r.answerPull(from, after)
	case !q.active && !r.behind(from):
		r.signFrom(from)
	}
	from.again = true // it asks now and then only: a good time to ask it, too
}

// answerPull sends a page of what came after that Index: at once if memory has all of it, else when the storage has listed it. While a
// page is being listed, another is not begun.
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

// Listed answers the ListAsk with that ID with what Storage.Decided returned for it, however late. It reports whether the answer was still
// wanted: the ID was asked, and not answered, and the peer that it was asked for has not asked anew since. The slice stays the caller's.
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

// recentNames is what Storage.Decided would return for a page, where all of it is in memory still: so it is where servers go on side by
// side, and then nothing needs to be looked up. It is valid until the next call. Nil: ask the storage.
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

// namesText is the page for that peer. Two kinds are left out, where that is known without the storage: what its running
// process told of, which it has, and instances that have stopped, of which nothing more is said.
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
		return false // and there is no need to look
	}
	inst := r.table.byName[name]
	return inst != nil && inst.stopped != nil
}
