package replica

import "github.com/singledecree/paxos"

// Forwarding (docs/design.md#4.16). While another server stands, a proposal may be forwarded to it. It gets the value chosen in its
// standing ballot, after one round trip and one Save of its own, and this server hears of the decision as an acceptor. It is a message more
// than an attempt of the other server's own call, and a round trip and a Save less than a classic attempt here.
//
//	server 2                                     server 1, which stands by 40.1              server 3
//	  ── Forward 41.2 "pizza" ──────────────────►
//	  ◄────────────────── Accept 40.1 "pizza" ──  ── Accept 40.1 "pizza" ──────────────────►  ── Save ──►
//	  ── Save ──►                                 ── Save ──►
//	  ── Accepted 40.1 ─────────────────────────►
//	  ◄────────────────────────── Chosen 40.1 ──
//
// The ballot of a Forward is fresh, as that of a question is. It is never prepared: it only names the Forward, for a refusal. If the decision does
// not come in time, this server begins a ballot of its own (a hedge). The value may be chosen in the other ballot all the same, so the
// outcome of the call is unknown from the Forward on.

// forwardsTo returns the server to which a proposal of v in inst is to be forwarded; nil: none, this server begins a ballot of its own.
func (r *Replica) forwardsTo(inst *instance, v paxos.Value) *peer {
	s := &r.stands
	if s.off || s.own != nil || r.view.IsJoint() || !r.voters.Has(r.position) || !s.policy.IsOtherAtWork(r.now) {
		return nil
	}
	if inst.attempt.to != nil || inst.acceptor.Acceptor != (paxos.Acceptor{}) || !isOrdinary(inst.name) {
		return nil
	}
	to := r.byID[s.floor.Promised().Server]
	switch {
	case to == nil || !r.voters.Has(to.position) || len(v) >= longMessage || !to.takesValue(len(v)):
		return nil
	case !s.others.Wants(r.now, uint64(to.id), to.identity.lastHeard()):
		return nil
	}
	return to
}

// forward sends the value of a call to the server that stands.
func (r *Replica) forward(inst *instance, to *peer, own paxos.Value) {
	b, ok := r.ballot(inst)
	if !ok {
		r.endWithoutRounds(inst)
		return
	}
	if !inst.calls.asks() {
		r.endAsking(inst)
	}
	a := &inst.attempt
	*a = attempt{Proposer: paxos.NewProposer(b, own, r.quorum), state: attemptForwarded, to: to, began: r.now, tries: a.tries}
	r.exposed(inst)
	r.counters.Forwards++
	r.timers.set(inst, alarmAttempt, r.now+min(r.stands.others.Hedge(), 2*r.timing.Phase)) // it has two phases to wait for
	r.send(to, &paxos.Message{Kind: paxos.KindForward, Instance: inst.name, Ballot: b, Value: own})
}

// hedged is called when a forwarded call has waited for long enough.
func (r *Replica) hedged(inst *instance) {
	if inst.calls.proposes() != nil {
		r.counters.Hedges++
	}
	if a := &inst.attempt; r.forwardedLast(a) {
		r.stands.others.Missed(r.now, r.now-a.began, a.to.identity.lastHeard())
	}
	r.endForward(inst)
}

// forwardRefused takes a Nack in an instance whose value was forwarded. It reports whether the Nack is about that.
func (r *Replica) forwardRefused(inst *instance, m *paxos.Message) bool {
	a := &inst.attempt
	if a.state != attemptForwarded || m.Kind != paxos.KindNack || m.Ballot != a.Ballot() {
		return false
	}
	if r.forwardedLast(a) {
		r.stands.others.Refused(r.now, r.now-a.began)
	}
	r.endForward(inst)
	return true
}

// endForward ends the wait for the other server. The value has left, and no ballot of this server was tried.
func (r *Replica) endForward(inst *instance) {
	a := &inst.attempt
	r.timers.stop(inst, alarmAttempt)
	a.Proposer, a.state = paxos.NewProposer(paxos.Ballot{}, a.Own(), r.quorum), attemptNone
}

// loses is called with a message for which there is no room. It is sent again. A Forward is not, so its sender is told to go on.
func (r *Replica) loses(from *peer, m *paxos.Message) {
	r.counters.Dropped++
	if m.Kind == paxos.KindForward {
		r.refuseForward(from, m.Instance, m.Ballot)
	}
}
