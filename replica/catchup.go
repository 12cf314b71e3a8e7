package replica

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
	"github.com/singledecree/paxos/internal/page"
)

// Catching up (2.3: "a learner may want to know what has been chosen, and no one has told it"). Each server numbers its
// decisions by an Index of its own, and every Packet carries its sender's Index. A server that is behind pulls. It says
// where it stands, gets a page of names, and asks only for the decisions that it lacks.
//
// A page from a server that knows the same decisions costs a few bytes a name. A decision that a dying proposer told to a
// single server still reaches all.
//
//	pull              a server that missed something        an acceptor
//	  ── Pull "STORE INDEX" ──────────────────────────────────►  lists the decisions after Index
//	  ◄───────────────────────── Names "STORE FROM TO\nname\nname…" ──
//	  ── Query, for each name that is not known here ─────────►
//	  ◄──────────────────────────────────────── Decided, for each ──
//	  … and when all are known, the next page, from TO on
//
// A server that lacks most of a page asks for the next one with the values. It does so at one acceptor at a time. The pages of the
// others wait meanwhile, as they name the same decisions:
//
//	  ── Pull "STORE TO values" ──────────────────────────────►
//	  ◄──────────────────── Decisions, a page of names and values ──
//
// If neither has news, two servers take turns: every Timing.Pull one of them sends the other a Pull, which needs no answer.
// So a lost packet hides a decision for no longer than that. Each server also hears that the other lives: see quorumWatch.

// pullFrom begins the pulls of this life where the storage says that the last one ended.
func (r *Replica) pullFrom(s paxos.ServerState) {
	stored, _ := page.ParseCursors(s.Pulled) // it was checked
	r.pulls.begin(r.limits.MaxValue)
	for _, p := range r.peers {
		if p.position >= 0 {
			p.pull.begin(stored[p.id])
			r.askNames(p)
		}
	}
	r.callLearners(r.timing.Pull)
}

// callLearners makes a sign due to each learner that is silent, after that time. A new server may know none of the present acceptors. It
// learns from the sign where it can ask for the configurations since it was formatted.
func (r *Replica) callLearners(wait time.Duration) {
	for _, p := range r.peers {
		if r.isUncalled(p) {
			r.pullAt(p, r.now+wait)
		}
	}
}

// isUncalled reports whether p is a learner that may not know this acceptor.
func (r *Replica) isUncalled(p *peer) bool {
	return p.position < 0 && r.position >= 0 && r.view.Number() > 0 && !p.identity.isHeardAfter(r.now-r.listens())
}

// askNames asks an acceptor for the decisions after the cursor. If it is not known to have more, it need not answer.
func (r *Replica) askNames(p *peer) {
	news := p.identity.isHeard() && r.behind(p)
	tries := p.pull.ask(r.now, r.index, news)
	if !news {
		r.pulls.turned(&p.pull, false)
	}
	wait := r.timing.Pull + r.jitter(r.timing.Pull/8)
	switch {
	case news:
		wait = min(r.timing.Phase<<min(tries, 20), wait)
	case r.quorums.isLost():
		wait /= 2 // to hear an acceptor again soon
	default:
		wait += r.timing.Pull / 4 // the other's turn comes first
	}
	r.pullAt(p, r.now+wait)
	r.sendPull(p)
}

// sendPull sends a Pull that says where the cursor stands.
func (r *Replica) sendPull(p *peer) {
	values := r.pulls.wantsValues(&p.pull) || r.index == 0 && p.pull.isAtStart() // nothing is known here that could spare a value
	r.send(p, &paxos.Message{Kind: paxos.KindPull, Value: p.pull.text(r.server.Boot, values)})
	if r.unusual {
		r.tellLimits(p, r.timing.Pull)
	}
}

// behind reports whether that acceptor has decided more than is known here.
func (r *Replica) behind(p *peer) bool {
	return p.position >= 0 && p.pull.isBehind(p.identity.store(), p.identity.index())
}

// pullAt makes the next Pull to p due at that time.
func (r *Replica) pullAt(p *peer, at time.Duration) {
	p.pull.plan(at)
	r.planPulls()
}

