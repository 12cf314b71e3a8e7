package proof_test

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/singledecree/paxos"
)

// The model of one instance while the members change, and while it is forgotten. Its acceptors, attempts and quorums are those
// that ship: Acceptor.Step, Import and Forget, Floor.Raise, Proposer.Step and Joint. The rules of a host are in the model:
// when the next configuration may be decided, who imports from whom, and when an acceptor is complete.
//
// The set of messages only grows. So a lost message is one that nobody receives, and a late one is received later. A Prepare can
// arrive at any time once its configuration is decided. All of an acceptor is durable, except for the progress of its import.

// Bounds of the model: acceptors, ballots, and words of a state.
const (
	mostAcceptors = 6
	mostBallots   = 6
)

// A changeConfig is a space of the model.
type changeConfig struct {
	members []changeMembers
	ballots []int // of each configuration
	forget  bool  // the instance may be forgotten, by any acceptor at any time
	reader  int   // the configuration in which a read asks, plus one; 0: there is none
	crash   bool  // a crash loses the progress of an import; without it every source may be read again at any time
	whole   bool  // an acceptor that imports from a complete one of its own configuration is complete, too
	// completes: a change to the same acceptors and quorum makes an acceptor complete. It need not be so, and may be.
	completes bool
	wrong     changeRules
}

// A changeMembers is one configuration: acceptors by their place in the model, and the quorum.
type changeMembers struct {
	acceptors uint64
	quorum    paxos.Quorum
}

// The changeRules leave out rules of the host, one at a time, to show that the space is large enough to see it.
type changeRules struct {
	nextBeforeComplete        bool // configuration c+1 is decided before anybody is complete for c
	nextAfterPhase1           bool // a phase-1 quorum of complete acceptors is enough
	importUnsealed            bool // from an acceptor that still votes in the configuration before
	stayerNeedsNoImport       bool // an acceptor that stays counts as complete
	completeAfterPromise      bool // it counts for the attempt although it promised before
	importIsVote              bool // an import counts as a vote
	wiped                     bool // an acceptor lost its disk, and goes on under its name
	oldVotesByNew             bool // votes of c count by the quorum of c+1
	readPhase1                bool // a phase-1 quorum is enough for a read
	sealedReads               bool // an acceptor answers reads of a configuration that is over
	readNewOnly               bool // a read of a configuration that is not complete asks that one alone
	forgetNoTombstone         bool // nothing is left of a forgotten instance
	forgetDecided             bool // nothing is left, but only if a value was chosen before
	forgetLowBound            bool // the promise stays, and nothing else
	forgottenIsEmpty          bool // a forgotten answer counts as an empty promise
	forgottenAccepts          bool // a forgotten instance is voted for
	importForgetsTheForgotten bool // an import takes no notice of forgetting
	wholeIncomplete           bool // an import from any acceptor of the same configuration is enough
	wholeReadBefore           bool // an import is enough if its source is complete by now, and was not when it was read
	anyQuorumIsSame           bool // the same acceptors are enough, whatever the quorum
}

// A changeAcceptor is one acceptor. level is the configuration that it has learned last.
type changeAcceptor struct {
	level, complete uint64
	forgot          uint64 // 1: it has forgotten the instance; 2: it has lost its disk
	acceptor        paxos.Acceptor
	imported        uint64 // the sources of the import that runs
}

// A changePromise is what a Promise said, and whether its acceptor was complete for the configuration of the ballot.
type changePromise struct {
	given    bool
	accepted paxos.Ballot
	value    paxos.Value
	complete bool
}

type changeState struct {
	decided   uint64 // the last configuration that is decided
	acceptors [mostAcceptors]changeAcceptor
	promises  [mostAcceptors][mostBallots]changePromise // dropped when the Accept exists: nobody reads them
	accepts   [mostBallots]uint64                       // 0: none; else 1 and the number of the value
	votes     [mostBallots]uint64
	read      uint64 // 0: not begun; else 1, and 2 if a value was chosen then, and 4 if a complete acceptor has answered
	answers   uint64 // acceptors that said: nothing accepted
}

// A state is an example of these.
const (
	seenFirst     = 1 << iota // a value is chosen in the first configuration
	seenLast                  // in the last one
	seenBoth                  // in both
	seenForgotten             // forgotten after a choice
	seenRead                  // a read says: nothing
)

// A changeModel explores a changeConfig: see explore.Model.
type changeModel struct {
	changeConfig
	acceptors int
	all       []paxos.Ballot // the ballots of the attempts
	places    []uint64       // the place of each in the order of all
	byPlace   [32]paxos.Ballot
	base      [4]uint64 // the place of the base of each configuration
	floors    [4]paxos.Floor
	turns     [][]int // the symmetries of the acceptors
	values    map[[2]uint64]uint64
}

