package replica

import (
	"fmt"

	"github.com/singledecree/paxos"
)

// message takes one valid message about inst; nil: the instance is not in memory.
func (r *Replica) message(from *peer, m *paxos.Message, inst *instance) {
	switch m.Kind {
	case paxos.KindPromise, paxos.KindAccepted, paxos.KindNack, paxos.KindState:
		// Answers matter only to the server that asked, and that server has the instance in memory.
		switch {
		case m.Instance == "":
			r.standRefused(m)
			return
		case r.isImport(m):
			r.importFrom(from, m, inst)
			return
		case inst == nil:
			r.answeredMemo(from, m)
			return
		case inst.loading:
			return
		case !inst.chosen:
			r.answer(inst, from.position, from, m)
		case inst.due(from.position, m):
			r.tellChosen(from, inst.name, inst.acceptor.Accepted)
		}
	case paxos.KindPrepare, paxos.KindAccept, paxos.KindQuery, paxos.KindChosen, paxos.KindDecided, paxos.KindForget, paxos.KindForward:
		if m.Kind == paxos.KindForget && !r.voters.Has(r.position) {
			r.forgetWithoutVote(from, m)
			return
		}
		if inst == nil && r.finished(from, m) {
			return
		}
		if r.saves.full(inst, m) {
			r.loses(from, m)
			return
		}
		if inst == nil {
			if inst = r.openForWork(m.Instance); inst != nil {
				// A server that asks has begun nothing. This server was done with the instance: otherwise it would be in
				// memory, or its silence would go on. To watch it anew, and ask the others, would make them ask again.
				r.table.orphan(inst, (m.Kind == paxos.KindQuery || m.Kind == paxos.KindForward) && inst.alarms[alarmWatch] == 0)
			}
		}
		if inst == nil {
			r.loses(from, m)
			return
		}
		if inst.loading {
			r.arrives(inst, from, m)
			return
		}
		r.deliver(inst, from, m)
	default:
		r.ofServers(from, m)
		return
	}
	r.settle(inst)
}

// ofServers takes a message that is about no instance.
func (r *Replica) ofServers(from *peer, m *paxos.Message) {
	switch m.Kind {
	case paxos.KindRefuse:
		r.refusedBy(from, m)
	case paxos.KindPull:
		r.pulledBy(from, m)
	case paxos.KindLimits:
		r.limitsOf(from, m)
	case paxos.KindNames, paxos.KindDecisions:
		r.page(from, m)
	case paxos.KindForgotten:
		r.forgottenBy(from, m)
	case paxos.KindScan:
		r.scannedBy(from, m)
	case paxos.KindOpen:
		r.openOf(from, m)
	case paxos.KindStand:
		r.standFor(from, m)
	case paxos.KindStood:
		r.stoodBy(from, m)
	}
}

// finished takes a Prepare, Accept, Query, Chosen, Decided or Forget that needs no instance in memory, and reports whether m is one.
func (r *Replica) finished(from *peer, m *paxos.Message) bool {
	if m.Kind == paxos.KindForget && m.Instance == "" {
		r.forgetFor(from, m)
		return true
	}
	if known := r.table.decided.find(m.Instance); known != nil {
		r.deliverMemo(known, from, m)
		return true
	}
	if !r.forgets.some() {
		return false
	}
	_, _, ok := r.forgets.find(m.Instance)
	if ok {
		names, durable := r.forgets.durable(m.Instance)
		r.answerForgotten(from, m, names, durable)
	}
	return ok
}

