package standing_test

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A config is a space of the model. Acceptors are bits, from the right.
type config struct {
	size      [3]int // acceptors, and those of a quorum of phase 1 and phase 2; default: 3, 2, 2
	order     string // the ballots: see newCast
	slow      uint8  // acceptors whose saves are steps of their own, and that crash at any time, any number of times
	deaf      uint8  // acceptors that never learn a decision
	forget    uint8  // acceptors that may forget the name at any time
	joint     bool   // a save takes record and floor together, else each by itself, in any order
	late      bool   // of pages that begin at the Index of an answer or above, it does not matter what they tell of forgetting
	cursors   bool   // pulls are steps; else a server that is behind does not use its ballot
	read      bool   // a read asks for what was accepted
	oneBallot bool   // stop at two values in one ballot, too
	unnoticed bool   // attempts do not notice two values in one ballot: see cast.blind
	wrong     rules
}

// A record is what an acceptor holds of the name: places of ballots, 1 + the value, whether the decision is known, and its Index.
type record struct{ prom, acc, val, chosen, index uint8 }

// A member is one acceptor: its volatile and its durable state, the answers that wait for a save, and those that it has sent.
type member struct {
	v, d                  record
	floor, savedFloor     uint8
	heldPromise, heldVote [mostBallots]uint8 // they wait for the save of the record
	heldStood             [mostBallots]uint8 // that waits for the save of the floor
	promise, vote, stood  [mostBallots]uint8 // sent. A Stood is a bit for its Index, if the name was not in its list
	cursor, forgot        [mostOwners]uint8  // of each server that stands: the Index that it has pulled up to, and the newest forgetting one that it knows
	sealed                uint8              // the configuration that it lives in
	noted, loaded, silent uint8              // rules left out; silent: it told the read that it has accepted nothing
}

// A state is a member for each acceptor, and the messages of those that propose.
type state struct {
	members [mostAcceptors]member
	accepts [mostBallots]uint8 // values asked for, as bits
	life    [mostBallots]uint8 // of a standing ballot: 0 it has not begun, 1 its life runs, 2 that is over
	mark    [mostBallots]uint8 // a server that does not vote has used the ballot
	read    uint8              // 1: it began; 3: after a choice
}

// A model explores a config: see explore.Model.
type model struct {
	config
	*cast
	stands []int // servers that stand, by their number in member.cursor
	class  [mostAcceptors]int
	uses   map[useKey]bool
}

// A useKey is what mayUse depends on.
type useKey struct {
	ballot uint8
	view   ownView
	said   said
}

func newModel(t require.TestingT, c config) *model {
	if c.size[0] == 0 {
		c.size = [3]int{3, 2, 2}
	}
	m := &model{config: c, cast: newCast(t, c.size[0], c.size[1], c.size[2], c.order), uses: map[useKey]bool{}}
	m.blind = c.unnoticed
	for i := range m.acceptors {
		m.class[i] = int(c.slow>>i&1) | int(c.deaf>>i&1)<<1 | int(c.forget>>i&1)<<2
	}
	for b, kind := range m.kinds {
		o := m.owners[b]
		if o >= 0 && o < m.acceptors {
			m.class[o] = 100 + o
		}
		if kind == 'S' && !slices.Contains(m.stands, o) {
			m.stands = append(m.stands, o)
		}
	}
	return m
}

func (m *model) initial() []uint64 { return make([]uint64, 2*m.acceptors+1) }

func (c *config) isSlow(i int) bool { return c.slow>>i&1 == 1 }

func (r *record) walk(f *bitField) {
	f.bits(&r.prom, 3)
	f.bits(&r.acc, 3)
	f.bits(&r.val, 2)
	f.bits(&r.chosen, 1)
	f.bits(&r.index, 3)
}

// walk packs or unpacks s: two words for each acceptor, and one for the rest.
func (m *model) walk(s *state, f *bitField) {
	for i := range m.acceptors {
		x := &s.members[i]
		x.v.walk(f)
		f.bits(&x.floor, 3)
		if m.isSlow(i) {
			x.d.walk(f)
			f.bits(&x.savedFloor, 3)
		} else if f.out {
			x.d, x.savedFloor = x.v, x.floor
		}
		for o := range x.cursor {
			f.bits(&x.cursor[o], 2)
			f.bits(&x.forgot[o], 2)
		}
		f.bits(&x.noted, 2)
		f.bits(&x.loaded, 1)
		f.bits(&x.silent, 1)
		f.bits(&x.sealed, 1)
		f.word()
		for b := range m.ballots {
			f.bits(&x.vote[b], 2)
			f.bits(&x.heldVote[b], 2)
			if m.kinds[b] == 'S' {
				f.bits(&x.stood[b], 4)
				f.bits(&x.heldStood[b], 4)
			} else {
				f.bits(&x.promise[b], 4)
				f.bits(&x.heldPromise[b], 4)
			}
		}
		f.word()
	}
	for b := range m.ballots {
		f.bits(&s.accepts[b], 2)
		f.bits(&s.life[b], 2)
		f.bits(&s.mark[b], 1)
	}
	f.bits(&s.read, 2)
}

