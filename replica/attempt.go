package replica

import (
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
)

// proceed begins the next work that the calls of inst need: an attempt for those that propose, questions for the others. It
// does nothing while that work runs already.
func (r *Replica) proceed(inst *instance) {
	if inst.loading || inst.chosen || inst.stopped != nil || inst.wantsRound {
		return
	}
	if inst.askForValue != nil {
		r.askInformed(inst)
	}
	r.endTooLargeIn(inst)
	if inst.attempt.state == attemptNone && !inst.wantsRound {
		r.offer(inst)
	}
	if !inst.asked() && !inst.wantsRound && inst.wantsAnswer() {
		r.ask(inst)
	}
}

// offer begins an attempt with the value of the first call that proposes. If that value is long and has to wait for room, a
// later call with a short value goes first.
func (r *Replica) offer(inst *instance) {
	c := inst.calls.proposes()
	if c != nil && !r.inflight.hasRoom(inst, c.value) {
		c = inst.calls.proposesShort()
	}
	if c == nil {
		return
	}
	if o, ok := r.ownsRound(inst); ok {
		r.beginOwned(inst, c.value, o)
		return
	}
	if r.standsIn(inst) {
		r.beginStanding(inst, c.value, forCalls)
		return
	}
	r.wishToStand(inst)
	if to := r.forwardsTo(inst, c.value); to != nil {
		r.forward(inst, to, c.value)
		return
	}
	r.begun(inst, c.value, forCalls)
}

// begun begins a new ballot for own, and reports whether it could. Each ballot is a new Proposer, so no count of an earlier
// ballot can leak into it.
func (r *Replica) begun(inst *instance, own paxos.Value, why purpose) bool {
	b, ok := r.ballot(inst)
	if !ok {
		r.endWithoutRounds(inst)
		return false
	}
	r.enter(inst, paxos.NewProposer(b, own, r.quorum), why)
	prepare := r.prepareOf(inst)
	if prepare.Value != "" {
		r.exposed(inst)
	}
	r.toAcceptors(&prepare, 0)
	r.ownStep(inst, &prepare)
	return true
}

// beginOwned begins round 0 of inst for own: see ownsRound. The own acceptor votes at once. Its vote stays in memory at
// least until it is saved, so in this life no attempt finds the round unused a second time.
//
// Only one life uses round 0 of a minted name. Its Accept leaves beside the Save, as it does after a phase 1. For other
// names it leaves when the vote is durable. Otherwise a later life that found no vote could ask for votes for another value.
//
// No hint is needed, as the Accept has the value. No reserved round is needed either.
func (r *Replica) beginOwned(inst *instance, own paxos.Value, o paxos.Owner) {
	r.enter(inst, paxos.NewProposer(paxos.Ballot{Round: 0, Server: r.id}, own, r.quorum), forCalls)
	r.counters.Owned++
	inst.attempt.acceptWaits = o.Boot == 0
	r.askAtOnce(inst)
}

// askAtOnce begins an attempt with the Accept, and the vote of the own acceptor.
func (r *Replica) askAtOnce(inst *instance) {
	r.exposed(inst)
	accept := inst.attempt.Accept()
	accept.Instance = inst.name
	if !inst.attempt.acceptWaits {
		r.toAcceptors(&accept, 0)
	}
	r.ownStep(inst, &accept)
}

// beginStanding begins an attempt in the standing ballot. The own acceptor votes in the same step. Its vote stays in memory at least until
// it is saved. So in this life no attempt finds the record empty a second time.
func (r *Replica) beginStanding(inst *instance, own paxos.Value, why purpose) {
	r.enter(inst, paxos.NewPreparedProposer(r.stands.number(), own, r.quorum), why)
	r.counters.Standing++
	r.askAtOnce(inst)
}

// sendOwnedAccept sends the Accept that waited for the own vote. That vote is durable now.
func (r *Replica) sendOwnedAccept(inst *instance) {
	a := &inst.attempt
	a.acceptWaits = false
	a.asked = r.now
	r.timers.set(inst, alarmAttempt, r.now+r.inflight.resendAfter(a, &r.timing))
	accept := a.Accept()
	accept.Instance = inst.name
	r.toAcceptors(&accept, 0)
}

