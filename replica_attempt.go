package paxos

import "time"

// An attemptState says where an instance stands in getting its value chosen.
type attemptState uint8

const (
	attemptNone    attemptState = iota
	attemptRunning              // a ballot is out
	attemptBackoff              // the last ballot met a higher one; the next begins when the timer is due
)

// An attempt is the one Proposer that this server has in an instance, and what is needed to try again. In a backoff the
// Proposer is the one that was given up: it takes no more answers, and says how far it came.
type attempt struct {
	Proposer
	state   attemptState
	exposed bool          // the own value may have left, as a hint or in an Accept
	began   time.Duration // when the ballot began
	resends int           // of the phase that runs
	tries   int           // ballots that met a higher one, one after the other
}

func (a *attempt) running() bool { return a.state == attemptRunning }

func (a *attempt) phase() string {
	if a.asking {
		return "accept"
	}
	return "prepare"
}

// proceed has inst do next what its calls need: an attempt for those that propose, else questions for those that wait.
// It does nothing while something runs already.
func (r *Replica) proceed(inst *instance) {
	if inst.loading || inst.chosen || inst.stopped != nil || inst.wantsRound {
		return
	}
	if inst.informant != nil {
		r.askInformant(inst)
	}
	switch {
	case inst.wantsRound || inst.attempt.state != attemptNone:
	case inst.proposes() != nil:
		r.attempt(inst)
	case len(inst.calls) > 0 && !inst.asking.on:
		r.ask(inst)
	}
}

// proposes returns the first call that proposes, or nil.
func (inst *instance) proposes() *call {
	for i := range inst.calls {
		if inst.calls[i].op == opPropose {
			return &inst.calls[i]
		}
	}
	return nil
}

// attempt begins a new ballot for the first call that proposes. It is always a new Proposer: no count of an earlier
// ballot can leak.
func (r *Replica) attempt(inst *instance) {
	b, ok := r.ballot(inst)
	if !ok {
		r.endWithoutRounds(inst)
		return
	}
	own := inst.proposes().value
	inst.asking = asking{}
	a := &inst.attempt
	a.exposed = a.exposed && a.own == own // what left in an earlier ballot has left
	a.Proposer = NewProposer(b, own, r.quorum)
	a.state, a.began, a.resends = attemptRunning, r.now, 0
	r.counters.Attempts++
	prepare := r.prepareOf(inst)
	if prepare.Value != "" {
		r.exposed(inst)
	}
	r.timers.set(inst, r.now+r.timing.Phase)
	r.toAcceptors(prepare, 0)
	r.ownStep(inst, prepare)
}

// prepareOf returns the Prepare of the attempt. Its hint, the value it wants, helps another server to finish what this one
// began (S6, S12); a value above Limits.MaxHint is not worth sending twice.
func (r *Replica) prepareOf(inst *instance) Message {
	m := inst.attempt.Prepare()
	m.Instance = inst.name
	if len(m.Value) > r.limits.MaxHint {
		m.Value = ""
	}
	return m
}

// exposed notes that the attempt's own value is about to leave: for all calls that offer it.
func (r *Replica) exposed(inst *instance) {
	inst.attempt.exposed = true
	for i := range inst.calls {
		if c := &inst.calls[i]; c.op == opPropose && c.value == inst.attempt.own {
			c.exposed = true
		}
	}
}

// ownStep gives m to this server's own acceptor, if it votes. Prepare and Accept have left already: the ballot is reserved,
// so only the own promise and the own vote have to wait for the Save.
func (r *Replica) ownStep(inst *instance, m Message) {
	if r.position >= 0 {
		r.step(inst, nil, m)
	}
}

