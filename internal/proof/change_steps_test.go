package proof_test

import (
	"fmt"

	"github.com/singledecree/paxos"
)

// The steps of the model.
const (
	stepDecide = iota
	stepSeal
	stepForget
	stepImport
	stepWhole
	stepCrash
	stepComplete
	stepWiped
	stepPromise
	stepAccept
	stepRead
	stepAnswer
	stepPropose
)

var changeActions = []string{"configuration is decided:", "acceptor learns configuration:", "acceptor forgets:", "acceptor imports from:",
	"acceptor imports all, and is complete, from:",
	"acceptor crashes in its import:", "acceptor is complete for:", "acceptor loses its disk:", "acceptor promises ballot number:",
	"acceptor votes in ballot number:", "read begins:", "acceptor answers the read:", "ballot number asks for value:"}

// A changeStep collects the states that follow one.
type changeStep struct {
	*changeModel
	from *changeState
	emit func(action uint64, next []uint64)
	next []uint64
}

// to emits t.
func (n *changeStep) to(t *changeState, action, x, y int) {
	n.pack(t, n.next)
	n.emit(uint64(action)<<16|uint64(x)<<8|uint64(y), n.next)
}

// Next: see explore.Model.
func (m *changeModel) Next(w []uint64, emit func(action uint64, next []uint64)) error {
	s := m.unpack(w)
	n := &changeStep{changeModel: m, from: &s, emit: emit, next: make([]uint64, len(w))}
	n.decide()
	for i := range m.acceptors {
		n.seal(i)
		n.forgets(i)
		n.imports(i)
		if err := n.answers(i); err != nil {
			return err
		}
		n.reads(i)
	}
	return n.proposes()
}

// decide decides the next configuration, once a phase-2 quorum of the last one is complete.
func (n *changeStep) decide() {
	s, c := n.from, n.from.decided
	if int(c)+1 == len(n.members) {
		return
	}
	var ready uint64
	for i := range n.acceptors {
		if a := &s.acceptors[i]; n.members[c].acceptors>>i&1 == 1 && a.level == c && a.complete >= c {
			ready |= 1 << i
		}
	}
	if n.phase2(c, ready) || n.wrong.nextBeforeComplete || n.wrong.nextAfterPhase1 && n.phase1(c, ready) {
		t := *s
		t.decided++
		n.to(&t, stepDecide, int(t.decided), 0)
	}
}

// seal has acceptor i learn the next configuration. Its import begins anew.
func (n *changeStep) seal(i int) {
	if n.from.acceptors[i].level < n.from.decided {
		t := *n.from
		x := &t.acceptors[i]
		x.level++
		x.imported = 0
		if n.same(x.level) && n.members[x.level].acceptors>>i&1 == 1 && (x.complete == x.level-1 || n.completes) {
			x.complete = x.level
		}
		n.to(&t, stepSeal, i, int(x.level))
	}
}

func (n *changeStep) forgets(i int) {
	x := &n.from.acceptors[i]
	if !n.forget || x.forgot != 0 {
		return
	}
	t := *n.from
	y := &t.acceptors[i]
	y.forgot = 1
	switch {
	case n.wrong.forgetNoTombstone:
		y.acceptor = paxos.Acceptor{}
	case n.wrong.forgetLowBound:
		y.acceptor.Accepted, y.acceptor.Value = paxos.Ballot{}, ""
	case n.wrong.forgetDecided:
		if n.chosen(n.from) == 0 {
			return
		}
		y.acceptor = paxos.Acceptor{}
	default:
		y.acceptor = y.acceptor.Forget()
	}
	n.to(&t, stepForget, i, 0)
}

// imports has acceptor i of a configuration import from the acceptors of the one before, and be complete. Or it imports from one that is
// complete already.
func (n *changeStep) imports(i int) {
	s, x := n.from, &n.from.acceptors[i]
	if n.wrong.wiped && x.forgot == 0 && i == 1 { // it goes on in configuration 1
		t := *s
		t.acceptors[i] = changeAcceptor{level: 1, forgot: 2}
		n.to(&t, stepWiped, i, 0)
	}
	c := x.level
	if c == 0 || n.members[c].acceptors>>i&1 == 0 || x.complete >= c {
		return
	}
	n.wholes(i, c)
	for k := range n.acceptors {
		if !n.same(c) && n.members[c-1].acceptors>>k&1 == 1 && !(n.crash && x.imported>>k&1 == 1) && (s.acceptors[k].level >= c || n.wrong.importUnsealed) {
			t := *s
			n.importFrom(&t, i, k)
			n.to(&t, stepImport, i, k)
		}
	}
	if n.crash && x.imported != 0 {
		t := *s
		t.acceptors[i].imported = 0
		n.to(&t, stepCrash, i, 0)
	}
	if n.phase1(c-1, x.imported) || n.wrong.stayerNeedsNoImport && n.members[c-1].acceptors>>i&1 == 1 {
		t := *s
		t.acceptors[i].imported, t.acceptors[i].complete = 0, c
		n.to(&t, stepComplete, i, int(c))
	}
}

