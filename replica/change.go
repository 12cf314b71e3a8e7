package replica

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
	"github.com/singledecree/paxos/internal/page"
)

// A change of members (docs/design.md#4.17). The next configuration is the decision of a reserved instance, $config/N. A server
// that learns it saves the decision and its new configuration in one Batch, and lives under the new one from then on. It takes
// and answers nothing of a server that lives under another configuration. So an answer in a ballot of configuration N is given by a
// server that has learned N, and casts no vote in an earlier one any more.
//
//	server 1                                   server 4
//	  decides $config/1 = acceptors 2, 3, 4
//	  ── Save: the decision, and configuration 1 ──►
//	  ◄──────────────────── a packet of configuration 0 ──
//	  ── Decided $config/1 ──────────────────────────────►  ── Save ──►
//	  ── Prepare in configuration 1, to 1, 2, 3 and 4 ───►
//
// Until a phase-2 quorum of the new acceptors is complete, each attempt also asks a phase-1 quorum of the acceptors before: see
// Joint of package paxos. An acceptor is complete when it has taken over what the acceptors before remember: see import.go. From then on
// nobody needs the acceptors before.

// changeMembers enters the next configuration, if it is decided. It is called before a Save begins. So the decision is in the Batch
// with the configuration that this server lives under, or was in one before.
func (r *Replica) changeMembers() {
	for r.next != "" {
		inst := r.table.byName[paxos.ConfigurationName(r.view.Number()+1)]
		if inst != nil && r.saves.comesLate(inst) {
			break // the disk never has a configuration without its decision
		}
		next, err := paxos.ParseConfiguration(r.next)
		r.next = ""
		if err == nil {
			r.enterConfiguration(next)
		}
	}
	if r.view.IsJoint() && r.view.IsSettled() {
		r.settled()
	}
}

// enterConfiguration makes next the configuration of this server. From now on it casts no vote in an earlier one.
func (r *Replica) enterConfiguration(next paxos.Configuration) {
	before := r.view.Current()
	s := &r.server
	s.Configuration, s.Before, s.Members = next.String(), "", next.Members.Voters()
	r.rounds.enter(next.Number)
	s.Rounds = r.rounds.reserved()
	r.forgets.seal(next.Number)
	v := change.Joint(before, next)
	if v.IsJoint() {
		s.Before, s.Import, r.complete = before.String(), "", false
	} else if s.Import = ""; r.complete {
		s.Import = paxos.ImportComplete // it stays complete, with the same acceptors and the same quorum
	}
	for _, p := range r.peers {
		p.complete = false // it says so again
	}
	r.setView(v)
	r.serverChanged = true
	r.saves.want()
	r.saves.seal()
	r.counters.Changes++
	r.openForWork(paxos.ConfigurationName(next.Number + 1)) // it may be known already, if the news came in another order
	r.askTeller(next.Number + 1)
}

// settled is called when a phase-2 quorum is complete. The configuration before is not needed any more.
func (r *Replica) settled() {
	r.server.Before, r.serverChanged = "", true
	r.saveLater()
	r.setView(change.NewView(r.view.Current()))
}

// startView takes up the configuration that is stored.
func (r *Replica) startView(m paxos.Members, s *paxos.ServerState) error {
	r.view = change.NewView(paxos.Configuration{Members: m})
	if s.Configuration != "" {
		current, err := paxos.ParseConfiguration(s.Configuration)
		if err != nil {
			return fmt.Errorf("ServerState.Configuration: %w", err)
		}
		r.view = change.NewView(current)
		if s.Before != "" {
			before, err := paxos.ParseConfiguration(s.Before)
			if err != nil {
				return fmt.Errorf("ServerState.Before: %w", err)
			}
			r.view = change.Joint(before, current)
		}
		r.forgets.seal(current.Number)
	}
	r.complete = s.Configuration == "" || s.Import == paxos.ImportComplete
	return nil
}

