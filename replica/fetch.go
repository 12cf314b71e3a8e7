package replica

import (
	"strconv"
	"time"

	"github.com/singledecree/paxos"
)

// names takes a page of names, and asks for the decisions that are not known here.
func (r *Replica) names(from *peer, m *paxos.Message) {
	store, after, boot, to, names, ok := parseNames(m.Value, r.pulls.parsed[:0])
	r.pulls.parsed = names[:0]
	q := &from.pull
	switch {
	case ok && store == from.identity.store() && after == to && len(names) == 0:
		if !q.active && !r.behind(from) {
			r.signFrom(from) // a sign: it names no decisions
		}
		return
	case !ok || store != from.identity.store() || after >= to:
		r.counters.Dropped++
		ok = false
	case boot != r.server.Boot:
		ok = false // an earlier process of this server asked for it, so it may leave out decisions that this process lacks
	case after == 0 && q.to == 0 && (store != q.store || q.cursor > from.identity.index()):
		q.store, q.cursor = store, 0 // the cursor is of another storage, or beyond all decisions
	case store != q.store || after != q.cursor || q.open > 0 || len(q.names) > 0:
		ok = false // it comes late, or twice
	}
	if !ok {
		clear(names) // the names would keep the page in memory
		return
	}
	q.page, r.pulls.parsed = names, q.page[:0]
	q.active, q.tries, q.asked, q.to, q.names = true, 0, 0, to, q.page
	r.table.decided.expect(names)
	r.fetch(from)
}

// fetch looks at the names of the page, and asks for the decisions that are not known. It goes on until none are left, or as
// many are asked for as may be at a time.
func (r *Replica) fetch(p *peer) {
	q := &p.pull
	window := min(max(pullFlight/(r.pulls.size+64), 16), pullWindow)
	window = min(window, max(r.limits.MaxOpen/2/len(r.peers), 1)) // callers want room, too
	for len(q.names) > 0 && q.open < window {
		if r.table.decided.find(q.names[0]) != nil {
			q.names = q.names[1:]
			continue
		}
		if !r.roomToFetch() {
			r.pulls.more = true // when the disk has gone on
			break
		}
		inst := r.openForWork(q.names[0])
		q.names = q.names[1:]
		if inst.chosen || inst.stopped != nil || inst.fetching.Has(p.position) {
			r.settle(inst)
			continue
		}
		first := inst.fetching == 0 // otherwise another acceptor was asked already; if its answer is lost, the page comes again
		inst.fetching = inst.fetching.With(p.position)
		q.fetching = append(q.fetching, inst)
		q.open++
		if first && !inst.loading {
			r.fetchOne(inst, p)
		}
		r.settle(inst)
	}
	if len(q.names) == 0 && q.open == 0 {
		r.pageDone(p)
		return
	}
	r.pullAt(p, r.now+max(2*r.timing.Phase, r.timing.Pull/4))
}

// roomToFetch reports whether there is room for decisions that are asked for. A decision that can't be saved soon would be
// dropped.
func (r *Replica) roomToFetch() bool { return r.saves.keepsUp() && r.roomForWork() }

// fetchOne asks p for the decision of inst, which is loaded.
func (r *Replica) fetchOne(inst *instance, p *peer) {
	inst.askForValue = p
	r.counters.Fetched++
	r.proceed(inst)
}

// fetchLoaded asks for the decision of inst, which has just been loaded and is undecided here. It asks one of the acceptors
// that have it.
func (r *Replica) fetchLoaded(inst *instance) {
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 && inst.fetching.Has(p.position) {
			r.fetchOne(inst, p)
			return
		}
	}
}

// fetchMore goes on with the pages whose decisions have come.
func (r *Replica) fetchMore() {
	r.pulls.more = false
	for i := range r.peers {
		if p := &r.peers[i]; p.pull.active && p.pull.to != 0 {
			r.fetch(p)
		}
	}
}

// pageDone is called when all decisions of the page are known here.
func (r *Replica) pageDone(p *peer) {
	q := &p.pull
	q.cursor, q.active = q.to, false
	q.added, r.pulls.unsaved = r.saves.mark(), true
	r.storePulled()
	r.endPage(p)
	if r.behind(p) {
		r.askNames(p)
	} else {
		r.pullAt(p, r.now+r.timing.Pull+r.jitter(r.timing.Pull/8))
	}
	if inst := r.table.byName[readyName]; inst != nil {
		r.ready(inst)
		r.settle(inst)
	}
}

// endPage forgets the page. Some of its decisions may have been asked for.
func (r *Replica) endPage(p *peer) {
	q := &p.pull
	for _, inst := range q.fetching {
		if inst.fetching.Has(p.position) {
			inst.fetching &^= paxos.Set(0).With(p.position)
			if !inst.loading {
				r.fetchLoaded(inst) // another acceptor that lists it is asked now: the answer of this one was lost
			}
			r.settle(inst)
		}
	}
	clear(q.page)
	clear(q.fetching)
	q.to, q.page, q.names, q.fetching, q.open = 0, q.page[:0], nil, q.fetching[:0], 0
}

// pullsDue sends the Pulls that are due.
func (r *Replica) pullsDue(now time.Duration) {
	if r.pulls.at == 0 || r.pulls.at > now {
		return
	}
	for i := range r.peers {
		if p := &r.peers[i]; p.pull.at != 0 && p.pull.at <= now {
			r.endPage(p)
			r.takeTurn(p)
		}
	}
}

// storePulled sets ServerState.Pulled to the cursors of the pulls, as far as the decisions up to them are durable. Nobody
// waits for it.
func (r *Replica) storePulled() {
	if !r.pulls.unsaved {
		return
	}
	changed := false
	r.pulls.unsaved = false
	for i := range r.peers {
		q := &r.peers[i].pull
		switch now := (pulled{q.store, q.cursor}); {
		case now == q.stored:
		case !r.saves.isKept(q.added):
			r.pulls.unsaved = true
		default:
			q.stored, changed = now, true
		}
	}
	if changed {
		r.server.Pulled = r.pulledText()
		r.serverChanged = true
		r.saveLater()
	}
}

// pulledText is ServerState.Pulled.
func (r *Replica) pulledText() string {
	b := make([]byte, 0, 256)
	for i := range r.peers {
		p := &r.peers[i]
		if p.pull.stored == (pulled{}) {
			continue
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendUint(b, uint64(p.id), 10), '/')
		b = append(strconv.AppendUint(b, p.pull.stored.store, 16), '/')
		b = strconv.AppendUint(b, p.pull.stored.index, 10)
	}
	return string(b)
}