// answer gives a Promise, an Accepted or a Nack from the acceptor at that position to the attempt it belongs to.
func (r *Replica) answer(inst *instance, position int, from *peer, m Message) {
	if m.Kind == KindState {
		r.state(inst, position, from, m)
		return
	}
	inst.saw(m.Promised)
	a := &inst.attempt
	if !a.running() || m.Ballot != a.ballot || inst.stopped != nil {
		return
	}
	next, accept, err := a.Step(position, m)
	if err != nil {
		r.fault(inst, from, err)
		return
	}
	a.Proposer = next
	switch {
	case accept.Kind == KindAccept:
		r.askVotes(inst, accept)
	case m.Kind == KindAccepted && a.Chosen():
		r.chosen(inst)
	case m.Kind == KindNack:
		if _, over := a.Superseded(); over {
			r.giveUp(inst)
		}
	}
}

// askVotes begins phase 2: the Accept goes to every acceptor.
func (r *Replica) askVotes(inst *instance, accept Message) {
	a := &inst.attempt
	r.rtt += (min(r.now-a.began, r.timing.MaxBackoff) - r.rtt) / 8
	a.resends = 0
	if accept.Value == a.own {
		r.exposed(inst)
	}
	r.timers.set(inst, r.now+r.timing.Phase)
	r.toAcceptors(accept, 0)
	r.ownStep(inst, accept)
}

// chosen is called when this server has counted a phase-2 quorum of votes: it tells the others. An acceptor has the value,
// in its vote; a learner that does not vote has not.
func (r *Replica) chosen(inst *instance) {
	b, v := inst.attempt.ballot, inst.attempt.Value()
	for i := range r.peers {
		if to := &r.peers[i]; to.position >= 0 {
			r.send(to, Message{Kind: KindChosen, Instance: inst.name, Ballot: b})
		} else {
			r.send(to, Message{Kind: KindDecided, Instance: inst.name, Ballot: b, Value: v})
		}
	}
	r.decide(inst, nil, b, v)
}

// giveUp ends an attempt that can no longer reach a quorum. The next begins after a random time, within a bound that
// doubles with each try in a row (full jitter), so that of two that duel one comes through (2.4).
func (r *Replica) giveUp(inst *instance) {
	a := &inst.attempt
	r.counters.Superseded++
	a.state = attemptBackoff
	a.tries = min(a.tries+1, 20) // more would overflow, and MaxBackoff is reached
	most := min(max(r.rtt, 50*time.Microsecond)<<a.tries, r.timing.MaxBackoff)
	r.timers.set(inst, r.now+1+time.Duration(r.rand.Int64N(int64(most))))
}

// due is called when the timer of inst is due.
func (r *Replica) due(inst *instance) {
	a := &inst.attempt
	switch {
	case a.running() && inst.proposes() == nil:
		// Nobody waits for it any more: what was under way had its time, and no more is sent.
		r.abandon(inst)
	case a.running() && a.Refused() != 0:
		r.giveUp(inst)
	case a.running():
		r.resend(inst)
	case a.state == attemptBackoff:
		a.state = attemptNone
		r.proceed(inst)
	case inst.asking.on:
		inst.asking.on = false
		r.proceed(inst)
	}
}

// abandon ends an attempt that nobody wants any more.
func (r *Replica) abandon(inst *instance) {
	inst.attempt = attempt{}
	r.timers.stop(inst)
	r.proceed(inst)
}

// resend sends the message of the phase that runs to those who have not answered it.
func (r *Replica) resend(inst *instance) {
	a := &inst.attempt
	m := a.Accept()
	m.Instance = inst.name
	if !a.asking {
		m = r.prepareOf(inst)
	}
	a.resends++
	r.counters.Resends++
	r.timers.set(inst, r.now+min(r.timing.Phase<<min(a.resends, 20), max(r.timing.Phase, r.timing.MaxBackoff)))
	r.toAcceptors(m, a.Answered())
	if r.position >= 0 && !a.Answered().Has(r.position) {
		r.ownStep(inst, m)
	}
}

// toAcceptors sends m to every other acceptor but those in except.
func (r *Replica) toAcceptors(m Message, except Set) {
	for i := range r.peers {
		if to := &r.peers[i]; to.position >= 0 && !except.Has(to.position) {
			r.send(to, m)
		}
	}
}
