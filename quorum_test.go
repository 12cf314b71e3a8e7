package paxos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSet(t *testing.T) {
	var s Set
	assert.Equal(t, "{}", s.String())
	s = s.With(0).With(63).With(5).With(5)
	assert.Equal(t, "{0, 5, 63}", s.String())
	assert.Equal(t, 3, s.Len())
	for i := -2; i < 70; i++ {
		assert.Equal(t, i == 0 || i == 5 || i == 63, s.Has(i), "position %d", i)
	}
	for _, i := range []int{-1, 64, 1 << 30} {
		assert.PanicsWithValue(t, fmt.Sprintf("paxos: Set.With: position %d is not in 0 to 63", i), func() { s.With(i) })
	}
}

func TestSetAll(t *testing.T) {
	for n := -1; n <= 66; n++ {
		all := All(n)
		assert.Equal(t, min(max(n, 0), 64), all.Len(), "All(%d)", n)
		for i := range 64 {
			assert.Equal(t, i < n, all.Has(i), "All(%d) at %d", n, i)
		}
	}
}

// A dumbQuorum is a second implementation, over []bool and with loops only, to compare the first with.
type dumbQuorum struct{ phase1, phase2 func(in []bool) bool }

func dumbCount(need int) func(in []bool) bool {
	return func(in []bool) bool {
		n := 0
		for _, is := range in {
			if is {
				n++
			}
		}
		return n >= need
	}
}

func dumbMajority(in []bool) bool {
	yes, no := 0, 0
	for _, is := range in {
		if is {
			yes++
		} else {
			no++
		}
	}
	return yes > no
}

func dumbWeighted(weights []int) func(in []bool) bool {
	return func(in []bool) bool {
		yes, no := 0, 0
		for i, is := range in {
			if is {
				yes += weights[i]
			} else {
				no += weights[i]
			}
		}
		return yes > no
	}
}

// dumbLines wants a full line of length cells, each step apart, which begins at one of the starts.
func dumbLines(starts []int, length, step int) func(in []bool) bool {
	return func(in []bool) bool {
		for _, start := range starts {
			full := true
			for i := range length {
				full = full && in[start+i*step]
			}
			if full {
				return true
			}
		}
		return false
	}
}

func dumbGrid(rows, cols int) dumbQuorum {
	var rowStarts, colStarts []int
	for r := range rows {
		rowStarts = append(rowStarts, r*cols)
	}
	for c := range cols {
		colStarts = append(colStarts, c)
	}
	return dumbQuorum{dumbLines(rowStarts, cols, 1), dumbLines(colStarts, rows, cols)}
}

type quorumPair struct {
	fast Quorum
	dumb dumbQuorum
}

// quorumPairs returns quorums of every kind for n acceptors: all majorities, flexible ones and grids, and some weights.
func quorumPairs(t *testing.T, n int) (pairs []quorumPair) {
	t.Helper()
	add := func(q Quorum, err error, dumb dumbQuorum) {
		require.NoError(t, err)
		require.Equal(t, n, q.Size())
		pairs = append(pairs, quorumPair{q, dumb})
	}
	add(Majority(n), nil, dumbQuorum{dumbMajority, dumbMajority})
	for n1 := 1; n1 <= n; n1++ {
		for n2 := n - n1 + 1; n2 <= n; n2++ {
			q, err := Flexible(n, n1, n2)
			add(q, err, dumbQuorum{dumbCount(n1), dumbCount(n2)})
		}
	}
	for rows := 1; rows <= n; rows++ {
		if n%rows == 0 {
			q, err := Grid(rows, n/rows)
			add(q, err, dumbGrid(rows, n/rows))
		}
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	for _, most := range []int{1, 1, 3, 3, 10, 65535} {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = rng.IntN(most + 1)
		}
		weights[rng.IntN(n)] = most // not all zero
		q, err := Weighted(weights)
		add(q, err, dumbQuorum{dumbWeighted(weights), dumbWeighted(weights)})
	}
	return pairs
}

func members(s Set, n int) []bool {
	in := make([]bool, n)
	for i := range in {
		in[i] = s.Has(i)
	}
	return in
}

