package paxos

import (
	"errors"
	"time"
)

// Receive takes a packet. p.Messages stays the caller's, and is not kept.
func (r *Replica) Receive(now time.Duration, p Packet) {
	r.input(now)
	if r.stop != nil {
		return
	}
	from, ok := r.check(&p)
	if !ok {
		return
	}
	for i := range p.Messages {
		m := &p.Messages[i]
		inst := r.table.byName[m.Instance]
		if why := r.invalid(from, m, inst); why != "" {
			r.counters.Dropped++
			if r.trace {
				r.event(Event{Kind: EventDrop, Peer: from.id, Packet: p.Seq, Message: *m, Err: errors.New(why)})
			}
			r.passOver(from, inst, m)
			continue
		}
		if r.trace {
			r.event(Event{Kind: EventReceive, Peer: from.id, Packet: p.Seq, Message: *m})
		}
		r.counters.Received[m.Kind]++
		r.message(from, m, inst)
		if r.stop != nil {
			return
		}
	}
	r.notice(from) // after the messages: they may bring what it would ask for
}

// invalid says why m can't be a message of the protocol from that peer, and then no role sees it; empty: it can. inst is
// the instance it is about, if that is in memory.
func (r *Replica) invalid(from *peer, m *Message, inst *instance) string {
	switch m.Kind {
	case KindRefuse, KindPull, KindLimits:
		return ""
	case KindNames:
		if from.position < 0 {
			return "its sender does not vote"
		}
		return ""
	case KindPrepare, KindAccept, KindQuery:
		if m.Ballot.Server != from.id {
			return "its ballot is another server's"
		}
		if m.Ballot.Round == 0 && (m.Kind != KindAccept || !owns(m.Ballot, m.Instance)) {
			return "its ballot has round 0"
		}
	case KindPromise, KindAccepted, KindNack, KindState:
		if from.position < 0 {
			return "its sender does not vote"
		}
		if m.Ballot.Server != r.id {
			return "it answers another server's ballot"
		}
	case KindChosen, KindDecided:
		if m.Ballot.IsZero() {
			return "it has no ballot"
		}
	default:
		return "its kind is not known"
	}
	switch {
	case m.Instance == readyName && m.Kind != KindQuery && m.Kind != KindState:
		return "nothing is decided in that instance"
	case max(m.Ballot.Round, m.Promised.Round, m.Accepted.Round) > MaxRound:
		return "a round is above MaxRound"
	case len(m.Value) > r.limits.MaxValue:
		return "its value is too large"
	case inst == nil && checkName(m.Instance) != nil:
		return "its instance has no valid name"
	}
	return ""
}

// passOver is called with a message that is not taken, about inst or about none in memory. A decision that is too large for this
// server would otherwise keep it for ever from all that comes after it on a page. Who asks for a vote for what is too large is told so.
func (r *Replica) passOver(from *peer, inst *instance, m *Message) {
	if len(m.Value) > r.limits.MaxValue && (m.Kind == KindPrepare || m.Kind == KindAccept) {
		r.tellLimits(from, r.timing.Phase) // it waits for an answer
	}
	if inst != nil && m.Kind == KindDecided && len(m.Value) > r.limits.MaxValue {
		r.fetched(inst)
		r.endUnlearned(inst, len(m.Value))
		r.settle(inst)
	}
}

