package replica

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
	"github.com/singledecree/paxos/internal/durable"
)

// chosen is called when this server has counted a phase-2 quorum of votes. It tells the others. An acceptor has the value in
// its vote; a learner that does not vote has not.
//
// A long Accept may still be on its way, and a Chosen may arrive before it. So an acceptor whose vote on a long value has
// not come is told when the vote comes. Otherwise it would ask for the value that is about to arrive.
func (r *Replica) chosen(inst *instance) {
	r.quorumAnswers(true)
	b, v := inst.attempt.Ballot(), inst.attempt.Value()
	if inst.attempt.direct {
		r.counters.OneTrip++
		r.measure(&inst.attempt) // its only one
		if b.Round != 0 {
			r.standingChosen()
		}
	}
	if a := &inst.attempt; !a.direct && a.to == nil && a.tries == 0 && a.purpose == forCalls && len(v) < longMessage {
		r.stands.others.TookClassic(r.now - a.began)
	}
	r.roundTrip(paxos.KindAccept, inst.attempt.asked)
	r.inflight.voted(&inst.attempt, r.now, &r.timing)
	for _, to := range r.peers {
		switch {
		case to.position < 0 || !r.voters.Has(to.position) || change.IsConfiguration(inst.name): // no packet of before takes a Chosen along
			r.send(to, &paxos.Message{Kind: paxos.KindDecided, Instance: inst.name, Ballot: b, Value: v})
		case len(v) >= longMessage && !inst.attempt.Accepted().Has(to.position):
			inst.lateVoters = inst.lateVoters.With(to.position)
		default:
			r.send(to, &paxos.Message{Kind: paxos.KindChosen, Instance: inst.name, Ballot: b})
		}
	}
	r.answerAskers(inst, true)
	r.decide(inst, nil, b, v)
}

// measure notes how long the first phase of a took. It ends now.
func (r *Replica) measure(a *attempt) {
	r.rtt += (min(r.now-a.began, r.timing.MaxSilence) - r.rtt) / 8
}

// decide makes b and v the decision of inst, which is loaded and has none yet. The peer from told of it. Without from, this
// server counted the votes itself.
func (r *Replica) decide(inst *instance, from *peer, b paxos.Ballot, v paxos.Value) {
	if change.IsConfiguration(inst.name) {
		if err := r.checkNext(inst.name, b, v); err != nil {
			r.fault(inst, from, err)
			return
		}
	}
	a := inst.acceptor.Acceptor
	if !a.Accepted.IsZero() && !a.Accepted.Less(b) && a.Value != v {
		r.fault(inst, from, &paxos.SafetyError{Instance: inst.name, Ballot: a.Accepted, Values: [2]paxos.Value{v, a.Value},
			Reason: "a value was chosen in ballot " + b.String() + ", and a later vote is for another"})
		return
	}
	if a.Promised.Less(b) {
		a.Promised = b
	}
	fresh := v != a.Value
	a.Accepted, a.Value = b, v
	inst.acceptor = durable.Acceptor{Acceptor: a, Stage: durable.Dirty}
	inst.chosen = true
	if o := &inst.attempt; o.state == attemptForwarded && r.forwardedLast(o) {
		r.stands.others.Took(r.now - o.began)
	}
	if from != nil {
		inst.learnedFrom = source{from, from.identity.boot()}
	}
	r.table.closed(inst)
	r.counters.Decided++
	r.imports.Knows(inst.name)
	if change.IsConfiguration(inst.name) {
		r.saves.addFirst(inst) // beside the state that names it: see changeMembers
		r.saveLater()
	} else {
		r.gatherLater(inst)
	}
	if fresh {
		r.saves.count(inst)
	}
	if r.traces(inst.name) {
		r.event(paxos.EventLearned).Message = paxos.Message{Kind: paxos.KindDecided, Instance: inst.name, Ballot: b, Value: v}
	}
	r.endDecided(inst)
}

