package paxos

import "time"

// Catching up (2.3: "a learner may want to know what has been chosen, and no one has told it"). Each server numbers its
// decisions by an Index of its own, and says in every Packet how far it has come. Who is behind pulls: it names where it
// stands, gets a page of names, and asks only for the decisions that it has not. So a page of a server that knows the same
// costs a few bytes a name, and what a dying proposer told to one server only reaches all.
//
//	pull              who has missed something              an acceptor
//	  ── Pull "STORE INDEX" ──────────────────────────────────►  lists what came after Index
//	  ◄───────────────────────── Names "STORE FROM TO\nname\nname…" ──
//	  ── Query, for each name that is not known here ─────────►
//	  ◄──────────────────────────────────────── Decided, for each ──
//	  … and when all are known, the next page, from TO on
//
// If neither has news, two servers take turns: every Timing.Pull one of them sends the other a Pull, which needs no answer. So a lost
// packet hides a decision for no longer than that, and each hears that the other lives (see quorumWatch).

// Bounds of a pull.
const (
	pullNames  = 1024     // of a page
	pullBytes  = 64 << 10 // of a page
	pullWindow = 1024     // decisions that are asked for at a time, at most
	pullFlight = 4 << 20  // about their bytes
)

// A pull is what a server has of the decisions of one acceptor.
type pull struct {
	store  uint64        // whose decisions
	cursor uint64        // all up to this Index of that store are known here, in memory at least
	goal   uint64        // where the acceptor stood when it was heard first in this life
	at     time.Duration // when the next Pull is due
	asked  time.Duration // when the last one left; 0: none has, or it was answered
	own    uint64        // what was decided here then
	active bool          // a page was asked for, or its decisions are being fetched
	tries  int           // Pulls that came to nothing, one after the other
	turn   bool          // it has sent a Pull since the last one that left
	urged  bool          // the last one that left was out of turn

	to       uint64      // the page ends at this Index; 0: it has not come
	page     []string    // its names
	names    []string    // those of them not looked at yet
	fetching []*instance // those of the page that are not known here; stale ones have lost their bit in fetching
	open     int         // how many of them are not

	stored pulled // what ServerState.Pulled says of it, or is about to
	added  uint64 // see saves.added, as of the last page's end
	ask    uint64 // the ListAsk that our own storage was sent for that server; 0: none is out
	from   uint64 // the page is of what came after this Index
	top    uint64 // the durable Index when the question was put: a page that is not full lists all up to here, and no more is claimed
}

// pulls are what a server has of all acceptors.
type pulls struct {
	at      time.Duration // when the first Pull is due; 0: there is nobody to pull from
	caught  bool          // see caughtUp
	more    bool          // a decision has come that a page waited for
	size    int           // about the bytes of a decision that was fetched lately
	unsaved bool          // a cursor is not in ServerState.Pulled yet
	lists   []ListAsk
	asks    uint64 // ListAsks so far

	recent []Named  // see recentNames
	lines  []byte   // of the last page that was sent
	parsed []string // names of the last page that came
}

// pullFrom begins the pulls of this life where the storage says that the last one ended.
func (r *Replica) pullFrom(s ServerState) {
	stored, _ := parsePulled(s.Pulled) // it was checked
	r.pulls.size = r.limits.MaxValue
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 {
			p.pull.stored = stored[p.id]
			p.pull.store, p.pull.cursor = p.pull.stored.store, p.pull.stored.index
			r.askNames(p)
		}
	}
}

// askNames asks an acceptor for what came after the cursor. If it is not known to have more, it need not answer.
func (r *Replica) askNames(p *peer) {
	q := &p.pull
	q.active = p.heard && r.behind(p)
	wait := r.timing.Pull + r.jitter(r.timing.Pull/8)
	switch {
	case q.active:
		wait = min(r.timing.Phase<<min(q.tries, 20), wait)
		q.tries++
	case r.quorums.lost:
		wait /= 2 // the sooner somebody is heard again, the better
	default:
		wait += r.timing.Pull / 4 // the other's turn comes first
	}
	if !q.active {
		q.tries = 0
	}
	q.asked, q.own, q.turn = max(r.now, 1), r.saves.index, false
	r.pullAt(p, r.now+wait)
	r.sendPull(p)
}

// sendPull sends a Pull that says where the cursor stands.
func (r *Replica) sendPull(p *peer) {
	r.send(p, Message{Kind: KindPull, Value: pullText(p.pull.store, p.pull.cursor, r.saves.state.Boot)})
	if r.unusual {
		r.tellLimits(p, r.timing.Pull)
	}
}