// message takes one valid message about inst; nil: that is not in memory.
func (r *Replica) message(from *peer, m *Message, inst *instance) {
	switch m.Kind {
	case KindRefuse:
		r.refusedBy(from, m)
		return
	case KindPull:
		r.pulledBy(from, m)
		return
	case KindLimits:
		r.limitsOf(from, m)
		return
	case KindNames:
		r.names(from, m)
		return
	case KindPromise, KindAccepted, KindNack, KindState:
		// Answers matter only to who asked, and who asked has the instance in memory.
		switch {
		case inst == nil:
			r.answeredMemo(from, m)
			return
		case inst.loading:
			return
		case !inst.chosen:
			r.answer(inst, from.position, from, *m)
		case inst.due(from.position, m):
			r.tellChosen(from, inst.name, inst.save.Accepted)
		}
	default:
		if inst == nil {
			if known := r.table.decided.find(m.Instance); known != nil {
				r.deliverMemo(known, from, m)
				return
			}
		}
		if r.saves.full(inst, m) {
			r.counters.Dropped++ // it is sent again
			return
		}
		if inst == nil {
			if inst = r.openForWork(m.Instance); inst != nil {
				// Who asks has begun nothing. This server was done with it, or it would be in memory, or its silence would go on;
				// to watch it anew, and ask the others, would have them ask again.
				inst.alone = m.Kind == KindQuery && inst.alarms[alarmWatch] == 0
			}
		}
		if inst == nil {
			r.counters.Dropped++
			return
		}
		if inst.loading {
			if len(inst.arrivals) < maxArrivals {
				inst.arrivals = append(inst.arrivals, arrival{teller{from, from.boot}, *m})
				r.saves.arrived += len(m.Value)
			} else {
				r.counters.Dropped++
			}
			return
		}
		r.deliver(inst, from, *m)
	}
	r.settle(inst)
}

// deliver gives a Prepare, Accept, Query, Chosen or Decided to its instance, which is loaded.
func (r *Replica) deliver(inst *instance, from *peer, m Message) {
	switch {
	case inst.stopped != nil:
	case inst.chosen:
		r.deliverDecided(inst, from, m)
	case m.Kind == KindDecided:
		r.decidedBy(inst, from, m)
	case m.Kind == KindChosen:
		r.deliverChosen(inst, from, m)
	case r.position < 0: // no vote here
	case m.Kind == KindQuery:
		r.tell(inst, from, m)
	default:
		if m.Kind == KindPrepare {
			r.keepHint(inst, m.Ballot, m.Value)
		}
		r.step(inst, from, m)
	}
}

// decidedBy learns a decision from another server. If the own ballot ran, those who promised to it, now or later, are told,
// too: they do not know, and have let a new silence begin, as somebody was at work.
func (r *Replica) decidedBy(inst *instance, from *peer, m Message) {
	promised := inst.attempt.promised()
	if inst.attempt.running() {
		inst.overtaken = inst.attempt.ballot
	}
	r.decide(inst, from, m.Ballot, m.Value)
	for i := range r.peers {
		if to := &r.peers[i]; inst.chosen && to.position >= 0 && promised.Has(to.position) {
			r.tellChosen(to, inst.name, inst.save.Accepted)
		}
	}
}

// tellChosen tells an acceptor that what it has accepted in b, or above, was chosen.
func (r *Replica) tellChosen(to *peer, name string, b Ballot) {
	r.send(to, Message{Kind: KindChosen, Instance: name, Ballot: b})
}

// deliverDecided answers whoever still asks in a decided instance.
func (r *Replica) deliverDecided(inst *instance, from *peer, m Message) {
	if m.Kind == KindDecided && m.Value != inst.save.Value {
		r.fault(inst, from, &SafetyError{Instance: inst.name, Ballot: m.Ballot, Values: [2]Value{inst.save.Value, m.Value},
			Reason: "two values were decided"})
		return
	}
	r.answerDecided(inst.decision(), from, m.Kind)
}

// answerDecided answers a question about what is decided with the decision, and nothing else: two servers that know must not
// answer each other.
func (r *Replica) answerDecided(d Decision, from *peer, question Kind) {
	switch question {
	case KindPrepare, KindAccept, KindQuery:
		r.send(from, Message{Kind: KindDecided, Instance: d.Instance, Ballot: d.Ballot, Value: d.Value})
	}
}

// deliverChosen learns from "what you accepted in this ballot, or above, is chosen". A vote in a higher ballot is for the
// same value. Who has no such vote asks for the value.
func (r *Replica) deliverChosen(inst *instance, from *peer, m Message) {
	if a := inst.save.Acceptor; !a.Accepted.IsZero() && !a.Accepted.Less(m.Ballot) {
		r.decide(inst, from, m.Ballot, a.Value)
		return
	}
	inst.informant = from
	r.proceed(inst)
}
