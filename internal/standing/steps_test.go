package standing_test

import (
	"fmt"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
	"github.com/singledecree/paxos/internal/standing"
)

// The steps of the model.
const (
	stepLearn = iota
	stepIndex
	stepForget
	stepSaveRecord
	stepPromise
	stepVote
	stepAsk
	stepZero
	stepUse
	stepBegin
	stepNote
	stepStand
	stepSaveFloor
	stepSave
	stepCrash
	stepReload
	stepPull
	stepSilent
	stepRead
	stepSeal
)

var stepTexts = []string{"learns the decision", "gives it an Index", "forgets", "saves the record", "promises ballot", "votes in ballot",
	"asks, in ballot", "round 0: asks", "USES its standing ballot for", "stands: ballot", "notes its Index", "stands by ballot", "saves the floor", "saves both",
	"crashes", "loads the record again", "pulls from", "tells the read: nothing", "a read begins", "learns the next configuration"}

func (m *model) text(action uint64) string {
	return fmt.Sprintf("%d: %s %d", action>>8&255, stepTexts[action>>24], action>>16&255)
}

// A step collects the states that follow one.
type step struct {
	*model
	from *state
	emit func(action uint64, next []uint64)
	next []uint64
}

// to emits t.
func (n *step) to(t *state, action, who, what int) {
	n.pack(t, n.next)
	n.emit(uint64(action)<<24|uint64(what)<<16|uint64(who)<<8, n.next)
}

// Next: see explore.Model.
func (m *model) Next(w []uint64, emit func(action uint64, next []uint64)) error {
	s := m.unpack(w)
	n := &step{m, &s, emit, make([]uint64, len(w))}
	set := m.chosen(&s)
	for i := range m.acceptors {
		n.learns(i, set)
		if x := &s.members[i]; x.sealed == 0 && m.ballots[len(m.ballots)-1].Configuration() == 1 {
			t := s
			t.members[i].sealed = 1
			n.to(&t, stepSeal, i, 0)
		}
		if s.members[i].v.chosen == 0 { // else it answers with the decision
			for b := range m.ballots {
				n.answers(i, b)
			}
		}
		n.stores(i)
		for o := range m.stands {
			n.pulls(o, i)
		}
		if x := &s.members[i]; m.read && s.read != 0 && x.silent == 0 && x.v.acc == 0 && x.v.chosen == 0 {
			t := s
			t.members[i].silent = 1
			n.to(&t, stepSilent, i, 0)
		}
	}
	for b := range m.ballots {
		switch m.kinds[b] {
		case 'C':
			n.asks(b)
		case 'O':
			n.asksInRound0(b)
		case 'S':
			n.uses(b)
			n.stand(b)
		}
	}
	if m.read && s.read == 0 {
		t := s
		t.read = 1
		if set != 0 {
			t.read = 3
		}
		n.to(&t, stepRead, 0, 0)
	}
	return nil
}

// acceptor is the record as the role has it.
func (m *model) acceptor(r record) paxos.Acceptor {
	a := paxos.Acceptor{Promised: m.ballot(r.prom), Accepted: m.ballot(r.acc)}
	if r.acc != 0 {
		a.Value = values[r.val-1]
	}
	return a
}

// recordOf is a record of an acceptor that knows no decision.
func (m *model) recordOf(a paxos.Acceptor) (r record) {
	r.prom, r.acc = m.place(a.Promised), m.place(a.Accepted)
	if r.acc != 0 {
		r.val = 1 + valueBit(a.Value)
	}
	return r
}

// refusesBy returns the floor by which an acceptor refuses.
func (m *model) refusesBy(x *member) paxos.Floor {
	switch {
	case m.wrong.floorWhenSaved:
		return m.floor(x.savedFloor, x.sealed)
	case m.wrong.reloadNoFloor && x.loaded == 1:
		return paxos.Floor{}
	}
	return m.floor(x.floor, x.sealed)
}

// knows reports whether acceptor i lives in the configuration of ballot b, or in a later one.
func (n *step) knows(i, b int) bool {
	return n.ballots[b].Configuration() <= uint64(n.from.members[i].sealed)
}

// standingFloor is the promise of standing ballots, with its stage. A save is one step, so none is ever flushing.
func (m *model) standingFloor(x *member) standing.Floor {
	f, _, _ := standing.Stored(m.ballot(x.savedFloor)).Step(m.ballot(x.floor))
	return f
}

// keepsDead reports whether a standing ballot is used after its life.
func (m *model) keepsDead() bool { return m.wrong.reuse || m.wrong.learnerKept }