func TestQuorumsCountLikeADumbSecondImplementation(t *testing.T) {
	for n := 1; n <= 10; n++ {
		for _, q := range quorumPairs(t, n) {
			for s := Set(0); s <= All(n); s++ {
				in := members(s, n)
				want1, want2 := q.dumb.phase1(in), q.dumb.phase2(in)
				beyond := s | ^All(n)
				if q.fast.Phase1(s) != want1 || q.fast.Phase2(s) != want2 {
					t.Fatalf("%s: %v: phase 1 is %t, want %t; phase 2 is %t, want %t",
						q.fast, s, q.fast.Phase1(s), want1, q.fast.Phase2(s), want2)
				}
				if q.fast.Phase1(beyond) != want1 || q.fast.Phase2(beyond) != want2 {
					t.Fatalf("%s: %v: positions from %d on count", q.fast, s, n)
				}
			}
		}
	}
}

// "Every phase-1 quorum meets every phase-2 quorum": all pairs are tried, without CheckQuorum's trick of complements.
func TestQuorumsMeet(t *testing.T) {
	for n := 1; n <= 6; n++ {
		for _, q := range quorumPairs(t, n) {
			assert.NoError(t, CheckQuorum(q.fast), "%s", q.fast)
			assert.True(t, dumbMeet(q.fast), "%s", q.fast)
		}
	}
}

func dumbMeet(q Quorum) bool {
	for s1 := Set(0); s1 <= All(q.Size()); s1++ {
		for s2 := Set(0); s2 <= All(q.Size()); s2++ {
			if q.Phase1(s1) && q.Phase2(s2) && s1&s2 == 0 {
				return false
			}
		}
	}
	return true
}

// S5: a majority is more than half of the nodes; two majorities share a node.
func TestMajorityOfEverySize(t *testing.T) {
	for n := 1; n <= MaxAcceptors; n++ {
		q := Majority(n)
		require.NoError(t, CheckQuorum(q))
		need := n + 1
		for k := n; k >= 0 && q.Phase1(All(k)); k-- {
			need = k
		}
		for k := range n + 1 {
			first, last := All(k), All(n)&^All(n-k)
			assert.Equal(t, k >= need, q.Phase1(first), "%s: the first %d", q, k)
			assert.Equal(t, k >= need, q.Phase2(last), "%s: the last %d", q, k)
		}
		assert.Greater(t, 2*need, n, "%s: two that do not meet", q)
		assert.LessOrEqual(t, 2*(need-1), n, "%s: needs more than it must", q)
		assert.Equal(t, fmt.Sprintf("majority(%d) needs %d", n, need), QuorumNeeds(q, false))
	}
	for n, need := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4, 9: 5, 64: 33} {
		assert.True(t, Majority(n).Phase1(All(need)), "%d of %d", need, n)
		assert.False(t, Majority(n).Phase1(All(need-1)), "%d of %d", need-1, n)
	}
}

func TestQuorumText(t *testing.T) {
	texts := map[string]string{}
	for n := 1; n <= 10; n++ {
		for _, q := range quorumPairs(t, n) {
			for s := Set(0); s <= All(n); s++ {
				// The text identifies the quorum: the same text, the same answers.
				key := fmt.Sprintf("%s %d", q.fast, s)
				answer := fmt.Sprint(q.fast.Phase1(s), q.fast.Phase2(s))
				require.Equal(t, answer, cmp.Or(texts[key], answer), key)
				texts[key] = answer
			}
		}
	}
	weighted, err := Weighted([]int{3, 0, 65535})
	require.NoError(t, err)
	flexible, err := Flexible(4, 3, 2)
	require.NoError(t, err)
	grid, err := Grid(2, 3)
	require.NoError(t, err)
	for want, q := range map[string]Quorum{
		"majority(5) needs 3": Majority(5), "flexible(4,3,2) needs 3": flexible,
		"weighted(3,0,65535) is not reached": weighted, "grid(2,3) is not reached": grid,
	} {
		assert.Equal(t, want, QuorumNeeds(q, false))
	}
	assert.Equal(t, "flexible(4,3,2) needs 2", QuorumNeeds(flexible, true))
}

// A foreignQuorum is one that the package does not know: counts, with a say in what CheckQuorum must find.
type foreignQuorum struct {
	n, phase1, phase2 int
	except            int // a count that is no phase-1 quorum, against monotony; 0: none
}

func (q foreignQuorum) excepts(s Set) bool { return q.except > 0 && s.Len() == q.except }