// useView works out what follows from the view.
func (r *Replica) useView() {
	r.position, r.voters = r.view.Position(r.id), r.view.Voters()
	if r.complete {
		r.view.Completed(r.position)
	}
	r.quorum = r.view.Quorum()
	r.imports.End()
	if !r.wantsImport() {
		return
	}
	var sources []paxos.ServerID
	for _, p := range r.peers {
		if r.view.Sources().Has(p.position) {
			sources = append(sources, p.id)
		}
	}
	r.imports.Begin(sources, r.server.Import)
	for _, p := range r.peers {
		if p.complete {
			r.imports.Whole(p.id)
		}
	}
	r.planImport()
}

// setView goes on under another view. Positions change, so all attempts and questions begin anew.
func (r *Replica) setView(v change.View) {
	for _, p := range r.peers {
		r.endPage(p)
		p.pull.askAnew()
		p.scan = scan{}
	}
	all := make([]*instance, 0, len(r.table.byName))
	for _, inst := range r.table.byName {
		all = append(all, inst)
	}
	slices.SortFunc(all, func(a, b *instance) int { return cmp.Compare(a.name, b.name) })
	for _, inst := range all {
		inst.pendingNotices, inst.fetching, inst.listedBy, inst.askForValue = pendingNotices{}, 0, 0, nil
		if inst.attempt.state != attemptNone {
			r.endAttempt(inst)
		}
		r.endAsking(inst)
		if v.Number() != r.view.Number() { // else they are as good as any that come later
			r.dropArrivals(inst)
		}
	}
	r.table.decided.forgetNotices()
	r.stands.leaveConfiguration()
	r.view = v
	r.views++
	r.movePeers()
	r.useView()
	r.callLearners(0)
	for _, p := range r.peers {
		if p.position >= 0 && !p.identity.isHeard() {
			r.pullAt(p, r.now) // the Pulls so far were of other configurations, and had no answer
		}
	}
	for _, inst := range all {
		if r.table.byName[inst.name] != inst {
			continue // another one has ended it
		}
		if inst.calls.want(opForget) {
			r.forgetAnew(inst)
		}
		if r.table.byName[inst.name] == inst { // else its calls went on, and it has left memory
			r.proceed(inst)
			r.settle(inst)
		}
	}
	r.endSettled()
	if r.isRemoved() {
		r.Abort(r.now, r.errRemoved())
	}
}

// forgetAnew goes on with the calls that ask to forget inst, under another view.
func (r *Replica) forgetAnew(inst *instance) {
	switch {
	case inst.isRange && inst.void && r.voters.Has(r.position): // see askToForget: this server votes now
		names, _ := paxos.ParseNameRange(string(inst.acceptor.Value))
		r.askedForgotten(names)
	case inst.isRange && inst.void:
		r.spread(inst)
	case inst.forgotten():
		r.spread(inst)
		r.endForgets(inst) // this server may be quorum enough
	}
}

// movePeers makes the other servers of the view the peers. Those that are there stay.
func (r *Replica) movePeers() {
	stores, _ := r.server.Stores() // they were checked
	pulls, _ := page.ParseCursors(r.server.Pulled)
	before := r.peers
	r.peers = nil
	for _, id := range slices.Concat(r.view.Acceptors(), r.view.Learners()) {
		if id == r.id {
			continue
		}
		p := r.byID[id]
		if p == nil {
			p = r.newPeer(id)
			p.identity.begin(stores[id])
			p.pull.begin(pulls[id])
			r.byID[id] = p
		}
		position := r.view.Position(id)
		r.peers = append(r.peers, p)
		if p.position < 0 && position >= 0 {
			p.position = position
			r.askNames(p)
		} else if p.position = position; position < 0 {
			p.pull.cease()
			r.pulls.turned(&p.pull, false)
		}
	}
	r.guests = slices.DeleteFunc(r.guests, func(p *peer) bool { return r.byID[p.id] != nil })
	for _, p := range before {
		if slices.Contains(r.peers, p) {
			continue
		}
		p.gone = true
		r.pulls.turned(&p.pull, false)
		r.strange.saved(&p.identity, math.MaxUint64) // its held packets are lost
		delete(r.byID, p.id)
		if g := r.guest(p.id); g != nil {
			r.sayConfiguration(g, r.view.Number()) // it is not needed any more
		}
	}
	r.planPulls()
}