// wholes has acceptor i of configuration c import from an acceptor of c that is complete. Then it is complete, too, whatever it has
// imported before.
func (n *changeStep) wholes(i int, c uint64) {
	for k := range n.acceptors {
		source := &n.from.acceptors[k]
		isWhole := source.level == c && (source.complete == c || n.wrong.wholeIncomplete)
		if n.whole && k != i && n.members[c].acceptors>>k&1 == 1 && isWhole {
			t := *n.from
			if !n.wrong.wholeReadBefore || n.from.acceptors[i].imported>>k&1 == 0 {
				n.importFrom(&t, i, k)
			}
			t.acceptors[i].imported, t.acceptors[i].complete = 0, c
			n.to(&t, stepWhole, i, k)
		}
	}
}

func (n *changeStep) importFrom(t *changeState, i, k int) {
	y, source := &t.acceptors[i], n.from.acceptors[k].acceptor
	y.imported |= 1 << k
	if source.Promised.IsForgotten() && n.wrong.importForgetsTheForgotten {
		return
	}
	before := y.acceptor
	y.acceptor = before.Import(source, y.level)
	if y.acceptor.Promised.IsForgotten() {
		y.forgot = 1
	}
	if y.acceptor.Accepted == before.Accepted {
		return
	}
	for b, ballot := range n.all { // a State shows it as a vote, if it is of this configuration
		if ballot == y.acceptor.Accepted && (ballot.Configuration() == y.level || n.wrong.importIsVote) {
			t.votes[b] |= 1 << i
		}
	}
}

