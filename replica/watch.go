package replica

import "time"

// How a server notices that no quorum is left. Attempts and questions notice it when their answers do not come. A server
// that asks nothing listens. Each two servers take turns with a Pull (see pull.go), so each hears the other every other
// Timing.Pull.
//
//	server 1                                                server 2
//	  ── Pull, then it is the turn of server 2 ──────────────►
//	  ◄──────────────── a Timing.Pull later: Pull, the turn of server 1 ──
//	  … server 1 has heard no quorum for long:
//	  ── Pull, out of turn: a sign is wanted ─────────────────►
//	  ◄───────────────────────────── Pull, at once ──
//
// A quorum is missing when it was silent for two Timing.Pull, and was asked for the last two Timing.Phase of that time.

// watchDue checks whether a quorum was heard, if it is time to.
func (r *Replica) watchDue(now time.Duration) {
	w := &r.quorums
	if w.at == 0 || w.at > now {
		return
	}
	heard := r.quorumHeard()
	switch {
	case now-heard < r.listens():
		w.asked, w.at = 0, heard+r.listens()
		// A quorum that was lost for want of answers comes back by an answer. If nothing is asked any more, to hear it is enough.
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

// askSigns asks acceptors for a sign. all: it asks every acceptor that was not heard just now. Otherwise it asks as many as
// a quorum needs; the acceptors heard last come first.
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
