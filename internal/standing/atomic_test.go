package standing_test

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
	"github.com/singledecree/paxos/internal/standing"
)

// An atomicModel has acceptors that save within each step. Nobody who stands votes: a standing ballot is used once, as if its server
// remembered that. Messages stay for ever. There is no symmetry.
type atomicModel struct {
	*cast
	reads bool
	uses  map[[mostAcceptors + 1]uint8]bool
}

type atomicAcceptor struct {
	prom, acc, val, floor uint8 // places of ballots, and of the value
	decided               uint8 // 1 + the value that it knows decided
	nothing               uint8 // it told the read that it has nothing
	promises, stood       [mostBallots]uint8
	votes                 [mostBallots]uint8 // values that it voted for, as bits
}

// The answers of an acceptor to a standing ballot.
const (
	stoodClean = iota + 1
	stoodListed
	stoodDecided
)

type atomicState struct {
	acceptors [mostAcceptors]atomicAcceptor
	accepts   [mostBallots]uint8 // values asked for, as bits
	read      uint8              // 1: it began; 2: after a choice
}

func (m *atomicModel) walk(s *atomicState, f *bitField) {
	for i := range m.acceptors {
		a := &s.acceptors[i]
		f.bits(&a.prom, 3)
		f.bits(&a.acc, 3)
		f.bits(&a.val, 1)
		f.bits(&a.floor, 3)
		f.bits(&a.decided, 2)
		f.bits(&a.nothing, 1)
		for b := range m.ballots {
			f.bits(&a.promises[b], 4)
			f.bits(&a.stood[b], 2)
			f.bits(&a.votes[b], 2)
		}
		f.word()
	}
	for b := range m.ballots {
		f.bits(&s.accepts[b], 2)
	}
	f.bits(&s.read, 2)
}

func (m *atomicModel) Canonical([]uint64) {}

// chosen returns the values that are chosen, as bits, and where.
func (m *atomicModel) chosen(s *atomicState) (set uint8, seen uint64) {
	for b := range m.ballots {
		for v := range uint8(2) {
			var voters paxos.Set
			for i := range m.acceptors {
				if s.acceptors[i].votes[b]>>v&1 == 1 {
					voters = voters.With(i)
				}
			}
			if m.quorum.Phase2(voters) {
				set |= 1 << v
				seen |= map[byte]uint64{'S': seenStanding, 'C': seenClassic}[m.kinds[b]]
			}
		}
	}
	if seen == seenStanding|seenClassic {
		seen |= seenBoth
	}
	return set, seen
}

func (m *atomicModel) Check(w []uint64) (seen uint64, err error) {
	var s atomicState
	m.walk(&s, &bitField{words: w, out: true})
	set, seen := m.chosen(&s)
	if set == 3 {
		return seen, errTwoValues
	}
	var nothing paxos.Set
	for i := range m.acceptors {
		if s.acceptors[i].nothing == 1 {
			nothing = nothing.With(i)
		}
	}
	if m.reads && m.quorum.Phase1(nothing) {
		seen |= seenReadNothing
		if s.read == 2 {
			return seen, errStaleRead
		}
	}
	return seen, nil
}

// An atomicStep collects the states that follow one.
type atomicStep struct {
	*atomicModel
	from *atomicState
	emit func(action uint64, next []uint64)
	size int
}

func (n *atomicStep) to(t *atomicState, action string, x, y, z int) {
	f := &bitField{words: make([]uint64, n.size)}
	n.walk(t, f)
	n.emit(uint64(strings.Index(atomicActions, action))<<24|uint64(x)<<16|uint64(y)<<8|uint64(z), f.words)
}

const atomicActions = "learns stands promises votes USES asks reads answers "

func (m *atomicModel) text(action uint64) string {
	word, _, _ := strings.Cut(atomicActions[action>>24:], " ")
	return fmt.Sprintf("%s %d %d %d", word, action>>16&255, action>>8&255, action&255)
}

