package paxos

import "time"

// asking is a question to all acceptors about one instance: what have you promised and accepted? Its ballot is fresh and
// is never prepared, so an answer belongs to exactly one question. Votes are for ever, so the learner counts them whatever
// question they answer; who is there to answer is asked anew each time.
type asking struct {
	on       bool
	ballot   Ballot
	at       time.Duration // when it was asked
	answered Set
	learner  Learner
	times    int // how often it was asked
}

// ask asks all acceptors. The answers go to a Learner; a server that knows the decision says so instead.
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
	if inst.name == readyName {
		pause, most = r.timing.Phase, r.timing.MaxBackoff
	}
	r.timers.set(inst, r.now+min(pause<<min(q.times-1, 20), max(pause, most)))
	m := Message{Kind: KindQuery, Instance: inst.name, Ballot: b}
	r.toAcceptors(m, 0)
	if r.position >= 0 {
		r.tell(inst, nil, m)
	}
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
	if m.Ballot == q.ballot {
		q.answered = q.answered.With(position)
	}
	if v, ok := q.learner.Chosen(); ok {
		r.decide(inst, from, m.Accepted, v)
		return
	}
	if inst.name == readyName && r.quorum.Phase1(q.answered) && r.quorum.Phase2(q.answered) {
		r.endReady(inst, q.ballot)
		inst.asking = asking{}
		r.timers.stop(inst)
		r.proceed(inst) // those that came after the question was asked need another
	}
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