// endDecided ends everything that waited for the decision of inst.
func (r *Replica) endDecided(inst *instance) {
	if inst.forgotten() {
		r.endForgotten(inst)
		return
	}
	r.answerAskers(inst, false)
	r.rest(inst)
	for _, c := range inst.calls.all {
		if c.op != opNone {
			r.end(inst, c, inst.decision(), nil)
		}
	}
	inst.calls.clear()
	if change.IsConfiguration(inst.name) {
		r.configurationDecided(inst)
	}
}

// checkNext returns an error if v can't be the configuration that is decided in the instance of that name.
func (r *Replica) checkNext(name string, b paxos.Ballot, v paxos.Value) error {
	number, _ := paxos.ConfigurationNumber(name)
	c, err := paxos.ParseConfiguration(string(v))
	switch {
	case err != nil:
	case c.Number != number:
		err = fmt.Errorf("it is configuration %d", c.Number)
	case number != r.view.Number()+1:
		return nil // it is looked at when the configurations before it are known
	case c.Before != r.view.Fingerprint():
		err = fmt.Errorf("it follows a configuration %d with the fingerprint %016x; here that has %016x", r.view.Number(), c.Before, r.view.Fingerprint())
	default:
		if _, err = r.view.Current().Next(c.Members); err == nil {
			return nil
		}
	}
	return &paxos.SafetyError{Instance: name, Ballot: b, Reason: "what was decided there is not the next configuration: " + err.Error()}
}

// configurationDecided is called when inst, in which a configuration is decided, is loaded or decided.
func (r *Replica) configurationDecided(inst *instance) {
	if number, _ := paxos.ConfigurationNumber(inst.name); number == r.view.Number()+1 && inst.stopped == nil {
		r.next = string(inst.acceptor.Value)
	}
}

// endForgotten ends the calls of inst, which is forgotten, if that is durable. A Forget ends when a quorum has forgotten inst.
func (r *Replica) endForgotten(inst *instance) {
	if inst.acceptor.Stage != durable.Saved {
		return
	}
	if inst.calls.len() > 0 {
		err := &paxos.ForgottenError{Names: r.forgottenNames(inst)}
		for _, c := range inst.calls.take(func(c *call) bool { return c.op != opForget }) {
			r.end(inst, c, paxos.Decision{}, err)
		}
		r.endForgets(inst)
	}
}

// forgottenNames returns the names that were forgotten together with inst, as far as that is durable.
func (r *Replica) forgottenNames(inst *instance) paxos.NameRange {
	if names, ok := r.forgets.durable(inst.name); ok {
		return names
	}
	return paxos.OneName(inst.name)
}

// endForgets ends the calls that asked to forget inst, if that is durable here and at a phase-2 quorum. Then each later attempt
// meets a server that has forgotten it: each phase-1 quorum has one. In round 0 the owner has no phase 1, and that of a standing ballot may have
// been earlier. So each phase-2 quorum has to have one, too.
func (r *Replica) endForgets(inst *instance) {
	if inst.acceptor.Stage != durable.Saved || !inst.asked() {
		return
	}
	have := inst.asking.answered
	if r.position >= 0 {
		have = have.With(r.position)
	}
	before := r.view.IsJoint() && r.view.Complete() == 0 // the acceptors of the configuration before may still vote in it
	if !r.quorum.Phase2(have) || before && !r.view.IsSource(have) || r.quorum.Phase2(paxos.All(r.quorum.Size())&^have) {
		return
	}
	r.quorumAnswers(true)
	for _, c := range inst.calls.take(isForget) {
		r.end(inst, c, paxos.Decision{}, nil)
	}
	r.endAsking(inst)
}

// rest ends all work on inst, which is decided or has stopped.
func (r *Replica) rest(inst *instance) {
	r.hints.drop(&inst.hint)
	r.refuseAskers(inst)
	r.leave(&inst.attempt)
	r.inflight.leaveLine(inst)
	inst.attempt, inst.askForValue = attempt{}, nil
	inst.forgetQuestion()
	r.timers.stopAll(inst)
	r.fetched(inst)
}

