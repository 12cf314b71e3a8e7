package paxos

// asking is a question to all acceptors about one instance: what have you promised and accepted? Its ballot is fresh and
// is never prepared, so an answer belongs to exactly this question.
type asking struct {
	on       bool
	ballot   Ballot
	answered Set
	learner  Learner
	times    int // how often it was asked
}

// ask asks all acceptors. The answers go to a Learner; a server that knows the decision says so instead.
func (r *Replica) ask(inst *instance) {
	b, ok := r.ballot(inst)
	if !ok {
		return
	}
	q := &inst.asking
	*q = asking{on: true, ballot: b, learner: NewLearner(r.quorum), times: q.times + 1}
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
	if !q.on || m.Ballot != q.ballot || inst.stopped != nil || inst.chosen {
		return
	}
	next, err := q.learner.Step(position, m.Accepted, m.Value)
	if err != nil {
		r.fault(inst, from, err)
		return
	}
	q.learner = next
	q.answered = q.answered.With(position)
	if v, ok := q.learner.Chosen(); ok {
		r.decide(inst, from, m.Accepted, v)
		return
	}
	if r.quorum.Phase1(q.answered) && r.quorum.Phase2(q.answered) {
		r.endReady(inst)
		if len(inst.calls) == 0 {
			inst.asking = asking{}
			r.timers.stop(inst)
		}
	}
}
