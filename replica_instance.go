package paxos

import (
	"slices"
	"time"
)

// An instance is what a server holds in memory of one instance that is not decided, or whose decision is not saved yet. What is looked
// at most stands first, together. Of others see memo.
type instance struct {
	name     string
	save     save         // the acceptor; of a decided instance, the decision
	stopped  *SafetyError // proof that the protocol was broken here: nothing more is said or believed
	chosen   bool         // decided: save.Value was chosen, in save.Accepted as far as this server knows
	gathered bool         // in saves.gather
	saving   bool         // in saves.running
	unsaved  int          // bytes that saves.unsaved counts for it
	loading  bool         // the storage has been asked for it; messages wait in arrivals

	wantsRound bool // in rounds.waiting
	wantsRoom  bool // in flight.line
	alone      bool // there is nothing to finish it with, and the others were asked: it is left alone until the next ballot
	overdue    bool // its silence ended, and there was no round to take over with: it is taken over when there is

	timer    timer                 // when the first alarm is due
	alarms   [alarms]time.Duration // when each is; 0: it is not set
	fetching Set                   // acceptors whose pulled names wait for its decision
	calls    callers
	list     *list // table.quiet or table.watched, from where it may leave memory, or flight.line; nil: none
	room     room  // in which it is counted
	called   bool  // a call was made in it since it was last without anything to do
	index    uint64
	seen     uint64 // the highest round seen here
	attempt  attempt

	teller teller // who told of the decision
	untold
	prev, next *instance
	arrivals   []arrival

	// The hint is the value that the proposer of the highest ballot prepared here wants. It is a help for whoever has to
	// finish the instance, never a vote, and is lost with the memory.
	hint       Value
	hintBallot Ballot

	since     time.Duration // when it came into memory
	ballots   int           // new ones that were promised, in this life
	informant *peer         // said Chosen, and is to be asked what; nil: none
	asking    asking
}

// An arrival is a message that came before its instance was loaded.
type arrival struct {
	teller // whose it is, and of which start
	m      Message
}

// maxArrivals bounds the messages that wait for one instance to be loaded. Beyond it messages are lost, as they may be on
// any network.
const maxArrivals = 64

// saw notes that ballot b exists in this instance.
func (inst *instance) saw(b Ballot) { inst.seen = max(inst.seen, b.Round) }

// decision returns what was chosen; inst.chosen must hold.
func (inst *instance) decision() Decision {
	return Decision{inst.name, inst.save.Value, inst.save.Accepted}
}

// unsettled reports whether inst waits for the disk, on which everything goes on by itself.
func (inst *instance) unsettled() bool {
	return inst.loading || inst.gathered || inst.saving || inst.save.stage != saved || inst.wantsRound
}

// busy reports whether something of inst would be lost or is expected back: it can't leave memory. What its timers are for can be
// done later, and an attempt or a question for nobody here be given up.
func (inst *instance) busy() bool {
	return inst.unsettled() || inst.wantsRoom || inst.fetching != 0 || len(inst.calls.all) > 0 || inst.stopped != nil ||
		inst.attempt.purpose == forTakeover
}

// A list is of instances, the one that came first at the front. An instance is in one at most.
type list struct {
	first, last *instance
	len         int
}

func (l *list) push(inst *instance) {
	inst.list, inst.prev, inst.next = l, l.last, nil
	if l.last != nil {
		l.last.next = inst
	} else {
		l.first = inst
	}
	l.last = inst
	l.len++
}

func (l *list) remove(inst *instance) {
	if inst.prev != nil {
		inst.prev.next = inst.next
	} else {
		l.first = inst.next
	}
	if inst.next != nil {
		inst.next.prev = inst.prev
	} else {
		l.last = inst.prev
	}
	inst.list, inst.prev, inst.next = nil, nil, nil
	l.len--
}

// A table holds the instances in memory. Of a decided one, a memo stays; of an undecided one that left and that this server has to see
// finished, the silence. How many there are is in replica_room.go.
type table struct {
	byName  map[string]*instance
	evicted map[string]*evicted
	decided memos
	recents recents
	quiet   list        // may leave memory: nothing will happen there by itself
	watched list        // may leave memory: timers are set
	rooms   [rooms]int  // instances in each
	open    int         // instances that are not decided
	free    []*instance // for use again
}