// fetched is called when inst needs no fetching any more. The next decision is fetched later, when no other instance is
// being worked on.
func (r *Replica) fetched(inst *instance) {
	waits := inst.fetching
	if waits == 0 {
		return
	}
	inst.fetching = 0
	r.pulls.fetched(len(inst.acceptor.Value))
	for _, p := range r.peers {
		if p.position >= 0 && waits.Has(p.position) {
			p.pull.fetched()
		}
	}
}

// passed notes that the pages that wait for inst go on without it.
func (r *Replica) passed(inst *instance) {
	for _, p := range r.peers {
		if inst.fetching.Has(p.position) {
			p.pull.lack()
		}
	}
}

// fault stops inst for good. err proves that some server broke the protocol, so no later decision here could be trusted.
func (r *Replica) fault(inst *instance, from *peer, err error) {
	se := err.(*paxos.SafetyError)
	if se.Instance = inst.name; from != nil {
		se.Server = from.id
	}
	inst.stopped = se
	r.faults = append(r.faults, se)
	if len(r.broken) == maxBroken {
		r.broken = slices.Delete(r.broken, 0, 1)
	}
	r.broken = append(r.broken, se)
	r.counters.Faults++
	if r.tracing.On {
		e := r.event(paxos.EventFault)
		e.Message, e.Err = paxos.Message{Instance: inst.name, Ballot: se.Ballot}, se
	}
	if !inst.chosen {
		r.passed(inst) // it may be decided there
	}
	r.rest(inst)
	r.endCalls(inst, se)
}

// heard is called when a new ballot of inst was promised: somebody works on it.
func (r *Replica) heard(inst *instance, from *peer) {
	inst.ballots = min(inst.ballots+1, 20) // more would overflow, and MaxSilence is reached
	r.table.orphan(inst, false)
	inst.overdue = false
	if a := &inst.attempt; from != nil && a.state != attemptNone && a.purpose == forTakeover && inst.calls.proposes() == nil {
		r.endAttempt(inst) // it would only pre-empt the server that works on it now
	}
	r.watch(inst)
}

// giveUp ends an attempt that can no longer reach a quorum. The next one begins after a random time. Its bound doubles with
// each try in a row (full jitter), so one of two proposers that duel comes through (2.4).
func (r *Replica) giveUp(inst *instance) {
	a := &inst.attempt
	r.counters.Superseded++
	if a.direct && a.purpose != forForward { // else the server that has forwarded the value may have begun that ballot
		r.standingLost(a.Ballot())
	}
	r.refuseAskers(inst)
	if (a.purpose == forTakeover || a.purpose == forForward) && inst.calls.proposes() == nil {
		r.endAttempt(inst) // somebody else works on it; the silence that runs says when to look again
		return
	}
	a.state = attemptBackoff
	r.inflight.release(a)
	a.tries = min(a.tries+1, 20) // more would overflow, and MaxBackoff is reached
	rtt := max(r.rtt, 50*time.Microsecond)
	most := min(rtt<<a.tries, max(r.timing.MaxBackoff, 8*rtt)) // less would end no duel
	r.timers.set(inst, alarmAttempt, r.now+1+time.Duration(r.rand.Int64N(int64(most))))
}

// endAttempt forgets the attempt of inst.
func (r *Replica) endAttempt(inst *instance) {
	r.refuseAskers(inst)
	r.leave(&inst.attempt)
	inst.attempt = attempt{}
	r.timers.stop(inst, alarmAttempt)
}

// leave takes an attempt out of the counts. The attempt is over, or goes on as that of a call.
func (r *Replica) leave(a *attempt) {
	r.inflight.release(a)
	switch a.purpose {
	case forTakeover:
		r.takeovers--
	case forForward:
		r.stands.asked--
	default:
		return
	}
	a.purpose = forCalls
}

// endAsking forgets the question.
func (r *Replica) endAsking(inst *instance) {
	inst.forgetQuestion()
	r.timers.stop(inst, alarmAsk)
}

// endAsked ends the calls of inst with that op that began before the question with that ballot was asked. They end without a
// decision and without an error.
func (r *Replica) endAsked(inst *instance, o op, asked paxos.Ballot) {
	for _, c := range inst.calls.take(func(c *call) bool { return c.op == o && c.since < asked.Round }) {
		r.end(inst, c, paxos.Decision{}, nil)
	}
}

