package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/singledecree/paxos"
)

// Propose asks for a decision in the instance, and offers v. The call ends with the value that was chosen, whoever proposed
// it. Its error is an [*paxos.OpError] around one of these:
//
//   - [paxos.ErrName]: instance is not a valid name.
//   - [paxos.ErrTooLarge]: v is too large for this server, or for so many others that no quorum takes it. Or the value that
//     was decided or accepted there before is.
//   - [paxos.ErrBusy]: Limits.MaxCalls or Limits.MaxOpen is reached.
//   - [paxos.ErrRounds]: no round is left.
//   - [*paxos.SafetyError]: some server broke the protocol in this instance.
//   - The error of [Replica.Cancel], [Replica.Abort] or [Replica.Stop], or [Output].Stop.
func (r *Replica) Propose(now time.Duration, id CallID, instance string, v paxos.Value) {
	r.input(now)
	err := paxos.CheckInstance(instance)
	if err == nil && len(v) > r.limits.MaxValue {
		err = fmt.Errorf("value has %d bytes, at most %d are allowed: %w", len(v), r.limits.MaxValue, paxos.ErrTooLarge)
	}
	r.call(call{id: id, op: opPropose, value: v}, instance, err)
}

// Wait asks for the decision in the instance, whenever another call or server brings it about. It asks the acceptors for
// their votes, at once and then again after each Timing.Silence. It proposes nothing. Its errors are those of
// [Replica.Propose].
func (r *Replica) Wait(now time.Duration, id CallID, instance string) {
	r.input(now)
	r.call(call{id: id, op: opWait}, instance, paxos.CheckInstance(instance))
}

// Read asks whether the instance was decided when the call began. It ends in one of two ways:
//
//   - With the decision.
//   - With OK false and no error. Then nothing was chosen when the call began: a phase-1 quorum had accepted nothing.
//
// If acceptors have voted but no quorum is known, Read finishes the instance first. Its errors are those of
// [Replica.Propose]; its OpError is always Unsent.
func (r *Replica) Read(now time.Duration, id CallID, instance string) {
	r.input(now)
	r.call(call{id: id, op: opRead}, instance, paxos.CheckInstance(instance))
}

// Ready asks for two things. One is proof that a quorum of both phases answers. The other is to learn the decisions that the
// servers of a quorum had when this server first heard of them. The call ends without a decision when it has both.
func (r *Replica) Ready(now time.Duration, id CallID) {
	r.input(now)
	r.call(call{id: id, op: opReady}, readyName, nil)
}

// Peek returns what this server holds in memory about the instance. If known is false, it holds nothing, and the storage has
// to be asked. If ok is true, the instance is decided.
//
// All instances of the Save that is out are in memory. So a Load that begins after Peek, and before the next input, misses
// nothing.
func (r *Replica) Peek(instance string) (d paxos.Decision, ok, known bool) {
	if known := r.table.decided.find(instance); known != nil {
		return known.decision(), true, true
	}
	inst := r.table.byName[instance]
	if inst == nil || inst.loading {
		return paxos.Decision{}, false, false
	}
	if !inst.chosen || inst.stopped != nil {
		return paxos.Decision{}, false, true
	}
	return inst.decision(), true, true
}

// Mint returns a name that no server of the cluster has used or will use, and that this server owns. If this server proposes
// there first, in this life, a decision takes one round trip and one Save. The servers do that Save at the same time. name
// is the end of the new name; it may be empty and need not be unique.
//
// Every server may use the new name in every call: see [paxos.Owned]. The instance is like any other in all other respects.
//
// Mint fails if name has control characters, is not valid UTF-8 or makes the new name longer than [paxos.MaxName]. It also
// fails until the first Save is done.
func (r *Replica) Mint(name string) (string, error) {
	if !r.saves.isBooted() {
		return "", unsent(opMint, name, errNotBooted)
	}
	minted, err := paxos.Minted(r.id, r.server.Boot, r.mints+1, name)
	if err != nil {
		return "", unsent(opMint, name, err)
	}
	r.mints++
	return minted, nil
}

var errNotBooted = errors.New("the first Save, which counts this start, is not done")