// behind reports whether that acceptor has decided more than is known here.
func (r *Replica) behind(p *peer) bool {
	return p.position >= 0 && (p.index > p.pull.cursor || p.index > 0 && p.pull.store != p.store)
}

// pullAt has the next Pull to p be due at that time.
func (r *Replica) pullAt(p *peer, at time.Duration) {
	p.pull.at = max(at, 1)
	r.planPulls()
}

// pullNever has no Pull to p be due.
func (r *Replica) pullNever(p *peer) {
	p.pull.at = 0
	r.planPulls()
}

// planPulls notes when the first Pull is due.
func (r *Replica) planPulls() {
	r.pulls.at = 0
	for i := range r.peers {
		if at := r.peers[i].pull.at; at != 0 && (r.pulls.at == 0 || at < r.pulls.at) {
			r.pulls.at = at
		}
	}
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

// notice is called after every packet of a peer: who is heard for the first time, or again after a while, or is far ahead,
// is pulled from at once.
func (r *Replica) notice(p *peer) {
	q := &p.pull
	switch {
	case q.active || !r.behind(p):
		p.again = false
	case !p.again && p.index-q.cursor < r.manyNames():
	default:
		r.askSoon(p)
	}
}

// manyNames is how many decisions are pulled at once, and not when it is time to: as many as are still in memory, so that what is
// known here is found to be without a look at the storage.
func (r *Replica) manyNames() uint64 {
	many := max(r.limits.Cache/2, 64)
	// So many bytes may be all that there is room for.
	if d := &r.table.decided; d.bytes > maxCacheBytes/2 {
		many = min(many, max(d.len/2, 1))
	}
	return uint64(many)
}

// askSoon asks that acceptor for names, unless it was asked just now, and the answer may be on its way. Who had nothing to say then, as
// when both began, did not answer; and may have as much to say by now as was decided here since.
func (r *Replica) askSoon(p *peer) {
	if q := &p.pull; q.asked == 0 || r.now-q.asked >= r.timing.Phase || r.saves.index-q.own >= r.manyNames() {
		q.tries, p.again = 0, false
		r.askNames(p)
	}
}

// decidedMany is called when decisions have become durable here: acceptors that had no reason to say anything lately will have
// decided as much.
func (r *Replica) decidedMany() {
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 && p.heard && !p.pull.active && r.saves.index-p.pull.own >= r.manyNames() {
			r.askSoon(p) // nothing else may come that says how far it is
		}
	}
}