func (q foreignQuorum) Size() int         { return q.n }
func (q foreignQuorum) Phase1(s Set) bool { return s.Len() >= q.phase1 && !q.excepts(s) }
func (q foreignQuorum) Phase2(s Set) bool { return s.Len() >= q.phase2 }
func (q foreignQuorum) String() string {
	return fmt.Sprintf("foreign(%d,%d,%d)", q.n, q.phase1, q.phase2)
}

type slicedQuorum struct {
	foreignQuorum
	_ []string // makes it incomparable
}

func TestCheckQuorumRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		q          Quorum
	}{
		{"nil", "nil", nil},
		{"no acceptors", "majority(0): 0 acceptors: want 1 to 64", Majority(0)},
		{"negative", "majority(-3): -3 acceptors: want 1 to 64", Majority(-3)},
		{"too many", "majority(65): 65 acceptors: want 1 to 64", Majority(65)},
		{"foreign: no acceptors", "0 acceptors: want 1 to 64", foreignQuorum{}},
		{"foreign: 65", "65 acceptors: want 1 to 64", foreignQuorum{n: 65, phase1: 33, phase2: 33}},
		{"foreign: 21", "foreign(21,11,11): 21 acceptors: a quorum that is not of package paxos is checked up to 20",
			foreignQuorum{n: 21, phase1: 11, phase2: 11}},
		{"foreign: do not meet", "phase-1 quorum {0, 1} and phase-2 quorum {2, 3} do not meet, so two values could be chosen",
			foreignQuorum{n: 4, phase1: 2, phase2: 2}},
		{"foreign: nothing is enough", "do not meet", foreignQuorum{n: 3, phase1: 0, phase2: 3}},
		{"foreign: never", "all 3 acceptors together are no quorum", foreignQuorum{n: 3, phase1: 2, phase2: 4}},
		{"foreign: not monotone", "foreign(5,3,3): {0, 1, 2} is a quorum, but {0, 1, 2, 3} is not: it must be monotone",
			foreignQuorum{n: 5, phase1: 3, phase2: 3, except: 4}},
		{"foreign: not comparable", "its type paxos.slicedQuorum is not comparable",
			slicedQuorum{foreignQuorum: foreignQuorum{n: 3, phase1: 2, phase2: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckQuorum(c.q)
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, "paxos: quorum")
		})
	}
}

func TestCheckQuorumAcceptsForeignOnes(t *testing.T) {
	for n := 1; n <= 12; n++ {
		assert.NoError(t, CheckQuorum(foreignQuorum{n: n, phase1: n/2 + 1, phase2: n/2 + 1}))
	}
	assert.NoError(t, CheckQuorum(foreignQuorum{n: 20, phase1: 20, phase2: 1}), "20 is the most")
}

func TestQuorumConstructorsRefuse(t *testing.T) {
	flexible := func(n, n1, n2 int) error { _, err := Flexible(n, n1, n2); return err }
	weighted := func(w ...int) error { _, err := Weighted(w); return err }
	grid := func(rows, cols int) error { _, err := Grid(rows, cols); return err }
	for want, err := range map[string]error{
		"phase-1 quorum {0, 1} and phase-2 quorum {2, 3} do not meet": flexible(4, 2, 2),
		"flexible(0,1,1): 0 acceptors":                                flexible(0, 1, 1),
		"flexible(65,33,33): 65 acceptors":                            flexible(65, 33, 33),
		"flexible(3,0,3): each phase needs 1 to 3":                    flexible(3, 0, 3),
		"flexible(3,3,0): each phase needs 1 to 3":                    flexible(3, 3, 0),
		"flexible(3,4,1): each phase needs 1 to 3":                    flexible(3, 4, 1),
		"flexible(3,1,4): each phase needs 1 to 3":                    flexible(3, 1, 4),
		"weighted: 0 acceptors":                                       weighted(),
		"weighted: 65 acceptors":                                      weighted(make([]int, 65)...),
		"weighted(0,0,0): all weights are zero":                       weighted(0, 0, 0),
		"weight -1 at position 1 is not in 0 to 65535":                weighted(1, -1),
		"weight 65536 at position 0 is not in 0 to 65535":             weighted(65536),
		"grid quorum: 0 rows of 3":                                    grid(0, 3),
		"grid quorum: 3 rows of -1":                                   grid(3, -1),
		"grid(13,5): 65 acceptors":                                    grid(13, 5),
		"grid quorum: 65536 rows of 65536":                            grid(1<<16, 1<<16),
	} {
		assert.ErrorContains(t, err, want)
	}
	_, err := Grid(8, 8)
	assert.NoError(t, err)
}

