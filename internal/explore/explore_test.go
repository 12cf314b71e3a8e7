package explore

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jugs is the puzzle of the two jugs: fill, empty or pour until one holds goal.
type jugs struct {
	sizes  [2]uint64
	goal   uint64
	anyJug bool // take it for a symmetry which of the jugs is which
}

const (
	fill = iota
	empty
	pour
)

var errFound = errors.New("found")

func (j jugs) Next(s []uint64, emit func(uint64, []uint64)) error {
	for i := range uint64(2) {
		other := 1 - i
		step := func(action, here, there uint64) {
			next := []uint64{0, 0}
			next[i], next[other] = here, there
			emit(action<<1|i, next)
		}
		step(fill, j.sizes[i], s[other])
		step(empty, 0, s[other])
		poured := min(s[i], j.sizes[other]-s[other])
		step(pour, s[i]-poured, s[other]+poured)
	}
	return nil
}

func (j jugs) Check(s []uint64) (seen uint64, err error) {
	if s[0] == j.goal || s[1] == j.goal {
		err = errFound
	}
	return 1<<s[0] | 1<<(8+s[1]), err
}

func (j jugs) Canonical(s []uint64) {
	if j.anyJug && s[0] > s[1] {
		s[0], s[1] = s[1], s[0]
	}
}

func run(t *testing.T, m Model, initial ...uint64) Result {
	t.Helper()
	r, err := Run(Space{Initial: initial, Model: func() Model { return m }})
	require.NoError(t, err)
	return r
}

// TestWholeSpace visits all states of two jugs of 3 and 5: those in which one of them is empty or full, and no more.
func TestWholeSpace(t *testing.T) {
	r := run(t, jugs{sizes: [2]uint64{3, 5}, goal: 9}, 0, 0)
	assert.Nil(t, r.Violation)
	assert.Equal(t, uint64(16), r.Distinct)
	assert.Equal(t, uint64(1+6*16), r.Generated)
	assert.Equal(t, 8, r.Depth)
	assert.Equal(t, uint64(0b111111_00001111), r.Seen)
}

// TestShortestWay measures 4 out with jugs of 3 and 5, which takes 6 steps and no fewer.
func TestShortestWay(t *testing.T) {
	r := run(t, jugs{sizes: [2]uint64{3, 5}, goal: 4}, 0, 0)
	require.NotNil(t, r.Violation)
	assert.ErrorIs(t, r.Violation.Err, errFound)
	assert.Equal(t, []Step{
		{0, []uint64{0, 0}},
		{fill<<1 | 1, []uint64{0, 5}},
		{pour<<1 | 1, []uint64{3, 2}},
		{empty << 1, []uint64{0, 2}},
		{pour<<1 | 1, []uint64{2, 0}},
		{fill<<1 | 1, []uint64{2, 5}},
		{pour<<1 | 1, []uint64{3, 4}},
	}, r.Violation.Steps)
	assert.Equal(t, 6, r.Depth, "the states on the way before the last")
}

// TestInitialIsWrong finds what is wrong before any step.
func TestInitialIsWrong(t *testing.T) {
	r := run(t, jugs{sizes: [2]uint64{3, 5}, goal: 2}, 2, 0)
	require.NotNil(t, r.Violation)
	assert.Equal(t, []Step{{State: []uint64{2, 0}}}, r.Violation.Steps)
}

// grid is a walk over a grid, up or right, of which each step can be wrong.
type grid struct {
	side, wrong uint64 // wrong: a step that makes the sum this much must not happen
	symmetry    bool
}

func (g grid) Next(s []uint64, emit func(uint64, []uint64)) error {
	for i := range s {
		next := []uint64{s[0], s[1]}
		next[i]++
		if next[i] == g.side {
			continue
		}
		emit(uint64(i), next)
		if next[0]+next[1] == g.wrong {
			return errFound
		}
	}
	return nil
}

func (g grid) Check([]uint64) (uint64, error) { return 0, nil }

func (g grid) Canonical(s []uint64) {
	if g.symmetry && s[0] > s[1] {
		s[0], s[1] = s[1], s[0]
	}
}

// TestSizes explores enough states for several batches, pages and growths of the tables.
func TestSizes(t *testing.T) {
	const side = 700
	r := run(t, grid{side: side, wrong: 2 * side}, 0, 0)
	assert.Equal(t, Result{Distinct: side * side, Generated: 1 + 2*side*(side-1), Depth: 2*side - 1}, r)
	r = run(t, grid{side: side, wrong: 2 * side, symmetry: true}, 0, 0)
	assert.Equal(t, uint64(side*(side+1)/2), r.Distinct)
	assert.Equal(t, 2*side-1, r.Depth)
}

// TestWorkers gets the same result, the way to a wrong step included, from any number of workers, every time.
func TestWorkers(t *testing.T) {
	var first Result
	for i := range 12 {
		m := grid{side: 300, wrong: 450}
		r, err := Run(Space{Initial: []uint64{0, 0}, Model: func() Model { return m }, Workers: 1 + i%4})
		require.NoError(t, err)
		require.NotNil(t, r.Violation)
		assert.ErrorIs(t, r.Violation.Err, errFound)
		assert.Len(t, r.Violation.Steps, 451)
		if i == 0 {
			first = r
		}
		require.Equal(t, first.Violation, r.Violation)
		assert.Equal(t, first.Distinct, r.Distinct)
	}
}

// TestSymmetryTrace tells the way as it is taken, in states that follow from each other, not in those that stand for
// them.
func TestSymmetryTrace(t *testing.T) {
	r := run(t, grid{side: 9, wrong: 12, symmetry: true}, 0, 0)
	require.NotNil(t, r.Violation)
	require.Len(t, r.Violation.Steps, 13)
	for i, step := range r.Violation.Steps[1:] {
		want := []uint64{r.Violation.Steps[i].State[0], r.Violation.Steps[i].State[1]}
		want[step.Action]++
		assert.Equal(t, want, step.State)
	}
}

// TestNoSymmetry says so when Canonical merges states that lead to different things: here the jugs, which differ in
// size.
func TestNoSymmetry(t *testing.T) {
	m := jugs{sizes: [2]uint64{3, 5}, goal: 4, anyJug: true}
	r, err := Run(Space{Initial: []uint64{0, 0}, Model: func() Model { return m }})
	if err == nil {
		t.Fatalf("found %v", r.Violation)
	}
	assert.ErrorIs(t, err, errNoTrace)
	assert.ErrorIs(t, err, errFound)
}

// TestMost stops when there are more states than may be kept.
func TestMost(t *testing.T) {
	m := grid{side: 1 << 20}
	_, err := Run(Space{Initial: []uint64{0, 0}, Model: func() Model { return m }, Most: 1000})
	assert.EqualError(t, err, "explore: more than 1000 states")
}

// TestSameHash keeps states apart that share a hash.
func TestSameHash(t *testing.T) {
	var s shard
	s.init(1)
	for i := range uint64(3000) {
		index, added := s.add(7, []uint64{i}, none)
		require.True(t, added)
		require.Equal(t, uint32(i), index)
	}
	for i := range uint64(3000) {
		index, added := s.add(7, []uint64{i}, none)
		require.False(t, added)
		require.Equal(t, uint32(i), index)
	}
}
