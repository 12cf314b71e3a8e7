// Package replica has all instances of one server as one pure state machine. A [Replica] has no clock, goroutine, randomness of
// its own, network or disk: the same inputs give the same outputs. A host hands in what arrives, and carries out what comes of it.
//
// Most services want package node, which is a host for any Storage and Transport. Its calls take contexts, and no slow disk
// or logger holds up another call. Write a host of your own to run a Replica inside a loop that you have already, in a
// simulator, or where each step has to be repeatable. The loop of a host is:
//
//	for {
//		wait until a packet or a call has come, or Next is due
//		r.Receive(now, packet), r.Propose(now, id, instance, value), and so on, for all that has come
//		if Next is due: r.Tick(now)
//		for r.Take(&out) {
//			send out.Send; give out.Done to the callers; end if out.Stop is not nil
//			answer out.Load with r.Loaded, and out.List with r.Listed
//			if out.Save is not nil: save it, then r.Saved(now)
//		}
//	}
//
// The order of the steps within an Output is free. The Replica keeps back what depends on a Save until Saved is called. If a
// Save fails, drop the Replica. At a graceful stop call [Replica.Flush], [Replica.Stop] and [Replica.LastBatch]. The
// Example has all of that, and its tests run it over lost servers and restarts.
package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
)

// New returns the Replica of a server that starts now. Its error names the wrong field of c. It also fails if c.State
// belongs to another server, cluster or list of members than c.ID and c.Members.
func New(now time.Duration, c Config) (*Replica, error) {
	c.Limits, c.Timing = c.Limits.WithDefaults(), c.Timing.WithDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("paxos: %w", err)
	}
	r := &Replica{
		id: c.State.ID, nonce: c.Nonce,
		limits: c.Limits, timing: c.Timing, rand: rand.New(rand.NewPCG(c.Seed, uint64(c.State.ID))), tracing: paxos.Tracing{On: c.Trace}, observing: c.RoundTrips,
		now: now, began: now, indexSaid: c.State.Last, byID: map[paxos.ServerID]*peer{}, calls: map[CallID]calling{}, rtt: c.Timing.Phase / 10,
	}
	if err := r.startView(c.Members, &c.State); err != nil {
		return nil, fmt.Errorf("paxos: %w", err)
	}
	r.leastValue, r.unusual = r.limits.MaxValue, takesOf(r.limits) != takesOf(paxos.Limits{}.WithDefaults())
	r.addPeers()
	r.table.init(r.limits.Cache)
	r.begin(c.State)
	r.useView()
	if err := r.forgets.init(c.Forgotten, c.State.Forgotten, c.State.Last); err != nil {
		return nil, fmt.Errorf("paxos: %w", err)
	}
	r.backlog = c.Open
	r.table.unlisted = len(c.Open) >= Backlog(r.limits) || c.Open == nil && c.State.Boot > 0
	r.stands.begin(now, &c)
	r.forgets.stand(c.State.Floor)
	if number := r.view.Number(); number > 0 || c.State.Last > 0 {
		r.openForWork(paxos.ConfigurationName(number + 1)) // it may be known already, if the news came in another order
	}
	r.openBacklog()
	return r, nil
}

// begin raises Boot and reserves the first block of rounds. The first Save holds both, and nothing leaves before it is done.
func (r *Replica) begin(s paxos.ServerState) {
	r.rounds.begin(s.Rounds, r.view.Number())
	r.index = s.Last
	s.Boot++
	s.Rounds = r.rounds.reserved()
	r.meet(&s)
	r.server, r.serverChanged = s, true
	r.saves.want()
	r.pullFrom(s)
}

// Tick does what is due by now: see [Replica.Next].
func (r *Replica) Tick(now time.Duration) {
	r.input(now)
	if r.stop != nil {
		return
	}
	r.saves.hurry(now)
	r.pullsDue(now)
	r.watchDue(now)
	if r.stands.isDue(now) {
		r.standDue()
	}
	if r.importAt != 0 && r.importAt <= now {
		r.imports.Goes(true)
		r.planImport()
	}
	for {
		switch t := r.timers.due(now); {
		case t == nil:
			return
		case t.evicted != nil:
			r.silent(t.evicted)
		default:
			r.due(t.inst)
			r.settle(t.inst)
		}
	}
}

