package standing_test

import (
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/durable"
	"github.com/singledecree/paxos/internal/standing"
)

// stand has the server of the standing ballot b begin, and acceptors promise it.
func (n *step) stand(b int) {
	s := n.from
	if s.life[b] == 0 {
		for c := b + 1; c < len(n.ballots); c++ {
			if n.kinds[c] == 'S' && n.owners[c] == n.owners[b] && s.life[c] != 0 {
				return // rounds of a server rise
			}
		}
		t := *s
		t.life[b] = 1
		n.to(&t, stepBegin, n.owners[b], b)
		return
	}
	for i := range n.acceptors {
		n.standsBy(i, b)
	}
	if o := n.owners[b]; o >= n.acceptors && s.life[b] == 1 {
		t := *s
		n.ends(&t, o)
		n.to(&t, stepCrash, o, 0)
	}
}

// standsBy has acceptor i promise the standing ballot b, perhaps again, and fixes what it says.
func (n *step) standsBy(i, b int) {
	s, x := n.from, &n.from.members[i]
	if n.ballots[b].Configuration() != uint64(x.sealed) {
		return
	}
	before := n.standingFloor(x)
	after, wait, ok := before.Step(n.ballots[b])
	if !ok {
		return
	}
	isNew := before.Promised() != after.Promised()
	if n.wrong.indexBeforeFloor && x.noted == 0 {
		if isNew {
			t := *s
			t.members[i].noted = 1 + x.d.index
			n.to(&t, stepNote, i, 0)
		}
		return
	}
	t := *s
	y := &t.members[i]
	if s.life[b] == 1 || n.keepsDead() {
		y.heldStood[b] |= n.content(x, b)
	}
	y.floor = n.place(after.Promised())
	switch {
	case isNew:
		y.loaded, y.noted = 0, 0
	case y.heldStood == x.heldStood && y.heldStood[b]&^x.stood[b] == 0 && x.floor == x.savedFloor:
		return
	}
	if wait == durable.Saved || n.wrong.promiseUnsaved || n.wrong.ownPromiseUnsaved && i == n.owners[b] {
		n.releaseFloor(&t, i)
	}
	n.done(&t, i)
	if t != *s {
		n.to(&t, stepStand, i, b)
	}
}

// content is what an acceptor says of the name with its promise of the standing ballot b: nothing if it lists it, else a bit for its Index.
// Without cursors that is Index 1 if a pull tells of the name, and else 0.
func (n *step) content(x *member, b int) uint8 {
	saved := x.d.index
	told := x.d.chosen == 1 && saved != 0
	e := standing.Entry{Record: n.acceptor(x.v), Chosen: x.v.chosen == 1}
	if told {
		e.Index = uint64(saved)
	}
	none := e
	none.Record, none.Chosen = paxos.Acceptor{}, told
	switch w := &n.wrong; {
	case w.listDurable:
		e = none
		e.Record = n.acceptor(x.d)
	case w.listAboveFloor && x.v.chosen == 0 && x.v.acc < x.floor,
		w.unindexedUnlisted && x.v.chosen == 1 && x.v.index == 0,
		w.indexAtRelease && x.v.chosen == 1:
		e = none
	case w.tombUnlisted && x.v.prom == gone:
		return 1
	case w.skipHigher && !told && x.v.chosen == 0 && x.v.prom > uint8(b)+1:
		return 0
	}
	if e.IsListed(uint64(saved)) {
		return 0
	}
	index := saved
	if n.wrong.indexBeforeFloor && x.noted != 0 {
		index = x.noted - 1
	}
	if !n.cursors && (!told || index < saved) {
		index = 0
	}
	return 1 << index
}

// An ownView is what the server that stands knows when it asks whether it may use its ballot.
type ownView struct {
	own           record // zero for a server that does not vote and has not used the ballot
	floor, sealed uint8
}

// view returns what the server of ballot b looks at. ok is false if it looks no further.
func (n *step) view(b int) (v ownView, ok bool) {
	place := uint8(b) + 1
	o := n.owners[b]
	if o >= n.acceptors {
		return ownView{floor: place}, n.from.mark[b] == 0 || n.wrong.learnerNoMark
	}
	x := &n.from.members[o]
	v = ownView{x.v, x.floor, x.sealed}
	switch w := &n.wrong; {
	case w.noOwnCheck && x.v.chosen == 0, w.ownAcceptedOnly && x.v.chosen == 0 && x.v.acc == 0 && x.v.prom < place:
		v.own = record{}
	case w.ownFloorIgnored, w.ownFloorLower && v.floor <= place:
		v.floor = place
	}
	return v, true
}

// uses begins with the Accept in the standing ballot b, for any value, if its server may. Its acceptor votes in the same step.
func (n *step) uses(b int) {
	if n.from.life[b] == 0 || n.from.life[b] == 2 && !n.keepsDead() {
		return
	}
	view, ok := n.view(b)
	if !ok || !n.mayUse(b, view) {
		return
	}
	o := n.owners[b]
	for v := range uint8(2) {
		t := *n.from
		t.accepts[b] |= 1 << v
		switch {
		case o >= n.acceptors:
			t.mark[b] = 1
		case !n.wrong.noOwnVote:
			floor := n.refusesBy(&t.members[o])
			if n.votes(&t, o, b, v, &floor) {
				if n.wrong.ownVoteUnsaved {
					t.members[o].vote[b] |= 1 << v
				}
				n.done(&t, o)
			}
		}
		n.to(&t, stepUse, o, int(v))
	}
}

// phase2Only takes a phase-2 quorum for one of phase 1.
type phase2Only struct{ paxos.Quorum }

func (q phase2Only) Phase1(s paxos.Set) bool { return q.Phase2(s) }

// mayUse asks the standing ballot b, after all that was sent to it.
func (n *step) mayUse(b int, view ownView) bool {
	key := useKey{ballot: uint8(b), view: view}
	k := slices.Index(n.stands, n.owners[b])
	for i := range n.acceptors {
		x := &n.from.members[i]
		key.said.answers[i] = x.stood[b]
		for c := range b {
			if n.kinds[c] != 'S' {
				continue
			}
			key.said.others[i] |= x.stood[c]
			if n.owners[c] == n.owners[b] && n.wrong.olderPromise || n.owners[c] != n.owners[b] && n.wrong.otherPromise {
				key.said.answers[i] |= x.stood[c]
			}
		}
		key.said.all[i] = n.wrong.noCatchUp
		if n.cursors {
			key.said.cursor[i] = x.cursor[k]
			if !n.wrong.noForgetMark {
				key.said.forgot[i] = x.forgot[k]
			}
		}
	}
	may, ok := n.model.uses[key]
	if ok {
		return may
	}
	q := n.quorums[b]
	if n.wrong.standIncomplete {
		q = n.after
	}
	if n.wrong.phase2Quorum {
		q = phase2Only{q}
	}
	name := n.name
	if n.wrong.standOwned {
		name = "lunch"
	}
	floor := n.floor(view.floor, view.sealed)
	e := standing.Entry{Record: n.acceptor(view.own), Chosen: view.own.chosen == 1, Index: uint64(view.own.index)}
	if e.Chosen {
		e.Record = paxos.Acceptor{Promised: n.ballot(view.own.prom)}
	}
	may = n.standingBallot(b, &key.said, q).MayUse(name, e, &floor)
	n.model.uses[key] = may
	return may
}