func (m *atomicModel) Next(w []uint64, emit func(action uint64, next []uint64)) error {
	var s atomicState
	m.walk(&s, &bitField{words: w, out: true})
	n := &atomicStep{m, &s, emit, len(w)}
	set, _ := m.chosen(&s)
	for i := range m.acceptors {
		a := &s.acceptors[i]
		for v := range uint8(2) {
			if a.decided == 0 && set>>v&1 == 1 {
				t := s
				t.acceptors[i].decided = 1 + v
				n.to(&t, "learns", i, int(v), 0)
			}
		}
		for b := range m.ballots {
			n.receives(i, b)
		}
		if m.reads && s.read != 0 && a.nothing == 0 && a.acc == 0 && a.decided == 0 {
			t := s
			t.acceptors[i].nothing = 1
			n.to(&t, "answers", i, 0, 0)
		}
	}
	for b := range m.ballots {
		if s.accepts[b] != 0 {
			continue
		}
		if m.kinds[b] == 'S' {
			n.uses(b)
		} else {
			n.asks(b)
		}
	}
	if m.reads && s.read == 0 {
		t := s
		t.read = 1
		if set != 0 {
			t.read = 2
		}
		n.to(&t, "reads", 0, 0, 0)
	}
	return nil
}

// receives has acceptor i answer what there is of ballot b: a Stand, or a Prepare, and the Accepts.
func (n *atomicStep) receives(i, b int) {
	a := &n.from.acceptors[i]
	record := paxos.Acceptor{Promised: n.ballot(a.prom), Accepted: n.ballot(a.acc)}
	if a.acc != 0 {
		record.Value = values[a.val]
	}
	floor := n.floor(a.floor, 0)
	if n.kinds[b] == 'S' {
		n.stands(i, b, record)
	} else if a.decided == 0 {
		next, reply, err := floor.Step(record, paxos.Message{Kind: paxos.KindPrepare, Instance: n.name, Ballot: n.ballots[b]})
		if err == nil && reply.Kind == paxos.KindPromise && next != record {
			t := *n.from
			t.acceptors[i].prom = n.place(next.Promised)
			t.acceptors[i].promises[b] = 1 + (n.place(reply.Accepted)<<1 | valueBit(reply.Value))
			n.to(&t, "promises", i, b, 0)
		}
	}
	for v := range uint8(2) {
		if n.from.accepts[b]>>v&1 == 0 || a.decided != 0 {
			continue
		}
		next, reply, err := floor.Step(record, paxos.Message{Kind: paxos.KindAccept, Instance: n.name, Ballot: n.ballots[b], Value: values[v]})
		if err == nil && reply.Kind == paxos.KindAccepted && next != record {
			t := *n.from
			x := &t.acceptors[i]
			x.prom, x.acc, x.val = n.place(next.Promised), n.place(next.Accepted), valueBit(next.Value)
			x.votes[b] |= 1 << v
			n.to(&t, "votes", i, b, int(v))
		}
	}
}

func valueBit(v paxos.Value) uint8 {
	if v == values[1] {
		return 1
	}
	return 0
}

// stands has acceptor i promise the standing ballot b, once. A decision has Index 1 at each acceptor that knows it.
func (n *atomicStep) stands(i, b int, record paxos.Acceptor) {
	a := &n.from.acceptors[i]
	before := standing.Stored(n.ballot(a.floor))
	after, _, ok := before.Step(n.ballots[b])
	if !ok || after == before {
		return
	}
	e := standing.Entry{Record: record}
	if a.decided != 0 {
		e.Chosen, e.Index = true, 1
	}
	t := *n.from
	t.acceptors[i].floor = n.place(after.Promised())
	switch {
	case e.IsListed(e.Index):
		t.acceptors[i].stood[b] = stoodListed
	case e.Index != 0:
		t.acceptors[i].stood[b] = stoodDecided
	default:
		t.acceptors[i].stood[b] = stoodClean
	}
	n.to(&t, "stands", i, b, int(t.acceptors[i].stood[b]))
}

// uses begins with the Accept in the standing ballot b, if its server may.
func (n *atomicStep) uses(b int) {
	var s said
	key := [mostAcceptors + 1]uint8{uint8(b)}
	for i := range n.acceptors {
		stood := n.from.acceptors[i].stood[b]
		key[i+1] = stood
		s.answers[i] = [...]uint8{0, stoodClean: 1, stoodListed: listsIt, stoodDecided: 2}[stood]
	}
	may, ok := n.uses1(key)
	if !ok {
		floor := n.floor(uint8(b)+1, 0)
		may = n.standingBallot(b, &s, n.quorum).MayUse(n.name, standing.Entry{}, &floor)
		n.atomicModel.uses[key] = may
	}
	for v := range 2 {
		if may {
			t := *n.from
			t.accepts[b] = 1 << v
			n.to(&t, "USES", b, v, 0)
		}
	}
}

func (m *atomicModel) uses1(key [mostAcceptors + 1]uint8) (may, ok bool) {
	may, ok = m.uses[key]
	return may, ok
}