// releaseRecord sends what waited for the save of the record.
func (m *model) releaseRecord(t *state, i int) {
	x := &t.members[i]
	for b := range m.ballots {
		if x.heldPromise[b] != 0 && t.accepts[b] == 0 {
			x.promise[b] = x.heldPromise[b]
		}
		x.vote[b] |= x.heldVote[b]
		x.heldPromise[b], x.heldVote[b] = 0, 0
	}
}

// releaseFloor sends what waited for the save of the floor.
func (m *model) releaseFloor(t *state, i int) {
	x := &t.members[i]
	for b := range m.ballots {
		if t.life[b] != 2 || m.keepsDead() {
			x.stood[b] |= x.heldStood[b]
		}
		x.heldStood[b] = 0
	}
}

// saveRecord saves the record. A decision has an Index from then on.
func (m *model) saveRecord(t *state, i int) {
	x := &t.members[i]
	if x.v.chosen == 1 && x.v.index == 0 {
		x.v.index = x.d.index + 1
	}
	x.d = x.v
	m.releaseRecord(t, i)
}

// saveFloor saves the floor, and sends what may leave after that.
func (m *model) saveFloor(t *state, i int) {
	x := &t.members[i]
	f := m.standingFloor(x).Begin().End()
	x.savedFloor = m.place(f.Promised())
	for b := range m.ballots {
		if m.wrong.indexAtRelease && x.heldStood[b] != 0 && x.d.chosen == 1 {
			x.heldStood[b] = 2
		}
	}
	if _, wait, _ := f.Step(f.Promised()); wait == durable.Saved {
		m.releaseFloor(t, i)
	}
}

// done ends a step of acceptor i. If it is not slow, it has saved.
func (m *model) done(t *state, i int) *state {
	if !m.isSlow(i) {
		x := &t.members[i]
		x.d = x.v
		m.releaseRecord(t, i)
		m.saveFloor(t, i)
	}
	return t
}

// learns has acceptor i learn a decision, give it an Index, or forget the name.
func (n *step) learns(i int, set uint8) {
	x := &n.from.members[i]
	for v := range uint8(2) {
		if set>>v&1 == 1 && x.v.chosen == 0 && n.deaf>>i&1 == 0 {
			t := *n.from
			t.members[i].v = record{val: 1 + v, chosen: 1}
			n.to(n.done(&t, i), stepLearn, i, int(v))
		}
	}
	if x.v.chosen == 1 && x.v.index == 0 && !n.isSlow(i) {
		t := *n.from
		t.members[i].v.index = x.d.index + 1
		n.to(n.done(&t, i), stepIndex, i, 0)
	}
	if n.forget>>i&1 == 1 && x.v.prom != gone {
		t := *n.from
		y := &t.members[i]
		y.v = record{prom: gone, chosen: 1}
		if !n.isSlow(i) {
			y.v.index = max(x.d.index, x.v.index) + 1
		}
		n.to(n.done(&t, i), stepForget, i, 0)
	}
}

// answers has acceptor i receive the Prepare and the Accepts of ballot b.
func (n *step) answers(i, b int) {
	x := &n.from.members[i]
	if !n.knows(i, b) {
		return
	}
	a, floor := n.acceptor(x.v), n.refusesBy(x)
	if n.kinds[b] == 'C' {
		f := floor
		if n.wrong.floorNotPrepare {
			f = paxos.Floor{}
		}
		next, reply, err := f.Step(a, paxos.Message{Kind: paxos.KindPrepare, Instance: n.name, Ballot: n.ballots[b]})
		if err == nil && reply.Kind == paxos.KindPromise && next != a {
			t := *n.from
			y := &t.members[i]
			y.v = n.recordOf(next)
			if t.accepts[b] == 0 {
				y.heldPromise[b] = 1 + (n.place(reply.Accepted)<<1 | valueBit(reply.Value))
			}
			n.to(n.done(&t, i), stepPromise, i, b)
		}
	}
	if n.wrong.floorNotAccept {
		floor = paxos.Floor{}
	}
	for v := range uint8(2) {
		late := n.wrong.acceptLate && n.kinds[b] == 'S' && i != n.owners[b] && n.from.members[n.owners[b]].vote[b]>>v&1 == 0
		if n.from.accepts[b]>>v&1 == 0 || late {
			continue
		}
		if t := *n.from; n.votes(&t, i, b, v, &floor) {
			n.to(n.done(&t, i), stepVote, i, b)
		}
	}
}

// votes has acceptor i receive an Accept. It returns false if that changes nothing.
func (m *model) votes(t *state, i, b int, v uint8, floor *paxos.Floor) bool {
	y := &t.members[i]
	a := m.acceptor(y.v)
	next, reply, err := floor.Step(a, paxos.Message{Kind: paxos.KindAccept, Instance: m.name, Ballot: m.ballots[b], Value: values[v]})
	if err != nil || reply.Kind != paxos.KindAccepted || next == a || y.v.chosen == 1 {
		return false
	}
	y.v = m.recordOf(next)
	y.heldVote[b] |= 1 << v
	return true
}