func newChangeModel(c changeConfig) *changeModel {
	m := &changeModel{changeConfig: c, values: map[[2]uint64]uint64{}}
	place := uint64(0)
	for number, members := range c.members {
		m.acceptors = max(m.acceptors, bits.Len64(members.acceptors))
		m.floors[number].Seal(uint64(number))
		if number > 0 {
			place++
		}
		m.base[number], m.byPlace[place] = place, paxos.Base(uint64(number))
		for k := range c.ballots[number] {
			place++
			b := paxos.Base(uint64(number))
			b.Round, b.Server = b.Round+uint64(k)+1, 1
			m.byPlace[place] = b
			m.all, m.places = append(m.all, b), append(m.places, place)
		}
	}
	m.byPlace[forgottenPlace] = paxos.Acceptor{}.Forget().Promised
	for _, turn := range permutations(m.acceptors) {
		fits := !c.wrong.wiped || turn[1] == 1
		for i, k := range turn {
			for _, members := range c.members {
				fits = fits && members.acceptors>>i&1 == members.acceptors>>k&1
			}
		}
		if fits {
			m.turns = append(m.turns, turn)
		}
	}
	return m
}

func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for i := 0; i <= len(p); i++ {
			all = append(all, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return all
}

func (m *changeModel) initial() []uint64 {
	var s changeState
	for i := range m.acceptors {
		first := slices.IndexFunc(m.members, func(c changeMembers) bool { return c.acceptors>>i&1 == 1 })
		s.acceptors[i].level = uint64(max(first, 0))
	}
	w := make([]uint64, m.acceptors+1)
	m.pack(&s, w)
	return w
}

const forgottenPlace = 31

// place returns the place of b in the order of all ballots.
func (m *changeModel) place(b paxos.Ballot) uint64 {
	if b.IsForgotten() {
		return forgottenPlace
	}
	c := b.Configuration()
	return m.base[c] + b.Round - paxos.Base(c).Round
}

var changeValues = [2]paxos.Value{"a", "b"}

func valueNumber(v paxos.Value) uint64 {
	if v == changeValues[1] {
		return 1
	}
	return 0
}

// pack writes a state as words: one for each acceptor, and one for the rest.
func (m *changeModel) pack(s *changeState, w []uint64) {
	for i := range m.acceptors {
		a := &s.acceptors[i]
		x := a.level | a.complete<<2 | a.forgot<<4 | m.place(a.acceptor.Promised)<<6 | m.place(a.acceptor.Accepted)<<11 |
			valueNumber(a.acceptor.Value)<<16 | a.imported<<17
		for b := range m.all {
			if p := s.promises[i][b]; p.given {
				x |= (1 | boolBit(p.complete)<<1 | valueNumber(p.value)<<2 | m.promisePlace(p.accepted)<<3) << (23 + 6*b)
			}
		}
		w[i] = x
	}
	x := s.decided | s.read<<2 | s.answers<<5
	for b := range m.all {
		x |= (s.accepts[b] | s.votes[b]<<2) << (11 + 8*b)
	}
	w[m.acceptors] = x
}

// promisePlace is place for the vote of a promise, in three bits.
func (m *changeModel) promisePlace(b paxos.Ballot) uint64 {
	if p := m.place(b); p < 8 {
		return p
	}
	panic("a promise reports a ballot that has no room")
}

func boolBit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (m *changeModel) unpack(w []uint64) (s changeState) {
	for i := range m.acceptors {
		x := w[i]
		a := &s.acceptors[i]
		a.level, a.complete, a.forgot, a.imported = x&3, x>>2&3, x>>4&3, x>>17&63
		a.acceptor = paxos.Acceptor{Promised: m.byPlace[x>>6&31], Accepted: m.byPlace[x>>11&31]}
		if !a.acceptor.Accepted.IsZero() {
			a.acceptor.Value = changeValues[x>>16&1]
		}
		for b := range m.all {
			if y := x >> (23 + 6*b); y&1 == 1 {
				p := changePromise{given: true, complete: y&2 != 0, accepted: m.byPlace[y>>3&7]}
				if !p.accepted.IsZero() {
					p.value = changeValues[y>>2&1]
				}
				s.promises[i][b] = p
			}
		}
	}
	x := w[m.acceptors]
	s.decided, s.read, s.answers = x&3, x>>2&7, x>>5&63
	for b := range m.all {
		y := x >> (11 + 8*b)
		s.accepts[b], s.votes[b] = y&3, y>>2&63
	}
	return s
}

// Canonical turns s into the least of the states that differ in the names of acceptors of equal membership, or of the values.
func (m *changeModel) Canonical(s []uint64) {
	best := [mostAcceptors + 1]uint64{}
	copy(best[:], s)
	var t [mostAcceptors + 1]uint64
	for _, turn := range m.turns {
		for swap := range uint64(2) {
			for i, from := range turn {
				x := s[from]
				x = x&^(63<<17) | turned(x>>17&63, turn)<<17
				if x>>11&31 != 0 {
					x ^= swap << 16
				}
				for b := range m.all {
					if y := x >> (23 + 6*b); y&1 == 1 && y>>3&7 != 0 {
						x ^= swap << (2 + 23 + 6*b)
					}
				}
				t[i] = x
			}
			x := s[m.acceptors]
			x = x&^(63<<5) | turned(x>>5&63, turn)<<5
			for b := range m.all {
				y := x >> (11 + 8*b)
				if y&3 != 0 {
					x ^= swap * 3 << (11 + 8*b)
				}
				x = x&^(63<<(13+8*b)) | turned(y>>2&63, turn)<<(13+8*b)
			}
			t[m.acceptors] = x
			if slices.Compare(t[:m.acceptors+1], best[:m.acceptors+1]) < 0 {
				best = t
			}
		}
	}
	copy(s, best[:])
}

func turned(set uint64, turn []int) (to uint64) {
	for i, from := range turn {
		to |= set >> from & 1 << i
	}
	return to
}

// within returns the members of set, by their places in the ascending list of those of place.
func within(set, place uint64) (s paxos.Set) {
	for n := 0; place != 0; place &= place - 1 {
		if set>>bits.TrailingZeros64(place)&1 == 1 {
			s = s.With(n)
		}
		n++
	}
	return s
}

func (m *changeModel) phase1(c uint64, set uint64) bool {
	return m.members[c].quorum.Phase1(within(set, m.members[c].acceptors))
}

func (m *changeModel) phase2(c uint64, set uint64) bool {
	return m.members[c].quorum.Phase2(within(set, m.members[c].acceptors))
}

// same reports whether configuration c has the acceptors and the quorum of the one before. Then it needs no import and no joint phase.
// An acceptor that is complete stays so. One that is not can still import from a complete one.
func (m *changeModel) same(c uint64) bool {
	return c > 0 && m.members[c].acceptors == m.members[c-1].acceptors && (m.members[c].quorum == m.members[c-1].quorum || m.wrong.anyQuorumIsSame)
}

// chosen returns the numbers of the values that were chosen, as bits.
func (m *changeModel) chosen(s *changeState) (values uint64) {
	for b, ballot := range m.all {
		c := ballot.Configuration()
		if s.accepts[b] != 0 && (m.phase2(c, s.votes[b]) ||
			m.wrong.oldVotesByNew && int(c)+1 < len(m.members) && m.phase2(c+1, s.votes[b])) {
			values |= 1 << (s.accepts[b] - 1)
		}
	}
	return values
}

var (
	errTwoValues = errors.New("two values are chosen")
	errStaleRead = errors.New("a read says: nothing was chosen, after a choice")
)

// Check: see explore.Model.
func (m *changeModel) Check(w []uint64) (seen uint64, err error) {
	s := m.unpack(w)
	values := m.chosen(&s)
	if values == 3 {
		return 0, errTwoValues
	}
	first, last := false, false
	for b, ballot := range m.all {
		if c := ballot.Configuration(); s.accepts[b] != 0 && m.phase2(c, s.votes[b]) {
			first, last = first || c == 0, last || c > 0 && int(c) == len(m.members)-1
		}
	}
	for bit, is := range map[uint64]bool{seenFirst: first, seenLast: last, seenBoth: first && last,
		seenForgotten: values != 0 && s.acceptors[0].acceptor.Promised.IsForgotten()} {
		if is {
			seen |= bit
		}
	}
	if m.saysNothing(&s) {
		seen |= seenRead
		if s.read&2 != 0 {
			return seen, errStaleRead
		}
	}
	return seen, nil
}

// saysNothing reports whether the read can end, and says that nothing was chosen.
func (m *changeModel) saysNothing(s *changeState) bool {
	if m.reader == 0 {
		return false
	}
	c := uint64(m.reader - 1)
	if !m.phase1(c, s.answers) || !m.phase2(c, s.answers) && !m.wrong.readPhase1 {
		return false
	}
	return c == 0 || m.same(c) || s.read&4 != 0 || m.phase1(c-1, s.answers) || m.wrong.readNewOnly
}

// text tells a step, for the trace of a violation.
func (m *changeModel) text(action uint64) string {
	return fmt.Sprintf("%s %d %d", changeActions[action>>16], action>>8&255, action&255)
}
