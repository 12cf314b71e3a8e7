package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
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

// Forget asks for the instances in a range of names to be forgotten, for ever. The call ends without a decision when they are
// forgotten here, and at a phase-2 quorum of acceptors, and all of that is durable. The other servers are asked, too, and
// learn of it by their pulls.
//
// No value is ever decided in a forgotten instance. Every other call there ends with a [*paxos.ForgottenError]. Their
// decisions are not known any more, and their memory and disk are free again.
//
// The error is an [*paxos.OpError] around one of these:
//
//   - [paxos.ErrName]: the range is empty, a bound is too long, or its only name is not valid.
//   - [paxos.ErrBusy]: another call waits here for an instance of the range: decide it first. Or Limits.MaxCalls is reached.
//   - [paxos.ErrTooLarge]: [paxos.MaxForgotten] ranges are forgotten already.
//   - The error of [Replica.Cancel], [Replica.Abort] or [Replica.Stop], or [Output].Stop.
//
// If its Unknown is true, the instances are forgotten here, or will be. To be sure that a quorum has forgotten them, ask
// again.
func (r *Replica) Forget(now time.Duration, id CallID, names paxos.NameRange) {
	r.input(now)
	if r.tracing.On {
		r.callEvent(id, opForget.String(), paxos.Message{Kind: paxos.KindForget, Value: paxos.Value(names.String())})
	}
	c := call{id: id, op: opForget}
	_, covered := r.forgets.covering(names)
	switch err := r.refuseForget(names); {
	case err != nil:
		r.ended(id, "", paxos.Decision{}, unsent(opForget, "", err))
	case !r.voters.Has(r.position) && !covered:
		r.askToForget(c, names)
	default:
		r.forgetHere(c, names)
	}
}

// forgetHere forgets the names at this server, and then asks the others, for a call.
func (r *Replica) forgetHere(c call, names paxos.NameRange) {
	if name, one := names.One(); one {
		if _, _, covered := r.forgets.find(name); !covered {
			r.callIn(c, name)
			return
		}
	}
	inst := r.forgottenRange(names)
	r.enlist(inst, c)
	r.forgetting(inst)
	r.settle(inst)
}

// askToForget asks the acceptors to forget the names, for a call at a server that does not vote in its configuration. It forgets them
// itself when the first of them has. Nobody pulls from it, so without that nobody might ever learn what it has forgotten.
func (r *Replica) askToForget(c call, names paxos.NameRange) {
	inst := r.rangeRecord(askedName(names))
	inst.acceptor.Value, inst.void = paxos.Value(names.String()), true
	c.exposed = true
	r.enlist(inst, c)
	if !inst.asked() {
		r.spread(inst)
	}
	r.settle(inst)
}

// askedName is the name of the instance that holds the calls of askToForget.
func askedName(names paxos.NameRange) string { return askedPrefix + names.String() }

// askedForgotten is called when an acceptor has forgotten the names that askToForget asked about.
func (r *Replica) askedForgotten(names paxos.NameRange) {
	inst := r.table.byName[askedName(names)]
	if inst == nil {
		return
	}
	calls := inst.calls.take(isForget)
	r.settle(inst)
	if len(calls) == 0 {
		return
	}
	for _, c := range calls {
		delete(r.calls, c.id)
	}
	to := r.adoptNames(names)
	for _, c := range calls {
		r.enlist(to, c)
	}
	if !to.loading {
		r.forgetting(to)
	}
	r.settle(to)
}

// forgottenRange forgets all instances in that range, and returns the instance of its record, in memory.
func (r *Replica) forgottenRange(names paxos.NameRange) *instance {
	if inst := r.forgetRange(names); inst != nil {
		return inst
	}
	number, _ := r.forgets.covering(names)
	return r.rangeInstance(number)
}

// adoptNames forgets the names, as another server has. It returns the instance that stands for them.
func (r *Replica) adoptNames(names paxos.NameRange) *instance {
	name, one := names.One()
	if _, _, covered := r.forgets.find(name); !one || covered {
		return r.forgottenRange(names)
	}
	if known := r.table.decided.find(name); known != nil {
		r.reopen(known)
	}
	inst := r.table.byName[name]
	if inst == nil {
		inst = r.open(name)
	}
	r.forgetWhenLoaded(inst)
	return inst
}

// refuseForget returns why these names can't be forgotten now, or nil.
func (r *Replica) refuseForget(names paxos.NameRange) error {
	err := names.Check()
	if err == nil {
		err = r.refuseCall()
	}
	switch {
	case err != nil:
		return err
	case !r.hasRoomToForget(names):
		return fmt.Errorf("%d ranges of names are forgotten already: %w", paxos.MaxForgotten, paxos.ErrTooLarge)
	}
	if name, ok := r.calledIn(names); ok {
		return errCalled(name)
	}
	return nil
}

// Forgotten reports whether the instance is forgotten, as far as this server holds that in memory, and which names were
// forgotten with it. Ranges of names are always in memory. It is durable.
func (r *Replica) Forgotten(instance string) (names paxos.NameRange, ok bool) {
	if known := r.table.decided.find(instance); known != nil {
		return paxos.OneName(instance), known.Promised.IsForgotten()
	}
	if inst := r.table.byName[instance]; inst != nil {
		return r.forgottenNames(inst), inst.forgotten() && inst.acceptor.Stage == durable.Saved
	}
	return r.forgets.durable(instance)
}

