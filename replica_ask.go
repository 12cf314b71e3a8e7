package paxos

import (
	"time"
)

// asking is a question to all acceptors about one instance: what have you promised and accepted? Its ballot is fresh and
// is never prepared, so an answer belongs to exactly one question. Votes are for ever, so the learner counts them whatever
// question they answer; who is there to answer, and who had accepted nothing, is asked anew each time.
type asking struct {
	on       bool
	closing  bool // its answers leave open what is chosen: who has not answered has a little time left
	ballot   Ballot
	at       time.Duration // when it was asked
	answered Set
	none     Set // those of them that had accepted nothing
	learner  Learner
	times    int // how often it was asked
}

// ask asks all acceptors. A server that knows the decision says so instead.
func (r *Replica) ask(inst *instance) {
	b, ok := r.ballot(inst)
	if !ok {
		r.endWithoutRounds(inst)
		return
	}
	q := &inst.asking
	if q.learner.quorum == nil {
		q.learner = NewLearner(r.quorum)
	}
	*q = asking{on: true, ballot: b, at: r.now, learner: q.learner, times: q.times + 1}
	pause, most := r.timing.Silence, r.timing.MaxSilence
	if inst.calls.asks() {
		pause, most = r.timing.Phase, r.timing.MaxBackoff
		if q.times > 2 {
			r.quorumAnswers(false)
		}
	}
	r.timers.set(inst, alarmAsk, r.now+min(pause<<min(q.times-1, 20), max(pause, most)))
	m := Message{Kind: KindQuery, Instance: inst.name, Ballot: b}
	r.toAcceptors(m, 0)
	if r.position >= 0 {
		r.tell(inst, nil, m)
	}
}

// askDue is called when the answers had their time.
func (r *Replica) askDue(inst *instance) {
	q := &inst.asking
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

// endAsking forgets the question.
func (r *Replica) endAsking(inst *instance) {
	inst.asking = asking{}
	r.timers.stop(inst, alarmAsk)
}

// tell answers a Query with a State: what the acceptor has promised and accepted, once it is durable.
func (r *Replica) tell(inst *instance, to *peer, m Message) {
	a := inst.save.Acceptor
	r.hold(inst, to, Message{Kind: KindState, Instance: inst.name, Ballot: m.Ballot, Promised: a.Promised,
		Accepted: a.Accepted, Value: a.Value}, inst.save.stage)
}

// state takes the answer to a question.
func (r *Replica) state(inst *instance, position int, from *peer, m Message) {
	inst.saw(m.Promised)
	q := &inst.asking
	if !q.on || inst.stopped != nil || inst.chosen {
		return
	}
	next, err := q.learner.Step(position, m.Accepted, m.Value)
	if err != nil {
		r.fault(inst, from, err)
		return
	}
	q.learner = next
	if v, ok := q.learner.Chosen(); ok {
		r.decide(inst, from, m.Accepted, v)
		inst.teller = teller{} // who told of a vote may not know what became of it
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

// readAnswered ends the Reads that came before the question was asked, if its answers say that nothing was chosen then: a
// phase-1 quorum had accepted nothing, and no phase-2 quorum is without one of them. If the answers leave it open, those
// that have not answered get about a round trip more, and so does the proposer that may be at work; then the instance is
// finished, by an attempt for the highest vote that was seen.
func (r *Replica) readAnswered(inst *instance) {
	q := &inst.asking
	switch {
	case r.quorum.Phase1(q.none):
		asked := q.ballot
		r.quorumAnswers(true)
		r.endAsking(inst)
		r.endAsked(inst, opRead, asked)
		r.proceed(inst) // those that came after the question was asked need another
	case q.answered == All(r.quorum.Size()):
		q.closing = true
		r.timers.stop(inst, alarmAsk)
		r.askDue(inst)
	case !q.closing && r.quorum.Phase1(q.answered):
		q.closing = true
		r.timers.set(inst, alarmAsk, r.now+max(r.rtt, time.Millisecond))
	}
}

// finish begins an attempt for the highest vote that the answers told of.
func (r *Replica) finish(inst *instance) {
	highest := vote{}
	for _, v := range inst.asking.learner.votes {
		if highest.ballot.Less(v.ballot) {
			highest = v
		}
	}
	r.begun(inst, highest.value, forRead)
}

// endAsked ends the calls of inst with that op that came before the question with that ballot was asked, without a
// decision and without an error.
func (r *Replica) endAsked(inst *instance, o op, asked Ballot) {
	for _, c := range inst.calls.take(func(c *call) bool { return c.op == o && c.since < asked.Round }) {
		r.end(inst, c, Decision{}, nil)
	}
}

// ready ends the Ready calls if a quorum of both phases has answered, and this server has what the others had decided when
// it heard of them first.
func (r *Replica) ready(inst *instance) {
	q := &inst.asking
	if !q.on || !r.quorum.Phase1(q.answered) || !r.quorum.Phase2(q.answered) {
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

// askInformant asks the server that said Chosen for the value, which this one has not accepted.
func (r *Replica) askInformant(inst *instance) {
	b, ok := r.ballot(inst)
	if !ok {
		return // it is asked when a round is reserved
	}
	r.send(inst.informant, Message{Kind: KindQuery, Instance: inst.name, Ballot: b})
	inst.informant = nil
}