// ownStep gives m to this server's own acceptor, if it votes. A Prepare or an Accept has left already, because its ballot is
// reserved. Only the own promise and the own vote have to wait for the Save.
func (r *Replica) ownStep(inst *instance, m *paxos.Message) {
	if r.position >= 0 {
		r.step(inst, nil, m)
	}
}

// step gives m to the instance's acceptor. The answer goes to the peer, or to the own proposer if to is nil. It leaves when
// all that it rests on is durable.
func (r *Replica) step(inst *instance, to *peer, m *paxos.Message) {
	if (m.Instance[0] == '$' || r.view.IsJoint()) && !r.maySayYes(m) {
		return
	}
	floor := r.forgets.promises().Standing()
	if m.Ballot.Less(floor) && isOrdinary(inst.name) {
		r.refuseBelow(inst, to, m)
		return
	}
	next, answer, wait, err := inst.acceptor.Step(*m)
	if err != nil {
		r.fault(inst, to, err)
		return
	}
	if next.Accepted == floor && answer.Kind == paxos.KindAccepted {
		r.standingVote(inst, floor)
	}
	risen := inst.acceptor.Promised.Less(next.Promised)
	if next.Accepted != inst.acceptor.Accepted {
		r.table.orphan(inst, false) // now there is a value to finish it with
	}
	fresh := next.Value != inst.acceptor.Value
	inst.acceptor = next
	if next.Stage == durable.Dirty {
		r.gatherNow(inst)
		if fresh {
			r.saves.count(inst)
		}
	}
	inst.saw(next.Promised)
	if risen {
		r.heard(inst, to)
	}
	if answer.Kind != 0 {
		r.hold(inst, to, &answer, wait)
	}
}

// refuseBelow refuses m, which is below the standing ballot that this acceptor has promised. The record stays as it is. A refusal asserts
// nothing, so it leaves at once.
func (r *Replica) refuseBelow(inst *instance, to *peer, m *paxos.Message) {
	_, answer, err := r.forgets.promises().Step(inst.acceptor.Acceptor, *m)
	if err != nil {
		r.fault(inst, to, err)
		return
	}
	r.release(inst, to, &answer)
}

// hold releases m when the stage that it waits for is past.
func (r *Replica) hold(inst *instance, to *peer, m *paxos.Message, wait durable.Stage) {
	switch {
	case wait == durable.Saved:
		r.release(inst, to, m)
	case !r.saves.hold(inst, to, m, wait):
		r.counters.Dropped++
	}
}

// release sends a reply to its peer. A reply without a peer goes to this server's own proposer (S10: no message is sent to
// oneself). The proposer counts its own acceptor like any other, and only now.
func (r *Replica) release(from *instance, to *peer, m *paxos.Message) {
	if from.forgotten() && !m.Promised.IsForgotten() && m.Kind != paxos.KindForgotten {
		return // it was forgotten since, and the Save may hold nothing of what the reply rests on
	}
	if to != nil {
		r.send(to, m)
		return
	}
	r.answer(from, r.position, nil, m)
}

// answer gives an answer of the acceptor at that position to the attempt or the question that it belongs to. It is a
// Promise, an Accepted, a Nack or a State.
func (r *Replica) answer(inst *instance, position int, from *peer, m *paxos.Message) {
	if m.Kind == paxos.KindState {
		r.state(inst, position, from, m)
		return
	}
	if m.Promised.IsForgotten() {
		r.adopt(inst, m.Value)
		return
	}
	inst.saw(m.Promised)
	if r.forwardRefused(inst, m) {
		r.proceed(inst)
		return
	}
	a := &inst.attempt
	if !a.running() || m.Ballot != a.Ballot() || inst.stopped != nil {
		return
	}
	next, accept, err := a.Step(position, *m)
	if err != nil {
		r.fault(inst, from, err)
		return
	}
	a.Proposer = next
	if a.acceptWaits && a.Accepted().Has(r.position) {
		r.sendOwnedAccept(inst)
	}
	switch {
	case accept.Kind == paxos.KindAccept:
		r.askVotes(inst, accept)
	case m.Kind == paxos.KindAccepted && a.Chosen():
		r.chosen(inst)
	case m.Kind == paxos.KindNack:
		if _, over := a.Superseded(); over {
			r.giveUp(inst)
		}
	}
}