// Whatever quorum does not meet: the error names a pair that are quorums, do not meet, and need all they have.
func TestCheckQuorumNamesAPair(t *testing.T) {
	found := 0
	for n := 1; n <= 6; n++ {
		for n1 := 1; n1 <= n; n1++ {
			for n2 := 1; n2 <= n; n2++ {
				for _, q := range []Quorum{flexible{n, n1, n2}, foreignQuorum{n: n, phase1: n1, phase2: n2}} {
					err := CheckQuorum(q)
					require.Equal(t, dumbMeet(q), err == nil, "%s: %v", q, err)
					if err != nil {
						checkPair(t, q, err)
						found++
					}
				}
			}
		}
	}
	assert.Positive(t, found)
}

func checkPair(t *testing.T, q Quorum, err error) {
	t.Helper()
	texts := regexp.MustCompile(`\{([0-9, ]*)\}`).FindAllStringSubmatch(err.Error(), -1)
	require.Len(t, texts, 2, err.Error())
	var sets [2]Set
	for i, text := range texts {
		for position := range strings.SplitSeq(text[1], ", ") {
			p, err := strconv.Atoi(position)
			require.NoError(t, err)
			sets[i] = sets[i].With(p)
		}
	}
	assert.Zero(t, sets[0]&sets[1], err)
	assert.True(t, q.Phase1(sets[0]), err)
	assert.True(t, q.Phase2(sets[1]), err)
	for i := range q.Size() {
		assert.False(t, sets[0].Has(i) && q.Phase1(sets[0]&^(1<<i)), "%v: position %d is not needed", err, i)
		assert.False(t, sets[1].Has(i) && q.Phase2(sets[1]&^(1<<i)), "%v: position %d is not needed", err, i)
	}
}

// A tableQuorum is any quorum of up to 6 acceptors at all: bit s of a table says whether the set s is one.
type tableQuorum struct {
	n              int
	phase1, phase2 uint64
}

func (q tableQuorum) Size() int         { return q.n }
func (q tableQuorum) Phase1(s Set) bool { return q.phase1>>(s&All(q.n))&1 == 1 }
func (q tableQuorum) Phase2(s Set) bool { return q.phase2>>(s&All(q.n))&1 == 1 }
func (q tableQuorum) String() string    { return fmt.Sprintf("table(%d,%x,%x)", q.n, q.phase1, q.phase2) }

// dumbValid is CheckQuorum by the words of its comment: both phases monotone, all together a quorum, every pair meets.
func dumbValid(q Quorum) bool {
	all := All(q.Size())
	for s := Set(0); s <= all; s++ {
		for larger := Set(0); larger <= all; larger++ {
			if s&^larger == 0 && (q.Phase1(s) && !q.Phase1(larger) || q.Phase2(s) && !q.Phase2(larger)) {
				return false
			}
		}
	}
	return q.Phase1(all) && q.Phase2(all) && dumbMeet(q)
}

func TestCheckQuorumOfAnyTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	// grow returns the table of all sets that contain one of a few random ones.
	grow := func(n int) (table uint64) {
		for range 1 + rng.IntN(3) {
			seed := Set(rng.Uint64()) & All(n)
			for s := Set(0); s <= All(n); s++ {
				if seed&^s == 0 {
					table |= 1 << s
				}
			}
		}
		return table
	}
	good, bad := 0, 0
	for range 4000 {
		n := 1 + rng.IntN(6)
		q := tableQuorum{n: n, phase1: grow(n), phase2: grow(n)}
		if rng.IntN(4) == 0 {
			q.phase1 ^= 1 << (Set(rng.Uint64()) & All(n)) // most likely not monotone any more
		}
		err := CheckQuorum(q)
		require.Equal(t, dumbValid(q), err == nil, "%s: %v", q, err)
		if err == nil {
			good++
		} else {
			bad++
		}
	}
	assert.Greater(t, good, 200)
	assert.Greater(t, bad, 200)
}