// call begins a call, or ends it at once.
func (r *Replica) call(c call, name string, err error) {
	if r.trace {
		r.event(paxos.Event{Kind: paxos.EventCall, Call: uint64(c.id), Message: paxos.Message{Instance: name, Value: c.value}})
	}
	var inst *instance
	switch {
	case err != nil:
	case r.stop != nil:
		err = r.stop
	case len(r.calls) >= r.limits.MaxCalls:
		err = fmt.Errorf("%d calls wait: %w", len(r.calls), paxos.ErrBusy)
	default:
		if known := r.table.decided.find(name); known != nil {
			r.ended(c.id, name, known.decision(), nil)
			return
		}
		if inst = r.openForCall(name); inst == nil {
			err = fmt.Errorf("%d instances are open, or not saved yet: %w", r.table.rooms[roomCalls]+r.table.rooms[roomOwn], paxos.ErrBusy)
		}
	}
	if err != nil {
		r.ended(c.id, name, paxos.Decision{}, unsent(c.op, name, err))
		return
	}
	r.called++
	c.seq = r.called
	r.calls[c.id] = calling{inst, c.seq}
	c.exposed = c.op == opPropose && inst.attempt.exposed && inst.attempt.Own() == c.value
	c.since = r.rounds.used()
	if q := inst.asking; inst.asked() && (c.op == opWait && r.now-q.at >= r.timing.Phase || c.op == opRead && !inst.calls.reads()) {
		*q = asking{learner: q.learner} // the answers may be out of date: ask at once
	}
	if a := &inst.attempt; c.op == opPropose && a.running() && inst.calls.proposes() == nil {
		a.resends = 0 // nobody waited for it, so it was resent ever more rarely
		r.timers.set(inst, alarmAttempt, min(inst.alarms[alarmAttempt], r.now+r.inflight.resendAfter(a, &r.timing)))
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

// admitWaiting begins the attempts that waited in line, as long as there is room.
func (r *Replica) admitWaiting() {
	for inst := r.inflight.admitFirst(); inst != nil; inst = r.inflight.admitFirst() {
		r.proceed(inst)
		r.settle(inst)
	}
}

// Cancel ends a call that waits with [context.Canceled], in an [*paxos.OpError] that says how far it came. It does nothing
// if the call has ended.
func (r *Replica) Cancel(now time.Duration, id CallID) {
	r.input(now)
	c, ok := r.calls[id]
	if !ok {
		return
	}
	inst := c.instance
	r.cut(c, context.Canceled)
	r.withdraw(inst)
	if inst.asked() && inst.calls.len() == 0 {
		r.endAsking(inst)
	}
	r.settle(inst)
}

// withdraw ends the attempt of inst if its value has not left and no call offers it any more. The caller was told that the
// value never left, so it must not leave later either.
func (r *Replica) withdraw(inst *instance) {
	if a := &inst.attempt; a.running() && a.purpose == forCalls && !a.Asking() && !a.exposed && !inst.calls.offers(a.Own()) {
		r.abandon(inst)
	}
}

// Abort ends all calls with err, in the order of their IDs. It is for a host that stops.
func (r *Replica) Abort(now time.Duration, err error) {
	r.input(now)
	for _, id := range slices.Sorted(maps.Keys(r.calls)) {
		c := r.calls[id]
		inst := c.instance
		r.cut(c, err)
		if inst.calls.len() == 0 { // the other calls are about to end, too, so nothing must begin for them
			r.withdraw(inst)
			r.settle(inst)
		}
	}
}

// Stop ends all calls with err, as [Replica.Abort] does. The Replica takes no more inputs then. It is for a host that stops:
// it calls [Replica.Flush] before Stop, and [Replica.LastBatch] after it. Take then returns the ends of the calls, with err
// as Output.Stop.
func (r *Replica) Stop(now time.Duration, err error) {
	r.Abort(now, err)
	r.stop = err
}

// LastBatch returns the batch that has gathered for a Save that nobody waits for, such as the records of decisions, or its
// first Limits.MaxBatch bytes. It is for a host that stops. The host saves it, and need not tell the Replica of the result. The batch is nil if there is
// nothing to save, or if a Save is out.
func (r *Replica) LastBatch() *paxos.Batch {
	if r.saves.isBooted() {
		r.saves.want()
		return r.beginSave()
	}
	return nil
}

// endTooLarge ends the calls whose values can get no quorum any more, in the order of their IDs.
func (r *Replica) endTooLarge() {
	if r.leastValue >= r.limits.MaxValue {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(r.calls)) {
		at, ok := r.calls[id]
		if !ok || at.instance.loading {
			continue // it ended with another call of its instance, see endTooLargeIn; or it is looked at when the instance is loaded
		}
		if c := at.instance.calls.find(at.seq); c.op == opPropose {
			if err := r.tooLarge(len(c.value)); err != nil {
				r.cut(at, err)
			}
		}
		r.askTakers(at.instance)
		r.settle(at.instance)
	}
}

// askTakers lets the attempt of inst, if its value is large, go on now that more is known of the limits. An acceptor that
// was silent had dropped the value. If no quorum takes the value, and no vote was seen that demands it, the attempt is given
// up. The next call then has a ballot of its own.
func (r *Replica) askTakers(inst *instance) {
	a := &inst.attempt
	switch {
	case !a.running() || len(a.Value()) <= r.leastValue:
	case a.Highest().IsZero() && a.purpose != forRead && r.tooLarge(len(a.Own())) != nil:
		r.abandon(inst)
	default:
		a.resends = 0
		r.timers.set(inst, alarmAttempt, max(r.now, 1))
	}
}