// askVotes begins phase 2: the Accept goes to every acceptor.
func (r *Replica) askVotes(inst *instance, accept paxos.Message) {
	a := &inst.attempt
	r.measure(a)
	r.roundTrip(paxos.KindPrepare, a.began)
	a.asked = r.now
	a.resends = 0
	if accept.Value == a.Own() {
		r.exposed(inst)
	}
	r.timers.set(inst, alarmAttempt, r.now+r.inflight.resendAfter(a, &r.timing))
	r.toAcceptors(&accept, 0)
	r.ownStep(inst, &accept)
}

// ask asks all acceptors for their state in inst. A server that knows the decision sends the decision instead.
func (r *Replica) ask(inst *instance) {
	b, ok := r.ballot(inst)
	if !ok {
		r.endWithoutRounds(inst)
		return
	}
	q := inst.question()
	if q.learner.IsZero() {
		q.learner = paxos.NewLearner(r.quorum)
	}
	*q = asking{on: true, quorum: r.quorum, ballot: b, at: r.now, learner: q.learner, earlier: q.earlier, times: q.times + 1}
	pause, most := r.timing.Silence, r.timing.MaxSilence
	if inst.calls.asks() {
		pause, most = r.timing.Phase, r.timing.MaxBackoff
		if q.times > 2 {
			r.quorumAnswers(false)
		}
	}
	r.timers.set(inst, alarmAsk, r.now+min(pause<<min(q.times-1, 20), max(pause, most)))
	m := paxos.Message{Kind: paxos.KindQuery, Instance: inst.name, Ballot: b}
	r.toAcceptors(&m, 0)
	if r.position >= 0 {
		r.tell(inst, nil, &m)
	}
}

// askDue is called when the answers to a question have had their time.
func (r *Replica) askDue(inst *instance) {
	q := inst.question()
	open := q.closing && inst.calls.reads()
	q.on, q.closing = false, false
	switch {
	case open && inst.attempt.state == attemptNone:
		r.finish(inst)
	case open: // the attempt that runs may finish it
		r.timers.set(inst, alarmAsk, r.now+min(r.timing.Phase<<min(q.times-1, 20), max(r.timing.Phase, r.timing.MaxBackoff)))
	default:
		r.proceed(inst)
	}
}

// tell answers a Query with a State: the acceptor's promise and vote, once they are durable.
func (r *Replica) tell(inst *instance, to *peer, m *paxos.Message) {
	a := inst.acceptor.Acceptor
	r.hold(inst, to, &paxos.Message{Kind: paxos.KindState, Instance: inst.name, Ballot: m.Ballot, Promised: a.Promised,
		Accepted: a.Accepted, Value: a.Value}, inst.acceptor.Stage)
}

// state takes the answer to a question.
func (r *Replica) state(inst *instance, position int, from *peer, m *paxos.Message) {
	inst.saw(m.Promised)
	q := inst.asking
	if !inst.asked() || inst.stopped != nil || inst.chosen {
		return
	}
	if r.view.IsVote(m.Accepted) {
		next, err := q.learner.Step(position, m.Accepted, m.Value)
		if err != nil {
			r.fault(inst, from, err)
			return
		}
		q.learner = next
	} else if q.earlier.ballot.Less(m.Accepted) {
		q.earlier = earlierVote{m.Accepted, m.Value}
	}
	if v, ok := q.learner.Chosen(); ok {
		r.decide(inst, from, m.Accepted, v)
		inst.learnedFrom = source{} // a server that tells of its vote may not know of the decision
		return
	}
	if m.Ballot != q.ballot {
		return
	}
	q.answered = q.answered.With(position)
	if m.Accepted.IsZero() {
		q.none = q.none.With(position)
	}
	if inst.name == readyName {
		r.ready(inst)
	} else if inst.calls.reads() {
		r.readAnswered(inst)
	}
}