func (t *table) init() {
	t.byName, t.evicted = map[string]*instance{}, map[string]*evicted{}
	t.decided.init()
}

// maxFree bounds the instances kept for use again.
const maxFree = 4096

// unused returns an empty instance.
func (t *table) unused() (inst *instance) {
	if n := len(t.free); n > 0 {
		inst, t.free = t.free[n-1], t.free[:n-1]
		return inst
	}
	return new(instance)
}

// Loaded answers Output.Load with what Storage.Load returned. rec.Instance is the name asked for, also if there is no
// record.
func (r *Replica) Loaded(now time.Duration, rec Record) {
	r.input(now)
	inst := r.table.byName[rec.Instance]
	if inst == nil || !inst.loading || r.stop != nil {
		return
	}
	inst.loading = false
	inst.save = save{Acceptor: rec.Acceptor}
	inst.saw(rec.Acceptor.Promised)
	inst.alone = inst.alone && rec.Acceptor.Accepted.IsZero()
	if rec.Chosen {
		inst.chosen, inst.index = true, rec.Index
		r.table.open--
		r.endDecided(inst)
	}
	arrivals := inst.arrivals
	inst.arrivals = nil
	for _, a := range arrivals {
		r.saves.arrived -= len(a.m.Value)
		if a.boot != a.peer.boot {
			r.counters.Dropped++ // its sender has started anew since, and may have forgotten what it said
			continue
		}
		r.deliver(inst, a.peer, a.m)
	}
	clear(arrivals)
	inst.arrivals = arrivals[:0]
	if inst.fetching != 0 && !inst.chosen {
		r.fetchLoaded(inst)
	}
	r.proceed(inst)
	if inst.overdue {
		inst.overdue = false
		r.takeOver(inst)
	}
	r.settle(inst)
}

// decide makes b and v the decision of inst, which is loaded and has none yet. from said so; nil: this server counted the
// votes itself.
func (r *Replica) decide(inst *instance, from *peer, b Ballot, v Value) {
	a := inst.save.Acceptor
	if !a.Accepted.IsZero() && !a.Accepted.Less(b) && a.Value != v {
		r.fault(inst, from, &SafetyError{Instance: inst.name, Ballot: a.Accepted, Values: [2]Value{v, a.Value},
			Reason: "a value was chosen in ballot " + b.String() + ", and a later vote is for another"})
		return
	}
	if a.Promised.Less(b) {
		a.Promised = b
	}
	fresh := v != a.Value
	a.Accepted, a.Value = b, v
	inst.save = save{a, gathering}
	inst.chosen = true
	if from != nil {
		inst.teller = teller{from, from.boot}
	}
	r.table.open--
	r.counters.Decided++
	r.gatherLater(inst)
	if fresh {
		r.saves.count(inst)
	}
	if r.trace {
		r.event(Event{Kind: EventLearned, Message: Message{Kind: KindDecided, Instance: inst.name, Ballot: b, Value: v}})
	}
	r.endDecided(inst)
}

// endDecided ends all that waited for the decision of inst.
func (r *Replica) endDecided(inst *instance) {
	r.rest(inst)
	for _, c := range inst.calls.all {
		if c.op != opNone {
			r.end(inst, c, inst.decision(), nil)
		}
	}
	inst.calls.clear()
}

// rest ends all that was under way for inst: it is decided, or has stopped.
func (r *Replica) rest(inst *instance) {
	r.dropHint(inst)
	r.leave(&inst.attempt)
	r.leaveLine(inst)
	inst.attempt, inst.asking, inst.informant = attempt{}, asking{}, nil
	r.timers.stopAll(inst)
	r.fetched(inst)
}

// fault stops inst for good: err proves that some server broke the protocol, so whatever would be decided here could not
// be trusted.
func (r *Replica) fault(inst *instance, from *peer, err error) {
	se := err.(*SafetyError)
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
	r.event(Event{Kind: EventFault, Message: Message{Instance: inst.name, Ballot: se.Ballot}, Err: se})
	r.rest(inst)
	r.endCalls(inst, se)
}