// cut ends one call with err, before the others of its instance.
func (r *Replica) cut(at calling, err error) {
	inst := at.instance
	r.end(inst, inst.calls.remove(at.seq), paxos.Decision{}, err)
	if inst.calls.proposes() == nil {
		r.inflight.leaveLine(inst)
	}
}

// endCalls ends all calls of inst with err.
func (r *Replica) endCalls(inst *instance, err error) {
	for _, c := range inst.calls.all {
		if c.op != opNone {
			r.end(inst, c, paxos.Decision{}, err)
		}
	}
	inst.calls.clear()
}

// endWithoutRounds ends the calls of inst if no round is left. If a block of rounds is being reserved, the calls wait.
func (r *Replica) endWithoutRounds(inst *instance) {
	if !inst.wantsRound {
		r.endCalls(inst, paxos.ErrRounds)
	}
}

// end ends one call, which is or was in inst.calls.
func (r *Replica) end(inst *instance, c call, d paxos.Decision, err error) {
	delete(r.calls, c.id)
	if err != nil {
		err = r.opError(inst, c, err)
	}
	r.ended(c.id, inst.name, d, err)
}

func (r *Replica) ended(id CallID, name string, d paxos.Decision, err error) {
	r.done = append(r.done, Done{ID: id, Decision: d, OK: err == nil && d != paxos.Decision{}, Err: err})
	if r.traces(name) {
		e := r.event(paxos.EventDone)
		e.Call, e.Message, e.Err = uint64(id), paxos.Message{Instance: name, Value: d.Value, Ballot: d.Ballot}, err
	}
}

// opError returns the error of call c of inst, and says how far the call came.
func (r *Replica) opError(inst *instance, c call, err error) *paxos.OpError {
	e := unsent(c.op, inst.name, err)
	e.Unsent = !c.exposed
	if errors.Is(err, paxos.ErrTooLarge) {
		return e // no acceptor was waited for
	}
	var answered, refused paxos.Set
	switch a := inst.attempt; {
	case inst.loading:
		e.Phase, e.Storage = "load", r.late(inst.age.since)
		return e
	case c.op == opForget:
		e.Phase = "forget"
		if inst.isRange {
			e.Instance = ""
		}
		if inst.asked() {
			answered = inst.asking.answered
		}
		if r.position >= 0 && inst.forgotten() && inst.acceptor.Stage == durable.Saved {
			answered = answered.With(r.position)
		}
		e.Quorum = paxos.QuorumNeeds(r.quorum, true)
	case c.op == opRead && inst.asked():
		e.Phase, e.Ballot = "query", inst.asking.ballot
		answered = inst.asking.answered
		e.Quorum = paxos.QuorumNeeds(r.quorum, false)
	case a.running():
		e.Phase, e.Ballot = a.phase(), a.Ballot()
		answered, refused = a.Answered(), a.Refused()
		e.Quorum = paxos.QuorumNeeds(r.quorum, a.Asking())
	case a.state == attemptForwarded:
		e.Phase, e.Ballot = "forward", a.Ballot()
		return e
	case a.state == attemptBackoff:
		e.Phase, e.Ballot = "backoff", a.Ballot()
		answered, refused = a.Answered(), a.Refused()
		e.Quorum = paxos.QuorumNeeds(r.quorum, false)
	case inst.asked():
		e.Phase, e.Ballot = "query", inst.asking.ballot
		answered = inst.asking.answered
		e.Quorum = paxos.QuorumNeeds(r.quorum, false)
	default:
		if inst.wantsRound {
			e.Storage = r.late(r.now - r.SaveWait(r.now))
		}
		return e
	}
	if r.position >= 0 && !answered.Has(r.position) {
		e.Storage = r.late(r.now - r.SaveWait(r.now))
	}
	for i, id := range r.view.Acceptors() {
		switch {
		case !answered.Has(i):
			e.Silent = append(e.Silent, id)
		case refused.Has(i):
			e.Refused = append(e.Refused, id)
			fallthrough
		default:
			e.Answered = append(e.Answered, id)
		}
	}
	return e
}