func (m *model) pack(s *state, w []uint64) {
	clear(w)
	m.walk(s, &bitField{words: w})
}

func (m *model) unpack(w []uint64) (s state) {
	m.walk(&s, &bitField{words: w, out: true})
	return s
}

// Canonical turns w into the least of the states that differ in the names of equal acceptors, or of the values.
func (m *model) Canonical(w []uint64) {
	var other [2*mostAcceptors + 1]uint64
	s := m.unpack(w)
	m.exchange(&s)
	m.pack(&s, other[:len(w)])
	m.sort(w)
	m.sort(other[:len(w)])
	if slices.Compare(other[:len(w)], w) < 0 {
		copy(w, other[:])
	}
}

// sort sorts acceptors of the same class.
func (m *model) sort(w []uint64) {
	for i := 1; i < m.acceptors; i++ {
		for k := range i {
			if m.class[k] == m.class[i] && slices.Compare(w[2*i:2*i+2], w[2*k:2*k+2]) < 0 {
				w[2*i], w[2*i+1], w[2*k], w[2*k+1] = w[2*k], w[2*k+1], w[2*i], w[2*i+1]
			}
		}
	}
}

var (
	otherSet   = [4]uint8{0, 2, 1, 3}
	otherValue = [4]uint8{0, 2, 1}
)

// otherPromise is the promise with the other value, if it has one.
func otherPromise(p uint8) uint8 {
	if p < 2 {
		return p
	}
	return 1 + ((p - 1) ^ 1)
}

// exchange exchanges the two values.
func (m *model) exchange(s *state) {
	for i := range m.acceptors {
		x := &s.members[i]
		x.v.val, x.d.val = otherValue[x.v.val], otherValue[x.d.val]
		for b := range m.ballots {
			x.vote[b], x.heldVote[b] = otherSet[x.vote[b]], otherSet[x.heldVote[b]]
			if m.kinds[b] != 'S' {
				x.promise[b], x.heldPromise[b] = otherPromise(x.promise[b]), otherPromise(x.heldPromise[b])
			}
		}
	}
	for b := range m.ballots {
		s.accepts[b] = otherSet[s.accepts[b]]
	}
}

// voters returns the acceptors that have voted for any of the values in ballot b.
func (m *model) voters(s *state, b int, values uint8) (set paxos.Set) {
	for i := range m.acceptors {
		if s.members[i].vote[b]&values != 0 {
			set = set.With(i)
		}
	}
	return set
}

// chosen returns the values that are chosen, as bits.
func (m *model) chosen(s *state) (set uint8) {
	for b := range m.ballots {
		for v := range uint8(2) {
			if m.quorums[b].Phase2(m.voters(s, b, 1<<v)) {
				set |= 1 << v
			}
		}
	}
	return set
}

// Check: see explore.Model.
func (m *model) Check(w []uint64) (seen uint64, err error) {
	s := m.unpack(w)
	seen = m.seen(&s)
	if m.chosen(&s) == 3 {
		return seen, errTwoValues
	}
	for b, kind := range m.kinds {
		if m.oneBallot && kind == 'S' && s.accepts[b] == 3 {
			return seen, errOneBallot
		}
	}
	var silent paxos.Set
	for i := range m.acceptors {
		if s.members[i].silent == 1 {
			silent = silent.With(i)
		}
	}
	if m.read && (m.quorum.Phase1(silent) || m.wrong.readPhase2 && m.quorum.Phase2(silent)) {
		seen |= seenReadNothing
		if s.read == 3 {
			return seen, errStaleRead
		}
	}
	return seen, nil
}

// seen returns what s is an example of.
func (m *model) seen(s *state) (seen uint64) {
	for b, kind := range m.kinds {
		chosen := m.quorums[b].Phase2(m.voters(s, b, 3))
		switch {
		case chosen && kind == 'S':
			seen |= seenStanding
		case chosen:
			seen |= seenClassic
		}
		for c := range b {
			if kind == 'S' && chosen && m.voters(s, b, 3)&m.voters(s, c, 3) != 0 {
				seen |= seenLower
			}
			if kind == 'S' && m.kinds[c] == 'S' && m.owners[b] == m.owners[c] && s.life[c] == 2 && s.accepts[b] != 0 {
				seen |= seenLater
			}
		}
	}
	if seen&(seenStanding|seenClassic) == seenStanding|seenClassic {
		seen |= seenBoth
	}
	return seen
}
