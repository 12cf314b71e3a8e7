package replica

import (
	"cmp"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// watches reports whether this server has to see inst finished. It has to if it votes, does not know the decision, and has promised or
// accepted there, or keeps a hint. A hint without a promise comes from a Prepare below a standing ballot. It also has to if it does not
// vote any more, and has accepted a value: nobody else may know that.
func (r *Replica) watches(inst *instance) bool {
	begun := !inst.acceptor.Promised.IsZero() || inst.hint.wanted() != ""
	return (r.position >= 0 || !inst.acceptor.Accepted.IsZero()) && !inst.loading && !inst.chosen && inst.stopped == nil && begun
}

// watch begins a silence. If no new ballot comes before it ends, this server takes over. The silence doubles with each
// ballot of the instance, to a cap. Otherwise takeovers would pre-empt each other for ever where a ballot takes longer than
// the first silence.
//
// The servers take over one after the other; the one after the last ballot's server is the first. So the first that lives
// finishes without a duel: that is the election (S12).
func (r *Replica) watch(inst *instance) {
	silence := min(r.timing.Silence<<max(inst.ballots-1, 0), max(r.timing.Silence, r.timing.MaxSilence))
	last := inst.acceptor.Promised
	if last.IsZero() {
		last = inst.hint.of()
	}
	turn := time.Duration(r.turn(last.Server)) * r.timing.Phase
	r.timers.set(inst, alarmWatch, r.now+silence+turn+r.jitter(r.timing.Phase/2))
}

// turn is how many acceptors come before this one in the ring of acceptors that begins after server last. A server that does not vote
// comes after all of them.
func (r *Replica) turn(last paxos.ServerID) int {
	all := r.view.Acceptors()
	if r.position < 0 {
		return len(all)
	}
	first := 0
	for first < len(all) && all[first] <= last {
		first++
	}
	return (r.position - first + len(all)) % len(all)
}

// beginWatch is called when the first Save is done. From then on this server can hear others, and they can hear it.
func (r *Replica) beginWatch() {
	if !r.isQuorum(r.heardSince(r.now)) {
		r.quorums.begin(r.now, r.now+r.listens())
	}
}

// quorumAnswers says whether an attempt or a question got its quorum: see quorumWatch.answers.
func (r *Replica) quorumAnswers(yes bool) { r.quorums.answers(yes, r.now) }

// listens returns how long a silence may be without any meaning.
func (r *Replica) listens() time.Duration {
	return max(2*r.timing.Pull-2*r.timing.Phase, r.timing.Pull)
}

// quorumHeard returns the time since which a quorum of both phases was heard. If none was heard, it is the time of the
// start.
func (r *Replica) quorumHeard() time.Duration {
	have := r.heardSince(r.now)
	for _, p := range r.latest() {
		if have = have.With(p.position); r.isQuorum(have) {
			return r.quorums.from(p.identity.lastHeard())
		}
	}
	return r.quorums.from(0)
}

// latest returns the other acceptors that were heard. The one heard last is the first.
func (r *Replica) latest() []*peer {
	var heard []*peer
	for _, p := range r.peers {
		if p.position >= 0 && p.identity.isHeard() {
			heard = append(heard, p)
		}
	}
	slices.SortStableFunc(heard, func(a, b *peer) int { return cmp.Compare(b.identity.lastHeard(), a.identity.lastHeard()) })
	return heard
}

// heardSince returns the acceptors that were heard after that time, this server included.
func (r *Replica) heardSince(at time.Duration) (have paxos.Set) {
	if r.position >= 0 {
		have = have.With(r.position)
	}
	for _, p := range r.peers {
		if p.position >= 0 && p.identity.isHeardAfter(at) {
			have = have.With(p.position)
		}
	}
	return have
}

// isQuorum reports whether s is a quorum of both phases.
func (r *Replica) isQuorum(s paxos.Set) bool { return isQuorum(r.quorum, s) }

// isQuorum reports whether s is a quorum of both phases of q.
func isQuorum(q paxos.Quorum, s paxos.Set) bool { return q.Phase1(s) && q.Phase2(s) }

// turnWait returns how long this server waits before it takes its turn. Two servers that can't do without each other wait
// less: their two turns take half the time of listens.
func (r *Replica) turnWait(p *peer) time.Duration {
	pull := r.timing.Pull
	wait, jitter := pull, pull/8
	if p.position < 0 || r.needs(p) {
		wait, jitter = r.listens()/2-pull/16, pull/32
	}
	wait += r.jitter(jitter)
	if p.pull.wasUrged() { // its signs come at the same time as those of others
		wait /= 2
	}
	return wait
}

// needs reports whether no quorum was heard lately without p. p was just heard.
func (r *Replica) needs(p *peer) bool {
	have := r.heardSince(r.now-r.listens()) &^ paxos.Set(0).With(p.position)
	return !r.isQuorum(have)
}
