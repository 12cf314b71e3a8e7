package paxos

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// An op is what a call wants.
type op uint8

const (
	opPropose op = iota
	opWait
	opRead
	opReady
	opNone // what is no call any more
	opPeek // what follows is of a Node alone
	opStatus
	opDecisions
	opMint
	opStart
)

func (o op) String() string {
	switch o {
	case opPropose:
		return "propose"
	case opWait:
		return "wait"
	case opRead:
		return "read"
	case opReady:
		return "ready"
	case opPeek:
		return "peek"
	case opDecisions:
		return "decisions"
	case opMint:
		return "mint"
	case opStart:
		return "start"
	}
	return "status"
}

// A call waits for the end of an instance.
type call struct {
	id    CallID
	seq   uint64 // rises with each call of the Replica
	op    op
	value Value
	// exposed: the value may have been handed to an acceptor or a transport. Such a call can fail and its value be
	// chosen all the same.
	exposed bool
	// since is the last round used when a Read or a Ready began: only an answer to a later question proves anything.
	since uint64
}

// readyName is the instance that Ready asks about. Nobody proposes in it.
const readyName = "$ready"

// Propose asks for a decision in the instance, and offers v. The call ends with what was chosen, whoever proposed it.
// Errors: ErrName; ErrTooLarge, of this server's limits, or of so many others' that no quorum takes v, or of what is decided or was
// accepted there before; ErrBusy; ErrRounds; *SafetyError; each in an *OpError.
func (r *Replica) Propose(now time.Duration, id CallID, instance string, v Value) {
	r.input(now)
	err := checkInstance(instance)
	if err == nil && len(v) > r.limits.MaxValue {
		err = fmt.Errorf("value has %d bytes, at most %d are allowed: %w", len(v), r.limits.MaxValue, ErrTooLarge)
	}
	r.call(call{id: id, op: opPropose, value: v}, instance, err)
}

// Wait asks for the decision in the instance, whenever somebody else brings it about. It asks the acceptors what they
// know, at once and then again after each Timing.Silence, but proposes nothing. Errors as for Propose.
func (r *Replica) Wait(now time.Duration, id CallID, instance string) {
	r.input(now)
	r.call(call{id: id, op: opWait}, instance, checkInstance(instance))
}

// Read asks whether the instance was decided when the call began. The call ends with the decision, or, with OK false and
// no error, with the proof that nothing was chosen then: a phase-1 quorum had accepted nothing. Where votes are about that
// decide nothing yet, it finishes the instance first. Errors as for Propose; none of them is Unknown.
func (r *Replica) Read(now time.Duration, id CallID, instance string) {
	r.input(now)
	r.call(call{id: id, op: opRead}, instance, checkInstance(instance))
}

// Ready asks for proof that a quorum of both phases answers, and for what the servers of one had decided when this one
// heard of them first. The call ends without a decision when it has both.
func (r *Replica) Ready(now time.Duration, id CallID) {
	r.input(now)
	r.call(call{id: id, op: opReady}, readyName, nil)
}

// Peek returns what this server holds in memory about the instance. known is false if it holds nothing, and the storage
// has to be asked; ok is true if the instance is decided.
func (r *Replica) Peek(instance string) (d Decision, ok, known bool) {
	if known := r.table.decided.find(instance); known != nil {
		return known.decision(), true, true
	}
	inst := r.table.byName[instance]
	if inst == nil || inst.loading {
		return Decision{}, false, false
	}
	if !inst.chosen || inst.stopped != nil {
		return Decision{}, false, true
	}
	return inst.decision(), true, true
}

// Mint returns a name that no server of the cluster has used or will, and that this server owns: where it proposes first,
// in this life, a decision takes one round trip and one Save, which the servers do at the same time. name is the end of it;
// it may be empty and need not be unique. Anyone may use the name in every call, see Owned: in all else the instance is like
// any other. It is an error if name has control characters, is not valid UTF-8 or makes it longer than MaxName, and while the
// first Save is not done.
func (r *Replica) Mint(name string) (string, error) {
	if !r.saves.booted {
		return "", unsent(opMint, name, errNotBooted)
	}
	minted, err := mint(r.id, r.saves.state.Boot, r.mints+1, name)
	if err != nil {
		return "", unsent(opMint, name, err)
	}
	r.mints++
	return minted, nil
}

// call begins a call, or ends it at once.
func (r *Replica) call(c call, name string, err error) {
	if r.trace {
		r.event(Event{Kind: EventCall, Call: uint64(c.id), Message: Message{Instance: name, Value: c.value}})
	}
	var inst *instance
	switch {
	case err != nil:
	case r.stop != nil:
		err = r.stop
	case len(r.calls) >= r.limits.MaxCalls:
		err = fmt.Errorf("%d calls wait: %w", len(r.calls), ErrBusy)
	default:
		if known := r.table.decided.find(name); known != nil {
			r.ended(c.id, name, known.decision(), nil)
			return
		}
		if inst = r.openForCall(name); inst == nil {
			err = fmt.Errorf("%d instances are open, or not saved yet: %w", r.table.rooms[roomCalls]+r.table.rooms[roomOwn], ErrBusy)
		}
	}
	if err != nil {
		r.ended(c.id, name, Decision{}, unsent(c.op, name, err))
		return
	}
	r.called++
	c.seq = r.called
	r.calls[c.id] = calling{inst, c.seq}
	c.exposed = c.op == opPropose && inst.attempt.exposed && inst.attempt.own == c.value
	c.since = r.rounds.last
	if q := &inst.asking; q.on && (c.op == opWait && r.now-q.at >= r.timing.Phase || c.op == opRead && !inst.calls.reads()) {
		*q = asking{learner: q.learner} // what was answered may have changed since: ask at once
	}
	if a := &inst.attempt; c.op == opPropose && a.running() && inst.calls.proposes() == nil {
		a.resends = 0 // what nobody waited for was in no hurry
		r.timers.set(inst, alarmAttempt, min(inst.alarms[alarmAttempt], r.now+r.patience(a)))
	}
	inst.calls.add(c)
	switch {
	case inst.loading:
	case inst.stopped != nil:
		r.endCalls(inst, inst.stopped)
	case inst.chosen:
		r.endDecided(inst)
	default:
		r.proceed(inst)
	}
	r.settle(inst)
}