// readAnswered ends the Reads that came before the question was asked, if its answers prove that nothing was chosen then.
// The proof is a quorum of both phases that had accepted nothing. Every phase-2 quorum has an acceptor in a phase-1 quorum. And if a
// later configuration can choose a value already, a phase-1 quorum has learned of it, and each phase-2 quorum has one of these.
//
// If the answers leave it open, the other acceptors get about a round trip more, and so does a proposer that may be at work.
// Then the instance is finished, by an attempt for the highest vote that was seen.
func (r *Replica) readAnswered(inst *instance) {
	q := inst.asking
	switch {
	case isQuorum(q.quorum, q.none):
		asked := q.ballot
		r.quorumAnswers(true)
		r.roundTrip(paxos.KindQuery, q.at)
		r.endAsking(inst)
		r.endAsked(inst, opRead, asked)
		r.proceed(inst) // Reads that came after the question was asked need another one
	case q.answered == paxos.All(r.quorum.Size()):
		q.closing = true
		r.timers.stop(inst, alarmAsk)
		r.askDue(inst)
	case !q.closing && isQuorum(q.quorum, q.answered):
		q.closing = true
		r.timers.set(inst, alarmAsk, r.now+max(r.rtt, time.Millisecond))
	}
}

// finish begins an attempt for the highest vote in the answers.
func (r *Replica) finish(inst *instance) {
	b, v := inst.asking.learner.Highest()
	if b.IsZero() {
		v = inst.asking.earlier.value
	}
	r.begun(inst, v, forRead)
}

// ready ends the Ready calls if a quorum of both phases has answered, and this server has caught up: see caughtUp.
func (r *Replica) ready(inst *instance) {
	q := inst.asking
	if !inst.asked() || !r.quorum.Phase1(q.answered) || !r.quorum.Phase2(q.answered) {
		return
	}
	r.quorumAnswers(true)
	if !r.caughtUp() {
		return
	}
	asked := q.ballot
	r.endAsking(inst)
	r.endAsked(inst, opReady, asked)
	r.proceed(inst)
}

func (r *Replica) attemptDue(inst *instance) {
	a := &inst.attempt
	switch {
	case a.running() && !inst.wanted():
		// Nobody waits for it any more: its messages had their time, and no more are sent.
		r.abandon(inst)
	case a.running() && a.Refused() != 0:
		r.giveUp(inst)
	case a.running() && !a.outlived():
		r.resend(inst)
	case a.state != attemptNone:
		if a.state == attemptForwarded {
			r.hedged(inst)
		}
		a.state = attemptNone
		r.leave(a)
		r.proceed(inst)
	}
}

// resend sends the message of the phase that runs to the acceptors that have not answered it.
func (r *Replica) resend(inst *instance) {
	a := &inst.attempt
	m := a.Accept()
	m.Instance = inst.name
	if !a.Asking() {
		m = r.prepareOf(inst)
	}
	if a.resends++; a.resends > 1 {
		r.inflight.release(a) // a value without an answer for so long is not on its way, and others must not wait for it
	}
	r.counters.Resends++
	switch err := r.tooLarge(len(a.Value())); {
	case err != nil && a.Asking():
		r.endStuck(inst, err)
		if a.purpose == forTakeover {
			r.abandon(inst) // until the next silence ends: other takeovers want room, too
			return
		}
	case a.resends > 1:
		r.quorumAnswers(false)
	}
	most := r.timing.MaxBackoff
	if inst.calls.proposes() == nil && !inst.calls.reads() {
		most = r.timing.MaxSilence // nobody waits for it here
	}
	r.timers.set(inst, alarmAttempt, r.now+min(r.inflight.resendAfter(a, &r.timing)<<min(a.resends, 20), max(r.timing.Phase, most)))
	r.toAcceptors(&m, a.Answered())
	if r.position >= 0 && !a.Answered().Has(r.position) {
		r.ownStep(inst, &m)
	}
}

// abandon ends an attempt that nobody needs any more.
func (r *Replica) abandon(inst *instance) {
	r.endAttempt(inst)
	r.proceed(inst)
}