// due is called when an alarm of inst is due.
func (r *Replica) due(inst *instance) {
	for which, at := range inst.alarms {
		if at == 0 || at > r.now || inst.alarms[which] != at {
			continue // the last: the work for an earlier alarm has changed this one
		}
		r.timers.stop(inst, alarm(which))
		switch alarm(which) {
		case alarmAttempt:
			r.attemptDue(inst)
		case alarmAsk:
			if inst.forgotten() || inst.isRange {
				r.spread(inst)
			} else {
				r.askDue(inst)
			}
		case alarmWatch:
			r.takeOver(inst)
		}
	}
}

// takeOver is called when a silence has ended. It proposes the value that this server accepted, else the value that the last
// proposer wanted. With neither it asks the others, once. Then it does nothing in the instance until somebody begins a
// ballot (S13).
//
// A hint that no quorum takes is not used. With this server's vote, later ballots would have to propose that value.
func (r *Replica) takeOver(inst *instance) {
	own := inst.hint.wanted()
	if r.tooLarge(len(own)) != nil {
		own = ""
	}
	switch {
	case inst.loading:
		inst.overdue = true
		return
	case !r.watches(inst) || inst.attempt.state != attemptNone || inst.wantsRound:
		return // settle begins a new silence when the attempt ends without a decision
	case inst.acceptor.Stage != durable.Saved:
		r.watch(inst) // the own disk is slower than the silence: another ballot would wait for it, too
		return
	case r.takeovers >= mostTakeovers(r.limits):
		r.timers.set(inst, alarmWatch, r.anotherTime())
		return
	case !inst.acceptor.Accepted.IsZero():
		own = inst.acceptor.Value
	case own == "":
		r.table.orphan(inst, true)
		if !inst.asked() {
			r.ask(inst)
		}
		inst.overdue = inst.wantsRound
		return
	}
	if r.begun(inst, own, forTakeover) {
		r.counters.Takeovers++
	}
	inst.overdue = inst.wantsRound
}

// silent is called when the silence of an instance that is not in memory has ended. The instance comes back, to be taken
// over, if that may begin.
func (r *Replica) silent(e *evicted) {
	if r.takeovers >= mostTakeovers(r.limits) || !r.roomForWork() {
		r.timers.put(&e.timer, r.anotherTime())
		return
	}
	r.open(e.name) // the silence of that instance has ended
}

// reserved is called when a Save with that ServerState.Rounds is done. The instances that waited for a round go on.
func (r *Replica) reserved(rounds uint64) {
	for _, inst := range r.rounds.saved(rounds) {
		inst.wantsRound = false
		r.proceed(inst)
		if inst.overdue {
			inst.overdue = false
			r.takeOver(inst)
		}
		r.settle(inst)
	}
	if r.stands.isWaiting() {
		r.standNow()
	}
}

// Next returns the time at which [Replica.Tick] is due. ok is false if nothing is due at any time.
func (r *Replica) Next() (at time.Duration, ok bool) {
	if r.stop != nil {
		return 0, false
	}
	at, ok = r.timers.next()
	if first := r.pulls.next(); first != 0 && (!ok || first < at) {
		at, ok = first, true
	}
	if w := r.quorums.next(); w != 0 && (!ok || w < at) {
		at, ok = w, true
	}
	if r.importAt != 0 && (!ok || r.importAt < at) {
		at, ok = r.importAt, true
	}
	if s := r.stands.next(); s != 0 && (!ok || s < at) {
		at, ok = s, true
	}
	if lazy, set := r.saves.hurryAt(); set && (!ok || lazy < at) {
		return lazy, true
	}
	return at, ok
}

