package paxos

import (
	"cmp"
	"slices"
	"time"
)

// How a server notices that no quorum is left. Attempts and questions notice it when their answers do not come. A server that asks
// nothing listens: each two servers take turns with a Pull (see replica_pull.go), so each hears the other every other Timing.Pull.
//
//	server 1                                                server 2
//	  ── Pull, then it is the turn of server 2 ──────────────►
//	  ◄──────────────── a Timing.Pull later: Pull, the turn of server 1 ──
//	  … server 1 has heard no quorum for long:
//	  ── Pull, out of turn: a sign is wanted ─────────────────►
//	  ◄───────────────────────────── Pull, at once ──
//
// A quorum is missing when it was silent for two Timing.Pull, the last two Timing.Phase of it although it was asked.

// A quorumWatch knows whether quorums answer: what calls that come and time out meanwhile tell is nothing new.
type quorumWatch struct {
	lost    bool
	silent  bool // the loss was noticed because nobody was heard
	since   time.Duration
	changes uint64

	began time.Duration // the first Save was done then
	at    time.Duration // when to look next; 0: when an acceptor is heard
	asked int           // how often signs were asked for since a quorum was heard
}

// beginWatch is called when the first Save is done: from then on others can be heard, and hear this server.
func (r *Replica) beginWatch() {
	if w := &r.quorums; !r.isQuorum(r.heardSince(r.now)) {
		w.began = r.now
		w.at = r.now + r.listens()
	}
}

// quorumAnswers is called when an attempt or a question got its quorum, and when one has been without for a while.
func (r *Replica) quorumAnswers(yes bool) {
	w := &r.quorums
	w.silent = false
	if w.lost == yes {
		w.lost, w.since = !yes, r.now
		w.changes++
	}
}

// listens returns for how long silence means nothing.
func (r *Replica) listens() time.Duration {
	return max(2*r.timing.Pull-2*r.timing.Phase, r.timing.Pull)
}

// watchDue looks whether a quorum was heard, if it is time to.
func (r *Replica) watchDue(now time.Duration) {
	w := &r.quorums
	if w.at == 0 || w.at > now {
		return
	}
	heard := r.quorumHeard()
	switch {
	case now-heard < r.listens():
		w.asked, w.at = 0, heard+r.listens()
		// What was lost because nobody answered comes back by an answer, unless nothing is asked any more.
		if w.lost && heard > w.since && (w.silent || len(r.calls)+r.takeovers == 0) {
			r.quorumAnswers(true)
		}
	case w.asked < 2:
		r.askSigns(w.asked > 0)
		w.asked++
		w.at = now + r.timing.Phase
	default:
		w.at = 0
		if !w.lost {
			r.quorumAnswers(false)
			w.silent = true
		}
	}
}

// heardNow is called with each packet that is taken from an acceptor.
func (w *quorumWatch) heardNow(now time.Duration) {
	if w.at == 0 && w.asked > 0 {
		w.at = max(now, 1)
	}
}

// quorumHeard returns since when a quorum of both phases was heard; of the start, if none was.
func (r *Replica) quorumHeard() time.Duration {
	have := r.heardSince(r.now)
	for _, p := range r.latest() {
		if have = have.With(p.position); r.isQuorum(have) {
			return max(p.heardAt, r.quorums.began)
		}
	}
	return r.quorums.began
}

// latest returns the other acceptors that were heard, the last one first.
func (r *Replica) latest() []*peer {
	var heard []*peer
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 && p.heard {
			heard = append(heard, p)
		}
	}
	slices.SortStableFunc(heard, func(a, b *peer) int { return cmp.Compare(b.heardAt, a.heardAt) })
	return heard
}

// heardSince returns the acceptors that were heard after that time, this server included.
func (r *Replica) heardSince(at time.Duration) (have Set) {
	if r.position >= 0 {
		have = have.With(r.position)
	}
	for i := range r.peers {
		if p := &r.peers[i]; p.position >= 0 && p.heard && p.heardAt > at {
			have = have.With(p.position)
		}
	}
	return have
}

// isQuorum reports whether s is a quorum of both phases.
func (r *Replica) isQuorum(s Set) bool { return r.quorum.Phase1(s) && r.quorum.Phase2(s) }

// askSigns asks acceptors for a sign: as many as a quorum needs, those that were heard last first, or all that were not heard just now.
func (r *Replica) askSigns(all bool) {
	if all {
		recent := r.heardSince(r.now - r.timing.Phase)
		for i := range r.peers {
			if p := &r.peers[i]; p.position >= 0 && !recent.Has(p.position) {
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
	if p.pull.active {
		r.sendPull(p) // beside the question that has had no answer
		return
	}
	p.pull.urged = true
	r.askNames(p)
}

// signFrom is called when p has sent a Pull, or its sign, and neither side has news: it is the turn of this server, after a while. If that
// was so already, p wants a sign now.
func (r *Replica) signFrom(p *peer) {
	q := &p.pull
	switch {
	case !p.newer: // it was repeated on the way
	case q.turn:
		r.takeTurn(p)
	default:
		q.turn = true
		r.pullAt(p, r.now+r.turnWait(p))
	}
}

// turnWait returns how long this server lets pass before it takes its turn. Turns of both, in half the time in which silence means
// nothing, are for two that can't do without each other.
func (r *Replica) turnWait(p *peer) time.Duration {
	pull := r.timing.Pull
	wait, jitter := pull, pull/8
	if p.position < 0 || r.needs(p) {
		wait, jitter = r.listens()/2-pull/16, pull/32
	}
	wait += r.jitter(jitter)
	if p.pull.urged { // its signs come at a time at which those of others come, too
		p.pull.urged = false
		wait /= 2
	}
	return wait
}

// needs reports whether p, which was just heard, is one without which no quorum was heard lately.
func (r *Replica) needs(p *peer) bool {
	have := r.heardSince(r.now-r.listens()) &^ Set(0).With(p.position)
	return !r.isQuorum(have)
}

// takeTurn sends p a sign. From a server without a vote nothing is pulled: it gets a page that ends where it begins.
func (r *Replica) takeTurn(p *peer) {
	if p.position >= 0 {
		r.askNames(p)
		return
	}
	p.pull.turn = false
	r.pullNever(p)
	r.send(p, Message{Kind: KindNames, Value: namesPage(r.saves.state.Store, r.saves.index, p.boot, r.saves.index, nil)})
}
