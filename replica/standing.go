package replica

import (
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
	"github.com/singledecree/paxos/internal/standing"
)

// Standing ballots (docs/design.md#4.16). Phase 1 can be done once for all names (Paxos Made Simple, 3). A server that has much to
// propose asks the acceptors to promise one of its ballots for all ordinary names at once. Each acceptor lists the names that may have a
// vote below. For any other name, that server begins with the Accept. Everybody else goes on as ever, with ballots above.
//
//	server 1                                   an acceptor
//	  ── Stand 40.1 ───────────────────────────────────────►  ── Save: ServerState.Floor = 40.1 ──►
//	  ◄──────────── Stood 40.1 "STORE INDEX\nname\nname…" ──
//	  ── Pull, until all decisions up to INDEX are known ──►
//	  …
//	  ── Accept 40.1 "pizza", of any name that is in no list ──►  ── Save ──►
//	  ◄──────────────────────────────────── Accepted 40.1 ──
//
// Nothing of a standing ballot is stored at the server that stands: it ends with its life. The promise of an acceptor is stored.

// isOrdinary reports whether a standing ballot is a promise for the instance of that name.
func isOrdinary(name string) bool { return name[0] != '$' }

// wishToStand is called when a classic attempt is about to begin for a call. It plans to stand, if that is worth it. Servers that begin
// together wait for different times, so one of them stands, and the others hear of it.
func (r *Replica) wishToStand(inst *instance) {
	s := &r.stands
	if s.off || r.position < 0 || inst.acceptor.Acceptor != (paxos.Acceptor{}) || !isOrdinary(inst.name) {
		return
	}
	if !s.policy.Wish(r.now) || s.own != nil || s.at != 0 || !r.mayStand() {
		return
	}
	if s.asideAbove().IsZero() {
		r.setAside()
	}
	s.at = max(r.now+r.jitter(max(4*r.rtt, time.Millisecond)), 1)
}

// mayStand reports whether this server may ask the acceptors to promise a ballot. In a configuration that is not settled, answers of a quorum of
// the one before would be needed, too.
func (r *Replica) mayStand() bool {
	return r.saves.isBooted() && r.position >= 0 && !r.view.IsJoint()
}

// setAside takes a ballot for the next time that this server stands. Attempts that begin later are above it, so they do not have to begin
// anew then. It reports whether there is one.
func (r *Replica) setAside() bool {
	round, ok := r.rounds.take()
	r.reserveRounds()
	if ok && round <= lastStanding(r.view.Number()) {
		r.stands.aside = paxos.Ballot{Round: round, Server: r.id}
	}
	return ok
}

// lastStanding is the highest round of a standing ballot in the configuration with that number. A standing ballot lifts the rounds of all
// names. So one server that is not well could use up all rounds of all names.
func lastStanding(configuration uint64) uint64 {
	return paxos.Base(configuration).Round + paxos.MaxRound/2
}

// standDue is called when it is time to stand, or to ask the acceptors again that have not answered.
func (r *Replica) standDue() {
	s := &r.stands
	s.at = 0
	switch {
	case s.own == nil && s.policy.Wants(r.now):
		r.standNow()
	case s.own == nil:
	case s.sent < 3 || !s.own.IsReady() && s.sent < mostStands:
		r.askToStand()
	case !s.own.IsReady():
		r.endStand() // too few know of standing ballots, or may promise one now, or tell what they have decided
	}
}

// mostStands is how often a Stand goes to those that are silent, until the ballot is given up.
const mostStands = 8

// standNow asks the acceptors to promise a ballot.
func (r *Replica) standNow() {
	s := &r.stands
	if s.own != nil { // it may wait for its time to ask again
		return
	}
	s.at, s.waits = 0, false
	if !r.mayStand() {
		return
	}
	if s.asideAbove().IsZero() && !r.setAside() {
		s.waits = true
		r.saves.want()
		return
	}
	if s.aside.IsZero() {
		return // no round is left
	}
	s.own, s.aside, s.since, s.sent = standing.NewBallot(s.aside, r.position, r.quorum), paxos.Ballot{}, r.now, 0
	for _, p := range r.peers {
		r.pulledMore(p, p.pull.known())
	}
	s.policy.Stands(r.now)
	r.counters.Stands++
	r.promiseFloor(s.own.Number())
	s.hold(heldStood{wait: durable.Dirty})
	r.askToStand()
}

// askToStand sends the Stand to the acceptors that have not answered it.
func (r *Replica) askToStand() {
	s := &r.stands
	s.sent++
	s.at = r.now + r.timing.Phase
	if s.sent >= 3 {
		s.at = r.now + max(r.timing.Silence, r.timing.Phase) // those that have answered may need the time, for their pages
	}
	r.toAcceptors(&paxos.Message{Kind: paxos.KindStand, Ballot: s.own.Number()}, s.own.Answered())
}

// endStand ends the ballot of this server for all new names. Attempts in it go on.
func (r *Replica) endStand() {
	s := &r.stands
	if s.own != nil {
		s.own, s.at = nil, 0
		s.policy.Lost(r.now)
	}
}