// Take fills out, reusing its slices, and reports whether there is anything to do. The host calls it after inputs until it
// returns false.
func (r *Replica) Take(out *Output) bool {
	clear(out.Done) // an old entry that is not written over would keep its values alive
	clear(out.Events)
	out.Send, out.Load, out.List, out.Done = out.Send[:0], out.Load[:0], out.List[:0], out.Done[:0]
	out.Faults = out.Faults[:0]
	out.Save, out.Stop = nil, r.stop
	if r.stop == nil {
		r.goOn()
		out.Save = r.beginSave()
	}
	out.Index = r.index
	some := out.Save != nil
	if len(r.done) > 0 {
		out.Done = append(out.Done, r.done...) // before the first Save each is an error
		clear(r.done)
		r.done = r.done[:0]
	}
	if r.saves.isBooted() || r.stop != nil {
		if len(r.loads)+len(r.lists) > 0 {
			out.Load, out.List = append(out.Load, r.loads...), append(out.List, r.lists...)
			clear(r.loads)
			r.loads, r.lists = r.loads[:0], r.lists[:0]
		}
		if r.stop == nil {
			r.takePackets(out)
		}
	}
	out.Events, r.events = r.events, out.Events[:0]
	out.RoundTrips, r.trips = r.trips, out.RoundTrips[:0]
	some = some || len(out.Load)+len(out.List)+len(out.Done)+len(out.Send)+len(out.RoundTrips) > 0
	if len(r.faults)+len(out.Events) > 0 {
		out.Faults, r.faults = append(out.Faults, r.faults...), r.faults[:0]
		some = true
	}
	if r.indexSaid != r.index {
		some, r.indexSaid = true, r.index
	}
	if r.stop != nil && !r.stopSaid {
		some, r.stopSaid = true, true
	}
	return some
}

// goOn goes on with all that waited for room, for the storage or for a decision. One part may let another go on.
func (r *Replica) goOn() {
	for again := true; again; again = r.inflight.mayAdmit() || r.pulls.mayGoOn() && r.roomToFetch() || r.imports.IsReady() {
		if r.inflight.mayAdmit() {
			r.admitWaiting()
		}
		if r.pulls.mayGoOn() && r.roomToFetch() {
			r.fetchMore()
		}
		if len(r.backlog) > 0 && r.unfinished() <= r.mostUnfinished()/2 {
			r.openBacklog()
		}
		if r.next != "" || r.view.IsJoint() {
			r.changeMembers()
		}
		if r.imports.IsReady() {
			r.importMore()
		}
	}
}

// Saved says that the Save that is out is durable. If that Save failed, the storage is dead, and the host drops the Replica
// instead of calling Saved. Saved panics if no Save is out.
func (r *Replica) Saved(now time.Duration) {
	r.input(now)
	s := &r.saves
	r.stands.others.Saved(s.out(now))
	if !s.end() {
		panic("paxos: Saved without a Save")
	}
	if r.stop != nil {
		return
	}
	if s.isTold() && r.tracing.On {
		r.event(paxos.EventSaved).Save = s.done()
	}
	replies, instances, server := s.take()
	if server != nil {
		if s.boot() {
			r.beginWatch()
		}
		r.index = server.Last
		r.reserved(server.Rounds)
		r.stoodSaved()
		r.importSaved(server)
	}
	if r.imports.IsActive() {
		r.imports.Goes(true)
	}
	r.storePulled()
	r.decidedMany()
	for i := range replies {
		h := &replies[i]
		r.release(h.from, h.to, &h.m)
	}
	for _, inst := range instances {
		s.saved(inst)
		if inst.isRange {
			r.forgets.flushed(inst.name)
		}
		if inst.forgotten() {
			r.endForgotten(inst)
		}
		r.settle(inst)
	}
	s.reuse(replies, instances)
	r.storesSaved()
	r.entered()
}

// LastBatch returns the batch that has gathered for a Save that nobody waits for, such as the records of decisions, or its
// first Limits.MaxBatch bytes. It is for a host that stops. The host saves it, and need not tell the Replica of the result.
// The batch is nil if there is nothing to save, or if a Save is out.
func (r *Replica) LastBatch() *paxos.Batch {
	if r.saves.isBooted() {
		r.changeMembers()
		r.saves.want()
		return r.beginSave()
	}
	return nil
}