// Peek returns what this server holds in memory about the instance. If known is false, it holds nothing, and the storage has
// to be asked. If ok is true, the instance is decided.
//
// All instances of the Save that is out are in memory. So a Load that begins after Peek, and before the next input, misses
// nothing.
func (r *Replica) Peek(instance string) (d paxos.Decision, ok, known bool) {
	if known := r.table.decided.find(instance); known != nil && !known.Promised.IsForgotten() {
		return known.decision(), true, true
	}
	inst := r.table.byName[instance]
	if inst == nil || inst.loading {
		return paxos.Decision{}, false, false
	}
	if !inst.chosen || inst.stopped != nil || inst.forgotten() {
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
	if r.tracing.On {
		r.callEvent(c.id, opName(c.op, name), paxos.Message{Instance: name, Value: c.value})
	}
	if err == nil {
		err = r.refuseCall()
	}
	if err == nil {
		r.callIn(c, name)
		return
	}
	r.ended(c.id, name, paxos.Decision{}, unsent(c.op, name, err))
}

// Stand asks the acceptors to promise a ballot of this server for all ordinary names at once. In names that it has for itself, this server
// then decides after one round trip and one Save, until another server stands. A Replica stands by itself if it has much to propose: see
// [Config].NoStanding. Stand is for a host that knows better, and for tests. It waits for nobody: [paxos.StandingStatus] tells when the ballot
// can be used.
//
// It does nothing if this server stands already. It returns an error, and does nothing, if this server does not vote, or if its configuration
// is not settled. Then it may be called again later.
func (r *Replica) Stand(now time.Duration) error {
	r.input(now)
	if err := r.refuseCall(); err != nil {
		return err
	}
	switch {
	case r.position < 0:
		return fmt.Errorf("server %d does not vote, so it can't stand", r.id)
	case r.view.IsJoint():
		return fmt.Errorf("configuration %d is not settled yet, so no server can stand", r.view.Number())
	}
	r.standNow()
	return nil
}

// refuseCall returns why no call can begin now, or nil.
func (r *Replica) refuseCall() error {
	switch {
	case r.stop != nil:
		return r.stop
	case r.isRemoved():
		return r.errRemoved()
	case len(r.calls) >= r.limits.MaxCalls:
		return fmt.Errorf("%d calls wait: %w", len(r.calls), paxos.ErrBusy)
	}
	return nil
}

// isRemoved reports whether this server is no member any more. It goes on to tell others of its configuration.
func (r *Replica) isRemoved() bool {
	return !r.view.IsJoint() && r.view.Number() > 0 && !r.view.Has(r.id)
}

func (r *Replica) errRemoved() error {
	return fmt.Errorf("server %d is not in configuration %d: %w", r.id, r.view.Number(), paxos.ErrNotMember)
}

// callIn begins a call in the instance of that name, or ends it at once.
func (r *Replica) callIn(c call, name string) {
	if known := r.table.decided.find(name); known != nil {
		if c.op != opForget && !known.Promised.IsForgotten() {
			r.ended(c.id, name, known.decision(), nil)
			return
		}
		r.reopen(known)
	}
	if _, _, ok := r.forgets.find(name); ok && r.table.byName[name] == nil {
		if names, ok := r.forgets.durable(name); ok {
			r.ended(c.id, name, paxos.Decision{}, unsent(c.op, name, &paxos.ForgottenError{Names: names}))
			return
		}
		r.voidInstance(name)
	}
	inst := r.openForCall(name)
	if inst == nil {
		err := fmt.Errorf("%d instances are open, or not saved yet: %w", r.table.rooms[roomCalls]+r.table.rooms[roomOwn], paxos.ErrBusy)
		r.ended(c.id, name, paxos.Decision{}, unsent(c.op, name, err))
		return
	}
	c.exposed = c.exposed || c.op == opPropose && inst.attempt.exposed && inst.attempt.Own() == c.value
	c.since = r.rounds.used()
	if q := inst.asking; inst.asked() && !inst.forgotten() && (c.op == opWait && r.now-q.at >= r.timing.Phase || c.op == opRead && !inst.calls.reads()) {
		*q = asking{learner: q.learner, earlier: q.earlier} // the answers may be out of date: ask at once
	}
	if a := &inst.attempt; c.op == opPropose && a.running() && inst.calls.proposes() == nil {
		a.resends = 0 // nobody waited for it, so it was resent ever more rarely
		r.timers.set(inst, alarmAttempt, min(inst.alarms[alarmAttempt], r.now+r.inflight.resendAfter(a, &r.timing)))
	}
	r.enlist(inst, c)
	switch {
	case inst.loading:
	case c.op == opForget && inst.forgotten():
		r.forgetting(inst)
	case c.op == opForget:
		r.forgetLoaded(inst, inst.calls.take(isForget)) // it is the only one
	case inst.stopped != nil:
		r.endCalls(inst, inst.stopped)
	case inst.chosen:
		r.endDecided(inst)
	default:
		r.proceed(inst)
	}
	r.settle(inst)
}

// enlist adds a call to those of inst.
func (r *Replica) enlist(inst *instance, c call) {
	r.called++
	c.seq = r.called
	r.calls[c.id] = calling{inst, c.seq}
	inst.calls.add(c)
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