// deliver gives a Prepare, Accept, Query, Chosen or Decided to its instance, which is loaded.
func (r *Replica) deliver(inst *instance, from *peer, m *paxos.Message) {
	switch {
	case m.Kind == paxos.KindState || m.Kind == paxos.KindNack:
		r.merge(inst, from, m)
	case inst.stopped != nil && m.Kind != paxos.KindForget:
	case inst.forgotten():
		if answer, ok := forgottenAnswer(m, r.forgottenNames(inst)); ok {
			r.hold(inst, from, &answer, inst.acceptor.Stage)
		}
	case m.Kind == paxos.KindForget:
		r.forgetOne(inst)
		r.hold(inst, from, &paxos.Message{Kind: paxos.KindForgotten, Instance: inst.name}, inst.acceptor.Stage)
	case inst.chosen:
		r.deliverDecided(inst, from, m)
	case m.Kind == paxos.KindDecided:
		r.decidedBy(inst, from, m)
	case m.Kind == paxos.KindChosen:
		r.deliverChosen(inst, from, m)
	case r.position < 0: // no vote here
	case m.Kind == paxos.KindQuery:
		r.tell(inst, from, m)
	case m.Kind == paxos.KindForward:
		r.forwardedBy(inst, from, m)
	default:
		if m.Kind == paxos.KindPrepare && r.hints.keep(&inst.hint, m.Ballot, m.Value) {
			r.table.orphan(inst, false) // now there is a value to finish it with
		}
		r.step(inst, from, m)
	}
}

// forwardedBy takes a Forward. An attempt that runs in the standing ballot, or in round 0, answers it, whatever its value is. Beside an
// attempt with a phase 1, the other server goes on by itself.
func (r *Replica) forwardedBy(inst *instance, from *peer, m *paxos.Message) {
	switch a := &inst.attempt; {
	case a.running() && a.direct:
	case r.takesUp(inst, m.Value):
		r.counters.Forwarded++
		r.beginStanding(inst, m.Value, forForward)
	default:
		r.refuseForward(from, inst.name, m.Ballot)
		return
	}
	if !inst.chosen {
		inst.asks(asker{from, m.Ballot})
	}
}

// takesUp takes a value that another server has forwarded. It reports whether an attempt in a standing ballot runs for it now. If another attempt runs
// in inst, or if the ballot may not be used there, the other server goes on by itself. A value that no quorum takes is not taken up: with the
// vote of this server, later ballots would have to propose it.
func (r *Replica) takesUp(inst *instance, v paxos.Value) bool {
	if inst.attempt.state != attemptNone || inst.wantsRound || r.stands.asked >= r.limits.MaxOpen {
		return false
	}
	return len(v) < longMessage && r.tooLarge(len(v)) == nil && r.standsIn(inst)
}

// deliverDecided answers a message in a decided instance.
func (r *Replica) deliverDecided(inst *instance, from *peer, m *paxos.Message) {
	if m.Kind == paxos.KindDecided && m.Value != inst.acceptor.Value {
		r.fault(inst, from, &paxos.SafetyError{Instance: inst.name, Ballot: m.Ballot, Values: [2]paxos.Value{inst.acceptor.Value, m.Value},
			Reason: "two values were decided"})
		return
	}
	r.imports.Knows(inst.name)
	r.answerDecided(inst.decision(), from, m.Kind)
}

// deliverChosen learns from a Chosen. It says that the value which its receiver accepted in this ballot, or above, is
// chosen. A vote in a higher ballot is for the same value. A server without such a vote asks for the value.
func (r *Replica) deliverChosen(inst *instance, from *peer, m *paxos.Message) {
	if a := inst.acceptor.Acceptor; !a.Accepted.IsZero() && !a.Accepted.Less(m.Ballot) {
		r.decide(inst, from, m.Ballot, a.Value)
		return
	}
	inst.askForValue = from
	r.proceed(inst)
}

// forgottenAnswer returns the answer to m, which is about a forgotten instance. These names were forgotten with it. ok is false
// if m needs no answer.
func forgottenAnswer(m *paxos.Message, names paxos.NameRange) (answer paxos.Message, ok bool) {
	switch m.Kind {
	case paxos.KindPrepare, paxos.KindAccept, paxos.KindQuery, paxos.KindForward:
		return paxos.Message{Kind: paxos.KindNack, Instance: m.Instance, Ballot: m.Ballot, Promised: paxos.Acceptor{}.Forget().Promised,
			Value: paxos.Value(names.String())}, true
	case paxos.KindForget:
		return paxos.Message{Kind: paxos.KindForgotten, Instance: m.Instance}, true
	}
	return paxos.Message{}, false
}

// answerForgotten answers m, which is about a forgotten instance that is not in memory. Until that is durable, m is lost, and
// will be sent again.
func (r *Replica) answerForgotten(from *peer, m *paxos.Message, names paxos.NameRange, durable bool) {
	if !durable {
		r.counters.Dropped++
		return
	}
	if answer, ok := forgottenAnswer(m, names); ok {
		r.send(from, &answer)
	}
}