// pulledBy takes a Pull: it is answered with a page of names, if there is anything to tell.
func (r *Replica) pulledBy(from *peer, m *Message) {
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

// Listed answers the ListAsk with that ID with what Storage.Decided returned for it, however late. An ID that was not asked, or was
// answered already, is ignored. The slice stays the caller's.
func (r *Replica) Listed(now time.Duration, id uint64, names []Named) {
	r.input(now)
	if r.stop != nil || id == 0 {
		return
	}
	for i := range r.peers {
		if p := &r.peers[i]; p.pull.ask == id {
			p.pull.ask = 0
			r.sendNames(p, names)
			return
		}
	}
}

// recentNames is what Storage.Decided would return for a page, where all of it is in memory still: so it is where servers go on side by
// side, and then nothing needs to be looked up. It is valid until the next call. Nil: ask the storage.
func (r *Replica) recentNames(after uint64) []Named {
	names := &r.pulls.recent
	*names = (*names)[:0]
	for index := after + 1; index <= r.saves.index && len(*names) < pullNames; index++ {
		m := r.table.recent(index)
		if m == nil {
			clear(*names)
			return nil
		}
		*names = append(*names, Named{Instance: m.name, Index: index})
	}
	return *names
}

func (r *Replica) sendNames(to *peer, names []Named) {
	r.send(to, Message{Kind: KindNames, Value: r.namesText(to, names)})
}

// namesText is the page for that peer. Two kinds are left out, where that is known without the storage: what its running
// process told of, which it has, and instances that have stopped, of which nothing more is said.
func (r *Replica) namesText(to *peer, names []Named) Value {
	q := &to.pull
	lines := r.pulls.lines[:0]
	last, full := q.from, len(names) >= pullNames
	for _, n := range names {
		if n.Index > q.top || len(lines)+len(n.Instance) > pullBytes {
			full = n.Index <= q.top
			break
		}
		last = n.Index
		if r.table.recents.teller(n.Index) == (teller{to, to.boot}) || r.stopped(n.Instance) {
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

// names takes a page of names: what is not known here is asked for.
func (r *Replica) names(from *peer, m *Message) {
	store, after, boot, to, names, ok := parseNames(m.Value, r.pulls.parsed[:0])
	r.pulls.parsed = names[:0]
	q := &from.pull
	switch {
	case ok && store == from.store && after == to && len(names) == 0:
		if !q.active && !r.behind(from) {
			r.signFrom(from) // a sign: it has nothing to tell
		}
		return
	case !ok || store != from.store || after >= to:
		r.counters.Dropped++
		ok = false
	case boot != r.saves.state.Boot:
		ok = false // it was asked by an earlier process of this server, and may leave out what that one knew
	case after == 0 && q.to == 0 && (store != q.store || q.cursor > from.index):
		q.store, q.cursor = store, 0 // the cursor is of another storage, or of nothing that there is
	case store != q.store || after != q.cursor || q.open > 0 || len(q.names) > 0:
		ok = false // it comes late, or twice
	}
	if !ok {
		clear(names) // which would keep the page in memory
		return
	}
	q.page, r.pulls.parsed = names, q.page[:0]
	q.active, q.tries, q.asked, q.to, q.names = true, 0, 0, to, q.page
	r.table.decided.expect(names)
	r.fetch(from)
}

// fetch looks at names of the page until so many decisions are asked for that it is time to wait, or none are left.
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
		first := inst.fetching == 0 // else another has been asked already; if its answer is lost, the page comes again
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

// roomToFetch reports whether there is room for decisions that are asked for: what can't be saved soon would be dropped.
func (r *Replica) roomToFetch() bool { return r.saves.unsaved <= maxUnsaved/2 && r.roomForWork() }

// fetchOne asks p for the decision of inst, which is loaded.
func (r *Replica) fetchOne(inst *instance, p *peer) {
	inst.informant = p
	r.counters.Fetched++
	r.proceed(inst)
}

// fetchLoaded asks one of those that have it for the decision of inst, which has just been loaded and is undecided here.
func (r *Replica) fetchLoaded(inst *instance) {
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 && inst.fetching.Has(p.position) {
			r.fetchOne(inst, p)
			return
		}
	}
}

// fetched is called when inst needs no fetching any more. The next is fetched later, when no other instance is under way.
func (r *Replica) fetched(inst *instance) {
	waits := inst.fetching
	if waits == 0 {
		return
	}
	inst.fetching = 0
	r.pulls.size += (len(inst.save.Value) - r.pulls.size) / 8
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 && waits.Has(p.position) {
			p.pull.open--
			r.pulls.more = true
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

// pageDone is called when all of the page is known here.
func (r *Replica) pageDone(p *peer) {
	q := &p.pull
	q.cursor, q.active = q.to, false
	q.added, r.pulls.unsaved = r.saves.added, true
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

// endPage forgets the page, whose fetches may be under way.
func (r *Replica) endPage(p *peer) {
	q := &p.pull
	for _, inst := range q.fetching {
		if inst.fetching.Has(p.position) {
			inst.fetching &^= Set(0).With(p.position)
			if !inst.loading {
				r.fetchLoaded(inst) // who else lists it is asked now: the answer of this one was lost
			}
			r.settle(inst)
		}
	}
	clear(q.page)
	clear(q.fetching)
	q.to, q.page, q.names, q.fetching, q.open = 0, q.page[:0], nil, q.fetching[:0], 0
}

// caughtUp reports whether this server has what the servers of a quorum had decided when it heard of them first.
func (r *Replica) caughtUp() bool {
	if r.pulls.caught {
		return true
	}
	var have Set
	if r.position >= 0 {
		have = have.With(r.position)
	}
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 && p.heard && (p.pull.goal == 0 || p.pull.store == p.store && p.pull.cursor >= p.pull.goal) {
			have = have.With(p.position)
		}
	}
	r.pulls.caught = r.quorum.Phase1(have) && r.quorum.Phase2(have)
	return r.pulls.caught
}

// storePulled has ServerState.Pulled say where the pulls stand, as far as what they brought is durable. Nobody waits for it.
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
		case q.added > r.saves.kept:
			r.pulls.unsaved = true
		default:
			q.stored, changed = now, true
		}
	}
	if changed {
		r.saves.state.Pulled = r.pulledText()
		r.saves.stateChanged = true
		r.saveLater()
	}
}