// pullNever makes no Pull to p due.
func (r *Replica) pullNever(p *peer) {
	p.pull.planNone()
	r.planPulls()
}

// planPulls notes when the first Pull is due.
func (r *Replica) planPulls() {
	var first time.Duration
	for i := range r.peers {
		if at := r.peers[i].pull.planned(); at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	r.pulls.plan(first)
}

// notice is called after every packet of a peer. It pulls at once from a peer that is heard for the first time, or again
// after a while, or that is far ahead.
func (r *Replica) notice(p *peer) {
	q := &p.pull
	switch {
	case q.isActive() || !r.behind(p):
		q.notSoon()
	case r.standWaitsFor(p):
		q.askAnew()
		r.askNames(p)
	case !q.wantsSoon() && q.lag(p.identity.index()) < r.manyNames():
	default:
		r.askSoon(p)
	}
}

// manyNames is the number of decisions from which a pull does not wait for its time. So many are still in memory. So those
// that are known here are found without a look at the storage.
func (r *Replica) manyNames() uint64 {
	return uint64(r.table.decided.many(max(r.limits.Cache/2, 64)))
}

// askSoon asks that acceptor for names, unless it was asked just now and the answer may be on its way. An acceptor that had
// no news did not answer, as when both began. It may have many by now, if many were decided here since: then it is asked
// again.
func (r *Replica) askSoon(p *peer) {
	if !p.pull.rests(r.now) && !r.isFirst(p) && p.pull.mayAsk(r.now, r.timing.Phase, r.index, r.manyNames()) {
		p.pull.askAnew()
		r.askNames(p)
	}
}

// isFirst reports whether p is to read the decisions of this server before this server reads those of p, except when a Pull is due. p knows
// then which of its own it need not list. Nobody reads what a learner has. Two kinds of servers go first:
//
//   - A new acceptor that still takes over what the acceptors before remember. This server learns from these, too.
//   - A server that is far behind this one. If each of two is far behind the other, it is the one that is further behind; if that is about
//     equal, the one with the higher ID.
//
// They go first as long as they get on: something may keep the pages from them.
func (r *Replica) isFirst(p *peer) bool {
	if r.position < 0 || r.wantsImport() || !p.listing.isRead(r.now, r.timing.Pull) {
		return false
	}
	if r.view.Number() > 0 && !p.complete && !r.view.Sources().Has(p.position) && p.pull.isCaughtUp(p.identity.store()) {
		return true
	}
	told, own := p.listing.told(), p.pull.lag(p.identity.index())
	if told == 0 || r.index < told+farBehind {
		return false
	}
	lag := r.index - told // or less: it has read on since it said so. Both servers must not wait
	if p.id > r.id {
		return lag+farBehind > own
	}
	return lag > own+2*farBehind
}

// decidedMany is called when decisions have become durable here. Acceptors that had no reason to send anything lately have
// probably decided as many.
func (r *Replica) decidedMany() {
	for _, p := range r.peers {
		if p.position >= 0 && p.identity.isHeard() && !p.pull.isActive() && p.pull.sinceAsked(r.index) >= r.manyNames() {
			r.askSoon(p) // nothing else may come that says how far it is
		}
	}
}

// signFrom is called when p has sent a Pull, or its sign, and neither side has news. It is the turn of this server, after a
// while. If it was this server's turn already, p wants a sign now.
func (r *Replica) signFrom(p *peer) {
	q := &p.pull
	switch {
	case !p.identity.isNewest(): // it was repeated on the way
	case q.isOurTurn():
		r.takeTurn(p)
	default:
		q.setOurTurn(true)
		r.pullAt(p, r.now+r.turnWait(p))
	}
}

// takeTurn sends p a sign: a Pull. A server without a vote is not pulled from, so it gets a page that ends where it begins.
func (r *Replica) takeTurn(p *peer) {
	if p.position >= 0 {
		r.askNames(p)
		return
	}
	p.pull.setOurTurn(false)
	if r.pullNever(p); r.isUncalled(p) {
		r.pullAt(p, r.now+r.timing.Pull+r.jitter(r.timing.Pull/8))
	}
	r.send(p, &paxos.Message{Kind: paxos.KindNames, Value: r.pulls.empty(page.Head{Store: r.server.Store, From: r.index, Boot: p.identity.boot(), To: r.index})})
}

// pulledBy takes a Pull. It answers with a page of names, if there are decisions to name.
func (r *Replica) pulledBy(from *peer, m *paxos.Message) {
	asked, ok := page.ParsePull(m.Value)
	if !ok || asked.Boot != from.identity.boot() {
		r.counters.Dropped++
		return
	}
	after := asked.Index
	if asked.Store != r.server.Store || after > r.index {
		after = 0 // it names another storage: begin at the first decision
	}
	from.listing.says(r.now, after)
	switch {
	case after < r.index:
		r.answerPull(from, after, asked.Values)
	case !from.pull.isActive() && !r.behind(from):
		r.signFrom(from)
	}
	from.pull.wantSoon() // it asks only now and then: a good time to ask it, too
}

// answerPull sends a page of the decisions after that Index, with or without their values. It passes over those that the peer has told
// of. If memory has all of them, it sends the page at once, else when the storage has listed it. It asks the storage for one page at a time.
func (r *Replica) answerPull(to *peer, after uint64, values bool) {
	if to.listing.waits() {
		return
	}
	to.listing.begin(after, r.index, values)
	after = to.told.After(after)
	if recent, ok := r.table.recentPage(after, r.index, values); ok {
		r.sendPage(to, recent)
		clear(recent.Names)
		clear(recent.Decisions)
		return
	}
	r.lists = append(r.lists, ListAsk{ID: r.pulls.ask(&to.listing), After: after, Max: page.MaxLines, Forgotten: r.server.Forgotten > 0,
		Values: values})
}

// List returns the argument of [Replica.Listed] for a question: the decisions that s lists. It loads them if ask.Values is set. If
// ask.Forgotten is set, it loads them, too, and says which of them are not decisions, but forgotten names.
func List(s paxos.Storage, ask ListAsk) (p Page, err error) {
	if ask.Open {
		p.Names, err = listOpen(s, ask.Name, ask.Max)
		return p, err
	}
	if p.Names, err = s.Decided(ask.After, ask.Max); err != nil {
		return Page{}, fmt.Errorf("decisions after %d: %w", ask.After, err)
	}
	if ask.Values {
		p.Decisions = make([]paxos.Acceptor, len(p.Names))
	}
	bytes := 0 // more than a page has room for are not loaded
	for i := range p.Names {
		values := ask.Values && bytes < page.MaxBytes
		if !values && !ask.Forgotten {
			break
		}
		n := &p.Names[i]
		rec, err := s.Load(n.Instance)
		switch {
		case err != nil:
			return Page{}, fmt.Errorf("load %q: %w", n.Instance, err)
		case rec.Index != n.Index:
			n.Instance = "" // it has been forgotten since, and that has a higher Index
		case isRangeName(n.Instance):
			n.Instance = rangeLine + string(rec.Acceptor.Value)
		case rec.Acceptor.Promised.IsForgotten():
			n.Instance = nameLine(n.Instance)
		case values && rec.Chosen && len(rec.Acceptor.Value) <= page.MaxValue:
			p.Decisions[i] = rec.Acceptor
		}
		bytes += len(n.Instance) + len(rec.Acceptor.Value)
	}
	return p, nil
}

// Listed answers the ListAsk with that ID, however late: p is the result of [List] for it. The slices stay the caller's.
//
// It reports whether the answer was still wanted. Then the ID was asked and not answered, and the peer has not asked anew
// since.
func (r *Replica) Listed(now time.Duration, id uint64, p Page) bool {
	r.input(now)
	if r.stop != nil || id == 0 {
		return false
	}
	for _, to := range r.peers {
		if to.listing.answer(id) {
			p.listed = true
			r.sendPage(to, p)
			return true
		}
		if r.sendOpen(to, id, p.Names) {
			return true
		}
	}
	return false
}

// sendPage sends a peer the page that it has asked for. The page leaves out two kinds of instances, where memory is enough to tell them.
// The peer's running process told of the first kind; the second kind has stopped.
func (r *Replica) sendPage(to *peer, p Page) {
	leaveOut := func(n paxos.Named) bool {
		return n.Instance == "" || to.told.Has(n.Index) || r.stopped(n.Instance)
	}
	head := page.Head{Store: r.server.Store, Boot: to.identity.boot()}
	head.Forgot, head.Merged = r.forgets.last()
	if r.counters.Faults > 0 {
		head.Forgot = math.MaxUint64 // it may leave out an instance that has a decision: nobody may stand because of this page
	}
	kind, v := r.pulls.write(&to.listing, p, leaveOut, head)
	r.send(to, &paxos.Message{Kind: kind, Value: v})
}

// stopped reports whether the instance has stopped.
func (r *Replica) stopped(name string) bool {
	if r.counters.Faults == 0 {
		return false // no instance has stopped
	}
	inst := r.table.byName[name]
	return inst != nil && inst.stopped != nil
}

// watchDue checks whether a quorum was heard, if it is time to: see quorumWatch.
func (r *Replica) watchDue(now time.Duration) {
	w := &r.quorums
	if !w.due(now) {
		return
	}
	if ask := w.look(now, r.quorumHeard(), r.listens(), r.timing.Phase, len(r.calls)+r.takeovers == 0); ask != signsNone {
		r.askSigns(ask == signsAll)
	}
}

// askSigns asks acceptors for a sign. all: it asks every acceptor that was not heard just now. Otherwise it asks as many as
// a quorum needs; the acceptors heard last come first.
func (r *Replica) askSigns(all bool) {
	if all {
		recent := r.heardSince(r.now - r.timing.Phase)
		for _, p := range r.peers {
			if p.position >= 0 && !recent.Has(p.position) {
				r.askSign(p)
			}
		}
		return
	}
	have := r.heardSince(r.now - r.listens())
	for _, p := range r.latest() {
		if r.isQuorum(have) {
			return
		}
		if !have.Has(p.position) {
			have = have.With(p.position)
			r.askSign(p)
		}
	}
}

// askSign asks p for a sign, by a Pull. It is the turn of p, or has been for long.
func (r *Replica) askSign(p *peer) {
	if p.pull.isActive() {
		r.sendPull(p) // beside the question that has had no answer
		return
	}
	p.pull.urge()
	r.askNames(p)
}

// listOpen returns at most so many undecided instances after that name, in the order of names.
func listOpen(s paxos.Storage, after string, most int) ([]paxos.Named, error) {
	var names []string
	trim := func() {
		slices.Sort(names)
		names = names[:min(len(names), most)]
	}
	last := ""
	for name, err := range s.Undecided() {
		switch {
		case err != nil:
			return nil, fmt.Errorf("undecided instances: %w", err)
		case name <= after || last != "" && name >= last || paxos.CheckInstance(name) != nil:
			continue
		}
		if names = append(names, name); len(names) >= min(2*most, math.MaxInt32) {
			trim()
			last = names[len(names)-1]
		}
	}
	trim()
	named := make([]paxos.Named, len(names))
	for i, name := range names {
		named[i].Instance = name
	}
	return named, nil
}

// sendOpen sends p a page of undecided instances, if the ListAsk with that ID is the one for it. It reports whether it is.
func (r *Replica) sendOpen(p *peer, id uint64, names []paxos.Named) bool {
	if p.scan.ask != id {
		return false
	}
	p.scan.ask = 0
	list := make([]string, 0, len(names))
	for _, n := range names {
		list = append(list, n.Instance)
	}
	// Each Index of a record in the storage is at most Last, also while the Save with it runs.
	text := change.PageText(p.scan.boot, p.scan.seq, r.server.Last, list, len(names) < change.MaxPage)
	r.send(p, &paxos.Message{Kind: paxos.KindOpen, Value: text})
	return true
}