// everyOf is a quorum whose phase 1 has these acceptors.
type everyOf struct {
	paxos.Quorum
	wanted paxos.Set
}

func (q everyOf) Phase1(s paxos.Set) bool { return s&q.wanted == q.wanted }

// asks sends the Accept of the classic ballot b, for each set of promises that is a phase-1 quorum.
func (n *atomicStep) asks(b int) {
	var promises [mostAcceptors]uint8
	var got paxos.Set
	for i := range n.acceptors {
		if promises[i] = n.from.acceptors[i].promises[b]; promises[i] != 0 {
			got = got.With(i)
		}
	}
	for q := got; q != 0; q = (q - 1) & got {
		if !n.quorum.Phase1(q) {
			continue
		}
		set := n.allowed(b, promises, q, everyOf{n.quorum, q})
		for v := range 2 {
			if set>>v&1 == 1 {
				t := *n.from
				t.accepts[b] |= 1 << v
				n.to(&t, "asks", b, v, bits.OnesCount64(uint64(q)))
			}
		}
	}
}

// TestSpacesOfAtomicSaves explores complete spaces. The counts are those of a model that was written by itself, to work the rules out.
func TestSpacesOfAtomicSaves(t *testing.T) {
	const all = seenStanding | seenClassic | seenBoth
	for _, space := range []struct {
		ballots                   string
		acceptors, phase1, phase2 int
		reads                     bool
		size                      int
		want                      counts
		seen                      uint64
	}{
		{"C S", 3, 2, 2, false, tiny, counts{17_088, 47_574, 17}, seenStanding | seenClassic},
		{"S C", 3, 2, 2, false, small, counts{44_232, 121_786, 19}, all},
		{"S S", 3, 2, 2, false, small, counts{25_410, 66_288, 17}, seenStanding},
		{"C S C", 3, 2, 2, false, ci, counts{1_260_544, 4_208_144, 24}, all},
		{"C C S", 3, 2, 2, false, ci, counts{596_032, 1_921_144, 22}, seenStanding | seenClassic},
		{"C S S", 3, 2, 2, false, ci, counts{603_936, 1_954_344, 22}, seenStanding | seenClassic},
		{"S C S", 3, 2, 2, false, ci, counts{1_051_536, 3_223_642, 22}, all},
		{"S C C", 3, 2, 2, false, ci, counts{2_542_936, 7_971_960, 26}, all},
		{"C S", 3, 2, 2, true, ci, counts{distinct: 193_616}, seenStanding | seenClassic | seenReadNothing},
		{"S C", 3, 2, 2, true, ci, counts{distinct: 507_992}, all | seenReadNothing},
		{"S S", 3, 2, 2, true, ci, counts{distinct: 289_514}, seenStanding | seenReadNothing},
		{"C S C", 3, 1, 3, false, long, counts{distinct: 5_022_364}, all},
		{"C S C", 3, 3, 1, false, small, counts{distinct: 85_060}, all},
		{"C S", 4, 2, 3, false, ci, counts{distinct: 782_338}, seenStanding | seenClassic},
		{"S S", 4, 2, 3, false, ci, counts{distinct: 1_727_766}, seenStanding},
		{"S C", 4, 2, 3, false, ci, counts{distinct: 3_009_542}, all},
		{"C S", 4, 3, 2, false, small, counts{distinct: 194_674}, seenStanding | seenClassic},
		{"S S", 4, 3, 2, false, ci, counts{distinct: 298_458}, seenStanding},
		{"S C", 4, 3, 2, false, ci, counts{distinct: 645_146}, all},
	} {
		name := fmt.Sprintf("%s of %d, %d/%d, reads=%v", space.ballots, space.acceptors, space.phase1, space.phase2, space.reads)
		t.Run(name, func(t *testing.T) {
			explore.Fits(t, space.size)
			ballots := strings.ReplaceAll(space.ballots, "S", "S7")
			model := func() *atomicModel {
				c := newCast(t, space.acceptors, space.phase1, space.phase2, ballots)
				return &atomicModel{cast: c, reads: space.reads, uses: map[[mostAcceptors + 1]uint8]bool{}}
			}
			r := run(t, make([]uint64, space.acceptors+1), func() explore.Model { return model() }, 2*space.want.distinct)
			// That model does not count the initial state as generated, and counts one more level, which is empty.
			r.Generated--
			r.Depth++
			holds(t, r, model().text, space.want, space.seen)
		})
	}
}