// Loaded answers one name of [Output].Load: rec is the result of [paxos.Storage].Load for it. It reports whether that name
// was asked for and not answered yet. If not, it ignores rec.
func (r *Replica) Loaded(now time.Duration, instance string, rec paxos.Record) bool {
	r.input(now)
	inst := r.table.byName[instance]
	if inst == nil || !inst.loading {
		return false
	}
	if r.stop != nil {
		return true
	}
	inst.loading = false
	inst.acceptor = durable.Acceptor{Acceptor: rec.Acceptor}
	if !inst.forgotten() {
		inst.saw(rec.Acceptor.Promised)
	}
	r.table.orphan(inst, inst.orphaned && rec.Acceptor.Accepted.IsZero())
	var forgets []call
	if inst.calls.want(opForget) {
		forgets = inst.calls.take(isForget)
	}
	if rec.Chosen {
		inst.chosen, inst.index = true, rec.Index
		r.table.closed(inst)
		if inst.forgotten() {
			r.rest(inst)
		}
		r.hadIt(inst)
		r.endDecided(inst)
	}
	if inst.doomed {
		r.forgetOne(inst)
	}
	if len(forgets) > 0 {
		r.forgetLoaded(inst, forgets)
	}
	arrivals := inst.arrivals
	inst.arrivals = nil
	for i := range arrivals {
		a := &arrivals[i]
		r.saves.arrive(-len(a.m.Value))
		if a.boot != a.peer.identity.boot() {
			r.counters.Dropped++ // its sender has started anew since, and may have forgotten the message
			continue
		}
		r.deliver(inst, a.peer, &a.m)
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
	return true
}

// Metrics returns the numbers of the server at that time, for a monitor. It costs the same however many instances are open.
func (r *Replica) Metrics(now time.Duration) paxos.Metrics {
	r.input(now)
	t := &r.table
	return paxos.Metrics{ID: r.id, Boot: r.server.Boot, Uptime: r.now - r.began, Running: r.stop == nil, Configuration: r.view.Number(),
		Settled: !r.view.IsJoint(), Import: r.importStatus(), Standing: r.stands.status(r.now), Calls: len(r.calls), Open: t.open(), Orphaned: t.orphans, InMemory: len(t.byName),
		NoQuorum: r.NoQuorum(now), StorageWait: r.SaveWait(now), Index: r.index, Counters: r.counters, Peers: r.Peers(now)}
}

// Status returns the state of the server at that time.
func (r *Replica) Status(now time.Duration) paxos.Status {
	m := r.Metrics(now)
	return paxos.Status{ID: m.ID, Store: r.server.Store, Boot: m.Boot, Members: r.view.Current().Members.String(), Calls: m.Calls,
		Configuration: m.Configuration, Settled: m.Settled, Import: m.Import, Standing: m.Standing, Open: m.Open, Orphaned: m.Orphaned,
		Instances: r.table.oldest(r.now, 1000), NoQuorum: m.NoQuorum, StorageWait: m.StorageWait, Index: m.Index, Counters: m.Counters,
		Forgotten: r.forgets.all(), Broken: slices.Clone(r.broken), Peers: m.Peers, Err: r.stop}
}

// SetTracing says which events Output.Events has from now on. It begins as Config.Trace says.
func (r *Replica) SetTracing(t paxos.Tracing) { r.tracing = t }

// Boot returns the number of this start of the server: ServerState.Boot, from the first Output on.
func (r *Replica) Boot() uint64 { return r.server.Boot }

// Changes counts the changes that an operator is told of. These are each loss of the quorum and its end, each change of Refused or
// Limits of a [paxos.PeerStatus], each new configuration, and the time when it is settled. When Changes rises, a host looks at
// [Replica.NoQuorum], [Replica.Peers] and [Replica.Configuration].
func (r *Replica) Changes() uint64 { return r.refusals + r.quorums.changed() + r.views }

// NoQuorum returns [paxos.Status].NoQuorum, and costs less than a Status.
func (r *Replica) NoQuorum(now time.Duration) time.Duration {
	return r.quorums.lostFor(max(now, r.now))
}

// Peers returns [paxos.Status].Peers, and costs less than a Status.
func (r *Replica) Peers(now time.Duration) (all []paxos.PeerStatus) {
	for _, p := range r.peers {
		all = append(all, paxos.PeerStatus{ID: p.id, Votes: p.position >= 0, Heard: p.identity.silence(max(now, r.now)),
			Store: p.identity.store(), Boot: p.identity.boot(), Index: p.identity.index(), Taken: p.listing.told(),
			Refused: p.refusal.why(), Dropped: p.refusal.drops(), Limits: p.limits, Complete: r.isComplete(p)})
	}
	return all
}
