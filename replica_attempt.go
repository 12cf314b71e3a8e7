package paxos

import "time"

// An attemptState says where an instance stands in getting its value chosen.
type attemptState uint8

const (
	attemptNone    attemptState = iota
	attemptRunning              // a ballot is out
	attemptBackoff              // the last ballot met a higher one; the next begins when the timer is due
)

// A purpose says for whom an attempt is.
type purpose uint8

const (
	forCalls    purpose = iota // a call offers its value
	forTakeover                // nobody here: it finishes what another server began
	forRead                    // a Read met votes that decide nothing yet: it finishes what they began
)

// An attempt is the one Proposer that this server has in an instance, and what is needed to try again. In a backoff the
// Proposer is the one that was given up: it takes no more answers, and says how far it came.
type attempt struct {
	Proposer
	state   attemptState
	purpose purpose
	exposed bool          // the own value may have left, as a hint or in an Accept
	began   time.Duration // when the ballot began
	asked   time.Duration // when the Accept left first
	flies   int           // bytes that flight counts for it
	holds   bool          // the Accept has not left: it waits for the own vote, see beginOwned
	resends int           // of the phase that runs
	tries   int           // ballots that met a higher one, one after the other
}

func (a *attempt) running() bool { return a.state == attemptRunning }

// promised returns who has promised to the ballot that runs.
func (a *attempt) promised() Set {
	if !a.running() {
		return 0
	}
	return a.Answered() &^ a.Refused()
}

func (a *attempt) phase() string {
	if a.asking {
		return "accept"
	}
	return "prepare"
}

// proceed has inst do next what its calls need: an attempt for those that propose, questions for the others. It does
// nothing while that runs already.
func (r *Replica) proceed(inst *instance) {
	if inst.loading || inst.chosen || inst.stopped != nil || inst.wantsRound {
		return
	}
	if inst.informant != nil {
		r.askInformant(inst)
	}
	r.endTooLargeIn(inst)
	if inst.attempt.state == attemptNone && !inst.wantsRound {
		r.offer(inst)
	}
	if !inst.asking.on && !inst.wantsRound && inst.wantsAnswer() {
		r.ask(inst)
	}
}

// offer begins an attempt with the value of the first call that proposes. Where that is long and has to wait for room, a call behind it
// with a value that is not long goes first.
func (r *Replica) offer(inst *instance) {
	c := inst.calls.proposes()
	if c != nil && !r.hasRoom(inst, c.value) {
		c = inst.calls.proposesShort()
	}
	if c == nil {
		return
	}
	if o, ok := r.ownsRound(inst); ok {
		r.beginOwned(inst, c.value, o)
	} else {
		r.begun(inst, c.value, forCalls)
	}
}

// wantsAnswer reports whether a call needs a question to be asked. Whoever only waits is served by an attempt, and a Read
// by the one that it brought about; it needs an answer of its own beside the attempts of others, which may take long.
func (inst *instance) wantsAnswer() bool {
	l := &inst.calls
	return l.wants[opWait] > 0 && inst.attempt.state == attemptNone || l.wants[opReady] > 0 ||
		l.reads() && (inst.attempt.state == attemptNone || inst.attempt.purpose != forRead)
}

// begun begins a new ballot for own, and reports whether it could: it is always a new Proposer, so no count of an earlier
// ballot can leak.
func (r *Replica) begun(inst *instance, own Value, why purpose) bool {
	b, ok := r.ballot(inst)
	if !ok {
		r.endWithoutRounds(inst)
		return false
	}
	r.enter(inst, b, own, why)
	prepare := r.prepareOf(inst)
	if prepare.Value != "" {
		r.exposed(inst)
	}
	r.toAcceptors(prepare, 0)
	r.ownStep(inst, prepare)
	return true
}

