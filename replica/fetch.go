package replica

import (
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// page takes a page of names or of decisions, and asks for the decisions that are not known here.
func (r *Replica) page(from *peer, m *paxos.Message) {
	h, lines, ok := r.pulls.parse(m)
	q := &from.pull
	switch {
	case ok && h.Store == from.identity.store() && h.From == h.To && len(lines) == 0:
		if !q.isActive() && !r.behind(from) {
			r.signFrom(from) // a sign: it names no decisions
		}
		return
	case !ok || h.Store != from.identity.store() || h.From >= h.To:
		r.counters.Dropped++
		ok = false
	case h.Boot != r.server.Boot:
		ok = false // an earlier process of this server asked for it, so it may leave out decisions that this process lacks
	default:
		ok = q.fits(h, from.identity.index())
	}
	if !ok {
		clear(lines) // the names would keep the page in memory
		return
	}
	r.pulls.turn(q, lines, h.To)
	q.headed(h)
	q.begins(r.now)
	r.table.decided.expect(lines)
	r.fetch(from)
}

// fetch looks at the names of the page, and asks for the decisions that are not known. It goes on until none are left, or as
// many are asked for as may be at a time.
func (r *Replica) fetch(p *peer) {
	q := &p.pull
	window := min(r.pulls.window(), max(r.limits.MaxOpen/2/len(r.peers), 1)) // callers want room, too
	for line := q.next(window); line != nil; line = q.next(window) {
		name, forget := r.fetchForgotten(q, line.Name)
		if name == "" {
			q.pass()
			continue
		}
		known := r.table.decided.find(name)
		if known != nil && (!forget || known.Promised.IsForgotten()) {
			if forget == known.Promised.IsForgotten() {
				p.told.Add(known.index)
			}
			q.pass()
			continue
		}
		if !line.HasDecision() && r.pulls.waits(q) {
			break
		}
		if !r.roomToFetch() {
			r.pulls.wait() // when the disk has gone on
			break
		}
		if known != nil {
			r.reopen(known)
		}
		name, value := ownCopy(name, line.Value)
		inst := r.openForWork(name)
		q.pass()
		if forget {
			r.forgetWhenLoaded(inst)
		}
		if !forget && !inst.forgotten() {
			noteListed(p, inst)
		}
		if inst.stopped != nil && !inst.chosen {
			q.lack() // it may be decided there
		}
		if inst.chosen || inst.stopped != nil || inst.fetching.Has(p.position) {
			r.settle(inst)
			continue
		}
		first := inst.fetching == 0 // otherwise another acceptor was asked already; if its answer is lost, the page comes again
		inst.fetching = inst.fetching.With(p.position)
		p.fetching = append(p.fetching, inst)
		q.await()
		if line.HasDecision() {
			r.brought(inst, p, line.Ballot, value) // inst may have left memory now
			continue
		}
		if first && !inst.loading {
			r.fetchOne(inst, p)
		}
		r.settle(inst)
	}
	if q.isRead() {
		r.pageDone(p)
		return
	}
	r.pullAt(p, r.now+max(2*r.timing.Phase, r.timing.Pull/4))
}

// noteListed notes that a page of p lists inst as decided.
func noteListed(p *peer, inst *instance) {
	if inst.index != 0 {
		p.told.Add(inst.index)
	} else {
		inst.listedBy = inst.listedBy.With(p.position)
	}
}

// fetchForgotten returns the instance that a line of a page is about, and whether it was forgotten there. It forgets a range of
// names at once. The name is empty if nothing is left to do, or if there is no room for the range: then q lacks it.
func (r *Replica) fetchForgotten(q *pull, line string) (name string, forget bool) {
	if !r.forgets.some() && !strings.HasPrefix(line, "$") { // as nearly always
		return line, false
	}
	names, forget := parseRangeLine(line)
	name, one := names.One()
	switch {
	case !forget:
		name = line
	case !one:
		if r.forgets.fits() {
			r.forgetRange(names)
		} else if _, ok := r.forgets.covering(names); !ok {
			q.lack()
		}
		return "", false
	}
	if r.forgets.some() {
		if _, _, ok := r.forgets.find(name); ok {
			return "", false
		}
	}
	return name, forget
}

// ownCopy returns copies of a name and a value, so that they do not keep their page in memory.
func ownCopy(name string, v paxos.Value) (string, paxos.Value) {
	var text strings.Builder
	text.Grow(len(name) + len(v))
	text.WriteString(name)
	text.WriteString(string(v))
	both := text.String()
	return both[:len(name)], paxos.Value(both[len(name):])
}

// decidedBy learns a decision from another server. If the own ballot ran, the acceptors that promised to it, now or later,
// are told of the decision, too. They do not know it, and have begun a new silence, as somebody was at work.
func (r *Replica) decidedBy(inst *instance, from *peer, m *paxos.Message) {
	promised := inst.attempt.promised()
	if inst.attempt.running() {
		inst.ownBallot = inst.attempt.Ballot()
	}
	r.decide(inst, from, m.Ballot, m.Value)
	for _, to := range r.peers {
		if inst.chosen && to.position >= 0 && promised.Has(to.position) {
			r.tellChosen(to, inst.name, inst.acceptor.Accepted)
		}
	}
}

// brought takes the decision of inst, which was not decided, that a page of p has brought, as if p had sent it by itself.
func (r *Replica) brought(inst *instance, p *peer, ballot paxos.Ballot, v paxos.Value) {
	r.counters.Fetched++
	m := paxos.Message{Kind: paxos.KindDecided, Instance: inst.name, Ballot: ballot, Value: v}
	switch {
	case r.invalid(p, &m, inst) != "":
		r.counters.Dropped++
		if r.passOver(p, inst, &m) {
			return // it has settled inst
		}
	case inst.loading:
		r.arrives(inst, p, &m)
	default:
		r.decidedBy(inst, p, &m)
	}
	r.settle(inst)
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

// hadIt is called when inst has been loaded, and is decided. If it is forgotten, nobody's page waits for it any more.
func (r *Replica) hadIt(inst *instance) {
	for _, p := range r.peers {
		if p.position >= 0 && inst.fetching.Has(p.position) {
			p.pull.hadIt()
			p.told.Add(inst.index)
		}
	}
}

// fetchLoaded asks for the decision of inst, which has just been loaded and is undecided here. It asks one of the acceptors
// that have it.
func (r *Replica) fetchLoaded(inst *instance) {
	for _, p := range r.peers {
		if p.position >= 0 && inst.fetching.Has(p.position) {
			r.fetchOne(inst, p)
			return
		}
	}
}

// fetchMore goes on with the pages whose decisions have come.
func (r *Replica) fetchMore() {
	r.pulls.goOn()
	for _, p := range r.peers {
		if p.pull.hasPage() {
			r.fetch(p)
		}
	}
}

// pageDone is called when all decisions of the page are known here.
func (r *Replica) pageDone(p *peer) {
	p.pull.finish(r.saves.mark())
	r.pulls.turned(&p.pull, r.behind(p))
	r.pulledMore(p, p.pull.lastPage())
	r.pulls.move()
	r.storePulled()
	rest := time.Duration(0)
	if !r.pulls.isCalm(r.now, r.served()) {
		rest = p.pull.pace(r.now)
	}
	r.endPage(p)
	switch {
	case r.standWaitsFor(p) && r.behind(p):
		r.askNames(p)
	case !r.behind(p) || r.isFirst(p):
		r.pullAt(p, r.now+r.timing.Pull+r.jitter(r.timing.Pull/8))
	case rest > 0:
		p.pull.restUntil(r.now + rest)
		r.pullAt(p, r.now+rest)
	default:
		r.askNames(p)
	}
	if inst := r.table.byName[readyName]; inst != nil {
		r.ready(inst)
		r.settle(inst)
	}
}

// served counts the work that callers, of any server, have given this one.
func (r *Replica) served() uint64 {
	return r.counters.Attempts + r.counters.Received[paxos.KindPrepare] + r.counters.Received[paxos.KindAccept]
}

// endPage forgets the page. Some of its decisions may have been asked for.
func (r *Replica) endPage(p *peer) {
	for _, inst := range p.fetching {
		if inst.fetching.Has(p.position) {
			inst.fetching &^= paxos.Set(0).With(p.position)
			if !inst.loading {
				r.fetchLoaded(inst) // another acceptor that lists it is asked now: the answer of this one was lost
			}
			r.settle(inst)
		}
	}
	clear(p.fetching)
	p.fetching = p.fetching[:0]
	p.pull.endPage()
}

// pullsDue sends the Pulls that are due.
func (r *Replica) pullsDue(now time.Duration) {
	if !r.pulls.isDue(now) {
		return
	}
	for _, p := range r.peers {
		if p.pull.isDue(now) {
			if p.pull.isActive() {
				r.pulls.turned(&p.pull, false) // its answer, or some of its decisions, have not come
			}
			r.endPage(p)
			r.takeTurn(p)
		}
	}
}

// storePulled sets ServerState.Pulled to the cursors of the pulls, as far as the decisions up to them are durable. Nobody
// waits for it.
func (r *Replica) storePulled() {
	if !r.pulls.takeMoved() {
		return
	}
	changed := false
	for i := range r.peers {
		switch q := &r.peers[i].pull; {
		case !q.isMoved():
		case !r.saves.isKept(q.mark()):
			r.pulls.move()
		default:
			q.keep()
			changed = true
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
		b = r.peers[i].pull.appendStored(b, r.peers[i].id)
	}
	return string(b)
}