// forgetWithoutVote takes a Forget at an acceptor of the configuration before. That has to be sealed, and no more: it then helps to
// decide nothing there. It forgets the names when it hears of them from a server that votes. Else nobody might learn of it.
func (r *Replica) forgetWithoutVote(from *peer, m *paxos.Message) {
	if !r.saves.isSealed() {
		r.counters.Dropped++ // it is sent again
		return
	}
	r.send(from, &paxos.Message{Kind: paxos.KindForgotten, Instance: m.Instance, Value: m.Value})
}

// forgetFor takes a Forget of a range of names.
func (r *Replica) forgetFor(from *peer, m *paxos.Message) {
	names, err := paxos.ParseNameRange(string(m.Value))
	if err != nil || !r.forgets.fits() {
		r.counters.Dropped++
		return
	}
	answer := paxos.Message{Kind: paxos.KindForgotten, Value: m.Value}
	if inst := r.forgetRange(names); inst != nil {
		r.hold(inst, from, &answer, inst.acceptor.Stage)
	} else {
		r.send(from, &answer)
	}
}

// forgottenBy takes a Forgotten: another server has forgotten the same, and that is durable there.
func (r *Replica) forgottenBy(from *peer, m *paxos.Message) {
	names := paxos.OneName(m.Instance)
	if m.Instance == "" {
		var err error
		if names, err = paxos.ParseNameRange(string(m.Value)); err != nil {
			r.counters.Dropped++
			return
		}
	}
	if from.position < 0 {
		return
	}
	if r.voters.Has(from.position) {
		r.askedForgotten(names)
	}
	inst := r.table.byName[m.Instance]
	if number, ok := r.forgets.covering(names); ok {
		inst = r.table.byName[rangeName(number)]
		if inst != nil && inst.acceptor.Value != paxos.Value(names.String()) {
			inst = nil // the range has grown since
		}
	}
	if inst == nil || !inst.asked() || !inst.forgotten() {
		return
	}
	inst.asking.answered = inst.asking.answered.With(from.position)
	r.endForgets(inst)
	r.settle(inst)
}

// deliverMemo gives a Prepare, Accept, Query, Chosen or Decided to an instance that is only a memo.
func (r *Replica) deliverMemo(known *memo, from *peer, m *paxos.Message) {
	if known.Promised.IsForgotten() {
		r.answerForgotten(from, m, paxos.OneName(known.name), true)
		return
	}
	if m.Kind == paxos.KindForget {
		inst := r.reopen(known)
		r.deliver(inst, from, m)
		r.settle(inst)
		return
	}
	if m.Kind == paxos.KindDecided && m.Value != known.Value {
		inst := r.reopen(known)
		r.deliverDecided(inst, from, m) // it stops the instance
		r.settle(inst)
		return
	}
	r.imports.Knows(known.name)
	r.answerDecided(known.decision(), from, m.Kind)
}

// answeredMemo takes an answer about an instance that is only a memo, or not in memory at all.
func (r *Replica) answeredMemo(from *peer, m *paxos.Message) {
	if known := r.table.decided.lateVoter(from.position, m); known != nil {
		r.tellChosen(from, known.name, known.Accepted)
	}
}

// limitsOf takes a Limits.
func (r *Replica) limitsOf(from *peer, m *paxos.Message) {
	t, ok := parseTakes(m.Value)
	if !ok {
		r.counters.Dropped++
		return
	}
	if t == from.takes {
		return
	}
	from.takes = t
	r.noteLimits(from)
	r.exchangeLimits(from, false)
	r.endTooLarge()
}

// refusedBy takes a Refuse. Only the process that it names by Boot and Nonce has to stop: a late Refuse may be about an
// earlier life.
func (r *Replica) refusedBy(from *peer, m *paxos.Message) {
	words := string(m.Value)
	r.refusing(from, refusesUs+clip(words))
	why, ok := r.meantHere(words)
	if !ok {
		return
	}
	r.stop = fmt.Errorf("paxos: server %d is refused by server %d: %s", r.id, from.id, clip(why))
	r.Abort(r.now, r.stop)
}