// enter makes ballot b the attempt of inst. Nothing has left yet.
func (r *Replica) enter(inst *instance, b Ballot, own Value, why purpose) {
	if !inst.calls.asks() {
		r.endAsking(inst)
	}
	a := &inst.attempt
	a.exposed = a.exposed && a.own == own // what left in an earlier ballot has left
	a.Proposer = NewProposer(b, own, r.quorum)
	a.state, a.purpose, a.began, a.asked, a.resends, a.holds = attemptRunning, why, r.now, r.now, 0, false
	switch why {
	case forTakeover:
		r.takeovers++
	case forCalls:
		r.fly(a)
	}
	r.counters.Attempts++
	r.timers.set(inst, alarmAttempt, r.now+r.patience(a))
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
	for i := range inst.calls.all {
		if c := &inst.calls.all[i]; c.op == opPropose && c.value == inst.attempt.own {
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
	if a.holds && a.accepted.Has(r.position) {
		r.letGo(inst)
	}
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
	r.measure(a)
	a.asked = r.now
	a.resends = 0
	if accept.Value == a.own {
		r.exposed(inst)
	}
	r.timers.set(inst, alarmAttempt, r.now+r.patience(a))
	r.toAcceptors(accept, 0)
	r.ownStep(inst, accept)
}

// measure notes how long the first phase of a took, which ends now.
func (r *Replica) measure(a *attempt) {
	r.rtt += (min(r.now-a.began, r.timing.MaxSilence) - r.rtt) / 8
}

// chosen is called when this server has counted a phase-2 quorum of votes: it tells the others. An acceptor has the value,
// in its vote; a learner that does not vote has not. An Accept that is long may still be on its way, and be overtaken: whose vote
// has not come is told when it does, or would ask for what is about to arrive.
func (r *Replica) chosen(inst *instance) {
	r.quorumAnswers(true)
	b, v := inst.attempt.ballot, inst.attempt.Value()
	if b.Round == 0 {
		r.measure(&inst.attempt) // its only one
	}
	r.voted(&inst.attempt)
	for i := range r.peers {
		switch to := &r.peers[i]; {
		case to.position < 0:
			r.send(to, Message{Kind: KindDecided, Instance: inst.name, Ballot: b, Value: v})
		case len(v) >= longMessage && !inst.attempt.accepted.Has(to.position):
			inst.owed = inst.owed.With(to.position)
		default:
			r.send(to, Message{Kind: KindChosen, Instance: inst.name, Ballot: b})
		}
	}
	r.decide(inst, nil, b, v)
}

// giveUp ends an attempt that can no longer reach a quorum. The next begins after a random time, within a bound that
// doubles with each try in a row (full jitter), so that of two that duel one comes through (2.4).
func (r *Replica) giveUp(inst *instance) {
	a := &inst.attempt
	r.counters.Superseded++
	if a.purpose == forTakeover && inst.calls.proposes() == nil {
		r.endAttempt(inst) // somebody else works on it; the silence that runs says when to look again
		return
	}
	a.state = attemptBackoff
	r.land(a)
	a.tries = min(a.tries+1, 20) // more would overflow, and MaxBackoff is reached
	rtt := max(r.rtt, 50*time.Microsecond)
	most := min(rtt<<a.tries, max(r.timing.MaxBackoff, 8*rtt)) // less would end no duel
	r.timers.set(inst, alarmAttempt, r.now+1+time.Duration(r.rand.Int64N(int64(most))))
}

// due is called when an alarm of inst is due.
func (r *Replica) due(inst *instance) {
	for which, at := range inst.alarms {
		if at == 0 || at > r.now || inst.alarms[which] != at {
			continue // the last: what another alarm brought about has changed it
		}
		r.timers.stop(inst, alarm(which))
		switch alarm(which) {
		case alarmAttempt:
			r.attemptDue(inst)
		case alarmAsk:
			r.askDue(inst)
		case alarmWatch:
			r.takeOver(inst)
		}
	}
}

// wanted reports whether the attempt of inst is of use to anybody.
func (inst *instance) wanted() bool {
	return inst.attempt.purpose == forTakeover || inst.calls.proposes() != nil || inst.attempt.purpose == forRead && inst.calls.reads()
}

func (r *Replica) attemptDue(inst *instance) {
	a := &inst.attempt
	switch {
	case a.running() && !inst.wanted():
		// Nobody waits for it any more: what was under way had its time, and no more is sent.
		r.abandon(inst)
	case a.running() && a.Refused() != 0:
		r.giveUp(inst)
	case a.running() && !a.outlived():
		r.resend(inst)
	case a.state != attemptNone:
		a.state = attemptNone
		r.leave(a)
		r.proceed(inst)
	}
}

// abandon ends an attempt that nobody wants any more.
func (r *Replica) abandon(inst *instance) {
	r.endAttempt(inst)
	r.proceed(inst)
}

// endAttempt forgets the attempt of inst.
func (r *Replica) endAttempt(inst *instance) {
	r.leave(&inst.attempt)
	inst.attempt = attempt{}
	r.timers.stop(inst, alarmAttempt)
}

// leave takes an attempt that is over, or goes on as that of a call, out of what is counted.
func (r *Replica) leave(a *attempt) {
	r.land(a)
	if a.purpose == forTakeover {
		a.purpose = forCalls
		r.takeovers--
	}
}

// resend sends the message of the phase that runs to those who have not answered it.
func (r *Replica) resend(inst *instance) {
	a := &inst.attempt
	m := a.Accept()
	m.Instance = inst.name
	if !a.asking {
		m = r.prepareOf(inst)
	}
	if a.resends++; a.resends > 1 {
		r.land(a) // what is silent for so long is not on its way, and others must not wait for it
	}
	r.counters.Resends++
	switch err := r.tooLarge(len(a.Value())); {
	case err != nil && a.asking:
		r.endStuck(inst, err)
		if a.purpose == forTakeover {
			r.abandon(inst) // until the next silence ends: what else is to be taken over wants room, too
			return
		}
	case a.resends > 1:
		r.quorumAnswers(false)
	}
	most := r.timing.MaxBackoff
	if inst.calls.proposes() == nil && !inst.calls.reads() {
		most = r.timing.MaxSilence // nobody waits for it here
	}
	r.timers.set(inst, alarmAttempt, r.now+min(r.patience(a)<<min(a.resends, 20), max(r.timing.Phase, most)))
	r.toAcceptors(m, a.Answered())
	if r.position >= 0 && !a.Answered().Has(r.position) {
		r.ownStep(inst, m)
	}
}

// toAcceptors sends m to every other acceptor but those in except, and those that have said that its value is too large: of a Prepare
// it is but a hint, and left out.
func (r *Replica) toAcceptors(m Message, except Set) {
	for i := range r.peers {
		switch to := &r.peers[i]; {
		case to.position < 0 || except.Has(to.position):
		case to.takesValue(len(m.Value)):
			r.send(to, m)
		case m.Kind == KindPrepare:
			bare := m
			bare.Value = ""
			r.send(to, bare)
		}
	}
}