// promiseFloor promises b for all ordinary names. It refuses what is below from now on.
func (r *Replica) promiseFloor(b paxos.Ballot) (wait durable.Stage) {
	s := &r.stands
	next, wait, _ := s.floor.Step(b)
	if next != s.floor {
		s.floor = next
		r.forgets.stand(b)
		r.rounds.above(b.Round)
		r.server.Floor, r.server.Rounds, r.serverChanged = b, r.rounds.reserved(), true
		r.saves.want()
	}
	if s.own != nil && s.own.Number().Less(b) {
		r.endStand()
	}
	return wait
}

// listVotes returns what this acceptor answers to a Stand: see [standing.Answer]. ok is false if memory is not enough to tell, or if the
// list is too long.
//
// Each undecided instance with a vote is in memory, or in the backlog of this life, or has left memory and is watched. The names of a
// range that is not durable have no records any more, and no page tells of them yet.
func (r *Replica) listVotes() (a standing.Answer, ok bool) {
	t := &r.table
	a.Index = r.index
	if t.unlisted {
		return a, false
	}
	bytes := 0
	add := func(name string) (fits bool) { // a name may come twice
		a.Names = append(a.Names, name)
		bytes += len(name)
		return len(a.Names) <= 2*standing.MaxNames && bytes <= 2*standing.MaxBytes
	}
	for name, inst := range t.byName {
		switch {
		case inst.isRange && !inst.void && (inst.index == 0 || inst.index > r.index):
			return a, false
		case isOrdinary(name) && inst.entry().IsListed(r.index) && !add(name):
			return a, false
		}
	}
	for name, e := range t.evicted {
		if e.voted && isOrdinary(name) && !add(name) {
			return a, false
		}
	}
	for _, name := range r.backlog {
		if isOrdinary(name) && !add(name) {
			return a, false
		}
	}
	slices.Sort(a.Names)
	a.Names = slices.Compact(a.Names)
	return a, a.Fits()
}

// entry returns what this server knows of inst.
func (inst *instance) entry() standing.Entry {
	return standing.Entry{Record: inst.acceptor.Acceptor, Chosen: inst.chosen, Index: inst.index, Unknown: inst.loading || inst.stopped != nil}
}

// stoodSaved is called when a Save with the ServerState is done.
func (r *Replica) stoodSaved() {
	for _, h := range r.stands.saveEnds() {
		switch own := r.stands.own; {
		case h.to != nil:
			r.send(h.to, &h.m)
		case own != nil && own.Number() == r.stands.floor.Promised():
			own.Hear(r.position, own.Number(), r.server.Store, standing.Answer{})
		}
	}
}

// pulledMore tells the ballot of this server how far the decisions of p are known, when a page of p has been read.
func (r *Replica) pulledMore(p *peer, read standing.Page) {
	own := r.stands.own
	if own == nil || p.position < 0 {
		return
	}
	if p.pull.hasGap() {
		own.Lacks(p.position)
	}
	own.Pulled(p.position, read)
}

// standWaitsFor reports whether this server stands, and more of what p has decided has to be known for that.
func (r *Replica) standWaitsFor(p *peer) bool {
	return r.stands.own != nil && r.stands.own.Lags(p.position)
}

// standsIn reports whether the ballot of this server may be used for inst, which is loaded and not decided.
func (r *Replica) standsIn(inst *instance) bool {
	own := r.stands.own
	return own != nil && own.MayUse(inst.name, inst.entry(), r.forgets.promises())
}

// standingChosen is called when an attempt in a standing ballot has come through.
func (r *Replica) standingChosen() { r.stands.policy.Chosen() }

// standingLost is called when an attempt in a standing ballot has met a higher one.
func (r *Replica) standingLost(b paxos.Ballot) {
	if own := r.stands.own; own != nil && own.Number() == b && r.stands.policy.Superseded() {
		r.endStand()
	}
}

// standingVote is called when this acceptor has voted in inst, in the standing ballot that it has promised. A value that this server has
// forwarded does not show that the other server is busier than this one.
func (r *Replica) standingVote(inst *instance, b paxos.Ballot) {
	if b.Server != r.id {
		r.stands.policy.OtherUses(r.now, inst.attempt.to != nil)
	}
}

// forwardedLast reports whether the value of a was forwarded to the server to which calls are forwarded now. Another one may stand since.
func (r *Replica) forwardedLast(a *attempt) bool { return r.stands.others.IsTo(uint64(a.to.id)) }

// answerAskers tells those that have forwarded a value that inst is decided. Those that vote are told that already, but in a packet that could wait.
func (r *Replica) answerAskers(inst *instance, told bool) {
	for _, a := range inst.askers {
		if !told {
			r.answerDecided(inst.decision(), a.peer, paxos.KindForward)
		}
		a.peer.outbox.hurry()
	}
	inst.forgetAskers()
}

// refuseAskers tells those that have forwarded a value to go on by themselves.
func (r *Replica) refuseAskers(inst *instance) {
	for _, a := range inst.askers {
		r.refuseForward(a.peer, inst.name, a.ballot)
	}
	inst.forgetAskers()
}

// refuseForward tells a server that its Forward is not taken. Like any refusal this asserts nothing.
func (r *Replica) refuseForward(to *peer, name string, b paxos.Ballot) {
	r.send(to, &paxos.Message{Kind: paxos.KindNack, Instance: name, Ballot: b, Promised: r.stands.floor.Promised()})
}