// asks sends the Accept of the classic ballot b.
func (n *step) asks(b int) {
	if n.from.accepts[b] != 0 {
		return
	}
	var promises [mostAcceptors]uint8
	for i := range n.acceptors {
		promises[i] = n.from.members[i].promise[b]
	}
	set := n.allowed(b, promises, paxos.All(n.acceptors), n.quorums[b])
	for v := range 2 {
		if set>>v&1 == 1 {
			t := *n.from
			t.accepts[b] = 1 << v
			for i := range n.acceptors { // nobody reads them any more
				t.members[i].promise[b], t.members[i].heldPromise[b] = 0, 0
			}
			n.to(&t, stepAsk, 9, b)
		}
	}
}

// asksInRound0 sends the Accept of round 0, if the owner of the name has no record.
func (n *step) asksInRound0(b int) {
	o := n.owners[b]
	if n.from.accepts[b] != 0 || n.from.members[o].v != (record{}) {
		return
	}
	for v := range uint8(2) {
		t := *n.from
		t.accepts[b] = 1 << v
		var none paxos.Floor
		n.votes(&t, o, b, v, &none)
		n.to(n.done(&t, o), stepZero, o, b)
	}
}

// stores has a slow acceptor save or crash.
func (n *step) stores(i int) {
	x := &n.from.members[i]
	if n.wrong.reloadNoFloor && x.loaded == 0 && x.v == x.d && x.floor != 0 {
		t := *n.from
		t.members[i].loaded = 1
		n.to(&t, stepReload, i, 0)
	}
	if !n.isSlow(i) {
		return
	}
	t := *n.from
	var none [mostBallots]uint8
	if n.joint {
		n.saveRecord(&t, i)
		n.saveFloor(&t, i)
		if t != *n.from {
			n.to(&t, stepSave, i, 0)
		}
	} else {
		if x.v != x.d || x.heldPromise != none || x.heldVote != none || x.v.chosen == 1 && x.v.index == 0 {
			n.saveRecord(&t, i)
			n.to(&t, stepSaveRecord, i, 0)
		}
		if x.floor != x.savedFloor || x.heldStood != none {
			t = *n.from
			n.saveFloor(&t, i)
			n.to(&t, stepSaveFloor, i, 0)
		}
	}
	t = *n.from
	y := &t.members[i]
	y.v, y.floor = x.d, n.place(standing.Stored(n.ballot(x.savedFloor)).Promised())
	if n.wrong.floorForgotten {
		y.floor, y.savedFloor = 0, 0
	}
	y.heldPromise, y.heldVote, y.heldStood, y.loaded, y.noted = none, none, none, 0, 0
	n.ends(&t, i)
	if t != *n.from {
		n.to(&t, stepCrash, i, 0)
	}
}

// ends ends the life of server o. Nothing is used again of what it stood by.
func (n *step) ends(t *state, o int) {
	for b := range n.ballots {
		if n.kinds[b] != 'S' || n.owners[b] != o || t.life[b] != 1 {
			continue
		}
		t.life[b] = 2
		if !n.keepsDead() || n.wrong.learnerKept {
			t.mark[b] = 0
		}
		for i := range n.acceptors {
			if !n.keepsDead() {
				t.members[i].stood[b], t.members[i].heldStood[b] = 0, 0
			}
		}
	}
	if k := slices.Index(n.stands, o); n.cursors && k >= 0 {
		for i := range n.acceptors {
			t.members[i].cursor[k], t.members[i].forgot[k] = 0, 0
		}
	}
}

// pulls has the server with number k among those that stand read the next Index of acceptor i.
func (n *step) pulls(k, i int) {
	o, x := n.stands[k], &n.from.members[i]
	if !n.cursors || o == i || o >= n.acceptors || x.cursor[k] >= x.d.index {
		return
	}
	t := *n.from
	y := &t.members[i]
	y.cursor[k]++
	if x.d.index == y.cursor[k] && t.members[o].v.chosen == 0 {
		t.members[o].v = record{val: x.d.val, chosen: 1, prom: x.d.prom}
	}
	if x.d.prom == gone && !(n.late && n.isBeyond(o, x, x.cursor[k])) {
		y.forgot[k] = max(y.forgot[k], x.d.index)
	}
	n.to(n.done(&t, o), stepPull, o, i)
}

// isBeyond reports whether an answer of acceptor x to the server o has that Index, or a lower one.
func (m *model) isBeyond(o int, x *member, index uint8) bool {
	for b := range m.ballots {
		if m.kinds[b] == 'S' && m.owners[b] == o && x.stood[b]&(1<<(index+1)-1)&^listsIt != 0 {
			return true
		}
	}
	return false
}