// Change asks for the next configuration of the cluster, with these members. The call ends with the decision of [paxos.Configuration.Name]
// of that configuration, whoever proposed it: its value is the configuration as text, see [paxos.ParseConfiguration].
//
// The next configuration is decided when this one is settled: see [Replica.Settled]. Until then the call waits.
//
// Its errors are those of [Replica.Propose], and an error that names the field of next that does not allow the change. An acceptor of next
// that was not heard lately, or lacks many decisions, is refused with [paxos.ErrNotReady] if no quorum of next can do without it.
func (r *Replica) Change(now time.Duration, id CallID, next paxos.Members) {
	r.input(now)
	c, err := r.view.Current().Next(next)
	name, text := paxos.ConfigurationName(r.view.Number()+1), paxos.Value("")
	if err == nil {
		name, text = c.Name(), paxos.Value(c.String())
		err = r.isReady(c.Members)
	}
	if err == nil && len(text) > r.limits.MaxValue {
		err = fmt.Errorf("the configuration has %d bytes, at most %d are allowed by Limits.MaxValue: %w", len(text), r.limits.MaxValue, paxos.ErrTooLarge)
	}
	r.call(call{id: id, op: opPropose, value: text}, name, err)
}

// maxLag is how many decisions of this server an acceptor of the next configuration may lack.
const maxLag = 1 << 16

// isReady returns an error if no quorum of both phases of next is here, or if it lacks many decisions. That is not needed for safety. But
// a change is for ever, and calls would wait.
func (r *Replica) isReady(next paxos.Members) error {
	var have paxos.Set
	var lacking []error
	for i, id := range next.Acceptors {
		p := r.byID[id]
		switch {
		case id == r.id:
			have = have.With(i)
		case p == nil:
			lacking = append(lacking, fmt.Errorf("server %d is no member yet: add it as a learner first", id))
		case !p.identity.isHeardAfter(r.now - r.listens()):
			lacking = append(lacking, fmt.Errorf("server %d was not heard lately", id))
		case p.takes.value != 0 && p.takes.value < r.limits.MaxValue:
			lacking = append(lacking, fmt.Errorf("server %d takes values of %d bytes at most by Limits.MaxValue, and this server takes %d", id, p.takes.value, r.limits.MaxValue))
		case p.position < 0 && r.index > p.listing.told()+maxLag:
			lacking = append(lacking, fmt.Errorf("server %d lacks %d decisions", id, r.index-p.listing.told()))
		default:
			have = have.With(i)
		}
	}
	if q := next.Clone().Quorum; q.Phase1(have) && q.Phase2(have) {
		return nil
	}
	return fmt.Errorf("%w: %w", paxos.ErrNotReady, errors.Join(lacking...))
}

// Settled waits until the configuration is settled: a phase-2 quorum of its acceptors is complete. Servers that are not in it may be stopped
// for good then. The call ends without a decision. Its errors are those of [Replica.Ready].
func (r *Replica) Settled(now time.Duration, id CallID) {
	r.input(now)
	r.callEvent(id, opSettled.String(), paxos.Message{Instance: settledName})
	if err := r.refuseCall(); err != nil {
		r.ended(id, "", paxos.Decision{}, unsent(opSettled, "", err))
		return
	}
	inst := r.rangeRecord(settledName)
	inst.void = true
	r.enlist(inst, call{id: id, op: opSettled})
	r.endSettled()
}

// endSettled ends the calls of Settled, if the configuration is settled.
func (r *Replica) endSettled() {
	inst := r.table.byName[settledName]
	if inst == nil || r.view.IsJoint() {
		return
	}
	for _, c := range inst.calls.take(func(*call) bool { return true }) {
		r.end(inst, c, paxos.Decision{}, nil)
	}
	r.settle(inst)
}

// Configuration returns the configuration under which this server lives. complete says that it is settled, as far as this server knows.
func (r *Replica) Configuration() (c paxos.Configuration, complete bool) {
	c = r.view.Current()
	c.Members = c.Members.Clone()
	return c, !r.view.IsJoint()
}