// shownName is the name for an error: Ready has none, and a bad name is cut to what is readable.
func shownName(name string) string {
	if name == readyName {
		return ""
	}
	return name[:min(len(name), MaxName)]
}

// Cancel ends a call that waits with context.Canceled, in an *OpError that says how far it came. It does nothing if the
// call has ended.
func (r *Replica) Cancel(now time.Duration, id CallID) {
	r.input(now)
	c, ok := r.calls[id]
	if !ok {
		return
	}
	inst := c.instance
	r.cut(c, errCancelled)
	r.withdraw(inst)
	if inst.asking.on && inst.calls.len() == 0 {
		r.endAsking(inst)
	}
	r.settle(inst)
}

// A calling says where a call is.
type calling struct {
	*instance
	seq uint64
}

// cut ends one call with err, before the others of its instance.
func (r *Replica) cut(at calling, err error) {
	inst := at.instance
	r.end(inst, inst.calls.remove(at.seq), Decision{}, err)
	if inst.calls.proposes() == nil {
		r.leaveLine(inst)
	}
}

// withdraw ends the attempt of inst if its value has not left and no call offers it any more. Its caller has heard that
// the value never left, so it must not leave from now on either.
func (r *Replica) withdraw(inst *instance) {
	if a := &inst.attempt; a.running() && a.purpose == forCalls && !a.asking && !a.exposed && !inst.calls.offers(a.own) {
		r.abandon(inst)
	}
}

// Abort ends all calls with err, in the order of their IDs; for a host that stops.
func (r *Replica) Abort(now time.Duration, err error) {
	r.input(now)
	for _, id := range slices.Sorted(maps.Keys(r.calls)) {
		c := r.calls[id]
		inst := c.instance
		r.cut(c, err)
		if inst.calls.len() == 0 { // else what remains is about to end, too, and nothing must begin for it
			r.withdraw(inst)
			r.settle(inst)
		}
	}
}

// lastBatch returns what has gathered, for a host that stops; nil: nothing has, or a Save is out.
func (r *Replica) lastBatch() *Batch {
	if s := &r.saves; s.booted {
		s.urgent = true
		return r.beginSave()
	}
	return nil
}

// endCalls ends all calls of inst with err.
func (r *Replica) endCalls(inst *instance, err error) {
	for _, c := range inst.calls.all {
		if c.op != opNone {
			r.end(inst, c, Decision{}, err)
		}
	}
	inst.calls.clear()
}

// endWithoutRounds ends the calls of inst if no round is left. If some are being reserved, they wait.
func (r *Replica) endWithoutRounds(inst *instance) {
	if !inst.wantsRound {
		r.endCalls(inst, ErrRounds)
	}
}

// end ends one call, which is or was in inst.calls.
func (r *Replica) end(inst *instance, c call, d Decision, err error) {
	delete(r.calls, c.id)
	if err != nil {
		err = r.opError(inst, c, err)
	}
	r.ended(c.id, inst.name, d, err)
}

func (r *Replica) ended(id CallID, name string, d Decision, err error) {
	r.done = append(r.done, Done{ID: id, Decision: d, OK: err == nil && d != Decision{}, Err: err})
	if r.trace {
		r.event(Event{Kind: EventDone, Call: uint64(id), Message: Message{Instance: name, Value: d.Value, Ballot: d.Ballot}, Err: err})
	}
}

// opError says how far call c of inst came.
func (r *Replica) opError(inst *instance, c call, err error) *OpError {
	e := unsent(c.op, inst.name, err)
	e.unsent = !c.exposed
	if errors.Is(err, ErrTooLarge) {
		return e // no acceptor was waited for
	}
	var answered, refused Set
	switch a := inst.attempt; {
	case inst.loading:
		e.Phase, e.Storage = "load", r.late(inst.since)
		return e
	case c.op == opRead && inst.asking.on:
		e.Phase, e.Ballot = "query", inst.asking.ballot
		answered = inst.asking.answered
		e.Quorum = needs(r.quorum, false)
	case a.running():
		e.Phase, e.Ballot = a.phase(), a.Ballot()
		answered, refused = a.Answered(), a.Refused()
		e.Quorum = needs(r.quorum, a.asking)
	case a.state == attemptBackoff:
		e.Phase, e.Ballot = "backoff", a.ballot
		answered, refused = a.Answered(), a.Refused()
		e.Quorum = needs(r.quorum, false)
	case inst.asking.on:
		e.Phase, e.Ballot = "query", inst.asking.ballot
		answered = inst.asking.answered
		e.Quorum = needs(r.quorum, false)
	default:
		if inst.wantsRound {
			e.Storage = r.late(r.now - r.saveWait())
		}
		return e
	}
	if r.position >= 0 && !answered.Has(r.position) {
		e.Storage = r.late(r.now - r.saveWait())
	}
	for i, id := range r.members.Acceptors {
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

// late returns for how long the storage has not answered what it was asked then, if that is longer than it should take; else 0.
func (r *Replica) late(since time.Duration) time.Duration {
	if d := r.now - since; d >= r.timing.Phase {
		return d
	}
	return 0
}