// answers has acceptor i answer every Prepare and Accept that it may answer. It knows the configuration of the ballot, and is in
// that one, or, for a Prepare, in the one before.
func (n *changeStep) answers(i int) error {
	x := &n.from.acceptors[i]
	for b, ballot := range n.all {
		c := ballot.Configuration()
		if c > n.from.decided || x.level < c {
			continue
		}
		isNew := n.members[c].acceptors>>i&1 == 1
		isOld := c > 0 && n.members[c-1].acceptors>>i&1 == 1
		if isNew || isOld {
			if err := n.promises(i, b, ballot); err != nil {
				return err
			}
		}
		if isNew && n.from.accepts[b] != 0 && n.from.votes[b]>>i&1 == 0 {
			if err := n.votes(i, b, ballot); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *changeStep) promises(i, b int, ballot paxos.Ballot) error {
	s, x := n.from, &n.from.acceptors[i]
	raised := n.floors[x.level].Raise("lunch", x.acceptor)
	next, reply, err := raised.Step(paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: ballot})
	if err != nil {
		return fmt.Errorf("acceptor %d: %w", i, err)
	}
	if reply.Kind == paxos.KindPromise && x.acceptor.Promised != ballot {
		t := *s
		t.acceptors[i].acceptor = next
		if s.accepts[b] == 0 {
			t.promises[i][b] = changePromise{given: true, accepted: reply.Accepted, value: reply.Value, complete: x.complete >= ballot.Configuration()}
		}
		n.to(&t, stepPromise, i, b)
	}
	if reply.Kind == paxos.KindAccepted && s.votes[b]>>i&1 == 0 { // a vote that it has never cast
		t := *s
		t.votes[b] |= 1 << i
		n.to(&t, stepAccept, i, b)
	}
	if n.wrong.forgottenIsEmpty && raised.Promised.IsForgotten() && s.accepts[b] == 0 && !s.promises[i][b].given {
		t := *s
		t.promises[i][b] = changePromise{given: true}
		n.to(&t, stepPromise, i, b)
	}
	return nil
}

func (n *changeStep) votes(i, b int, ballot paxos.Ballot) error {
	s, x := n.from, &n.from.acceptors[i]
	raised := n.floors[x.level].Raise("lunch", x.acceptor)
	v := changeValues[s.accepts[b]-1]
	next, reply, err := raised.Step(paxos.Message{Kind: paxos.KindAccept, Instance: "lunch", Ballot: ballot, Value: v})
	if err != nil {
		if n.wrong != (changeRules{}) {
			return nil // two values are to be found, not the first proof of it
		}
		return fmt.Errorf("acceptor %d: %w", i, err)
	}
	forgotten := n.wrong.forgottenAccepts && raised.Promised.IsForgotten() && x.level == ballot.Configuration()
	if reply.Kind != paxos.KindAccepted && !forgotten {
		return nil
	}
	t := *s
	t.acceptors[i].acceptor = next
	t.votes[b] |= 1 << i
	n.to(&t, stepAccept, i, b)
	return nil
}

// reads has acceptor i tell the read that it has accepted nothing, and lets the read begin.
func (n *changeStep) reads(i int) {
	s, x := n.from, &n.from.acceptors[i]
	if n.reader == 0 {
		return
	}
	c := uint64(n.reader - 1)
	if s.read == 0 {
		if i == 0 {
			t := *s
			t.read = 1
			if n.chosen(s) != 0 {
				t.read |= 2
			}
			n.to(&t, stepRead, 0, 0)
		}
		return
	}
	if s.answers>>i&1 == 1 || !x.acceptor.Accepted.IsZero() || x.acceptor.Promised.IsForgotten() {
		return
	}
	member := c > 0 || n.members[0].acceptors>>i&1 == 1
	if member && (x.level == c || c == 0 && n.wrong.sealedReads) {
		t := *s
		t.answers |= 1 << i
		if c > 0 && x.complete == c {
			t.read |= 4
		}
		n.to(&t, stepAnswer, i, 0)
	}
}

// proposes has each attempt send its Accept, with every value that its promises allow in some order.
func (n *changeStep) proposes() error {
	s := n.from
	for b := range n.all {
		if s.accepts[b] != 0 {
			continue
		}
		values, err := n.allowed(b)
		if err != nil {
			return err
		}
		for v := range 2 {
			if values>>v&1 == 1 {
				t := *s
				t.accepts[b] = uint64(v) + 1
				for i := range t.promises {
					t.promises[i][b] = changePromise{}
				}
				n.to(&t, stepPropose, b, v)
			}
		}
	}
	return nil
}

// allowed returns the numbers of the values for which the attempt may ask, as bits.
func (n *changeStep) allowed(b int) (values uint64, err error) {
	s, c := n.from, n.all[b].Configuration()
	key := [2]uint64{uint64(b), 0}
	var given, complete uint64
	for i := range n.acceptors {
		p := &s.promises[i][b]
		if !p.given {
			continue
		}
		given |= 1 << i
		if p.complete && !n.wrong.completeAfterPromise || n.wrong.completeAfterPromise && s.acceptors[i].complete >= c {
			complete |= 1 << i
		}
		key[1] |= (1 | valueNumber(p.value)<<1 | n.promisePlace(p.accepted)<<2) << (5 * i)
	}
	if given == 0 {
		return 0, nil
	}
	key[1] |= complete << 32
	if values, ok := n.values[key]; ok {
		return values, nil
	}
	place, quorum := n.members[c].acceptors, n.members[c].quorum
	if c > 0 && !n.same(c) {
		before := n.members[c-1]
		place |= before.acceptors
		quorum, err = paxos.Joint(before.quorum, within(before.acceptors, place), quorum, within(n.members[c].acceptors, place), within(complete&n.members[c].acceptors, place))
		if err != nil {
			return 0, err
		}
	}
	for _, own := range changeValues {
		if err := n.hear(paxos.NewProposer(n.all[b], own, quorum), b, given, place, &values); err != nil {
			return 0, err
		}
	}
	n.values[key] = values
	return values, nil
}

// hear gives the promises left to p in every order, and adds the values for which it asks.
func (n *changeStep) hear(p paxos.Proposer, b int, left, place uint64, values *uint64) error {
	for i := range n.acceptors {
		if left>>i&1 == 0 || place>>i&1 == 0 {
			continue
		}
		said := n.from.promises[i][b]
		m := paxos.Message{Kind: paxos.KindPromise, Instance: "lunch", Ballot: n.all[b], Accepted: said.accepted, Value: said.value}
		next, accept, err := p.Step(within(place&(1<<i-1), place).Len(), m)
		switch {
		case err != nil && n.wrong == (changeRules{}):
			return err
		case err != nil:
		case accept.Kind != 0:
			*values |= 1 << valueNumber(accept.Value)
		default:
			if err := n.hear(next, b, left&^(1<<i), place, values); err != nil {
				return err
			}
		}
	}
	return nil
}
