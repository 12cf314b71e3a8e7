package replica

import (
	"fmt"
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExploreQuorums finds, for all sizes of quorums of 3, 4 and 5 acceptors, that they are safe if and only if every
// phase-1 quorum meets every phase-2 quorum, that is if q1 + q2 > n; and that CheckQuorum says the same. Two ballots
// show it: in the first, q2 acceptors vote; in the second, q1 others know nothing of that.
func TestExploreQuorums(t *testing.T) {
	for n := 3; n <= 5; n++ {
		for q1 := 1; q1 <= n; q1++ {
			for q2 := 1; q2 <= n; q2++ {
				t.Run(counted{n, q1, q2}.String(), func(t *testing.T) {
					exFits(t, [...]int{3: exTiny, 4: exTiny, 5: exSmall}[n])
					exQuorum(t, counted{n, q1, q2})
				})
			}
		}
	}
}

// A counted quorum is one of so many of n acceptors in each phase, and may be unsafe, which Flexible refuses.
type counted struct{ n, phase1, phase2 int }

func (q counted) Size() int               { return q.n }
func (q counted) Phase1(s paxos.Set) bool { return s.Len() >= q.phase1 }
func (q counted) Phase2(s paxos.Set) bool { return s.Len() >= q.phase2 }
func (q counted) String() string          { return fmt.Sprintf("flexible(%d,%d,%d)", q.n, q.phase1, q.phase2) }

func exQuorum(t *testing.T, q counted) {
	c := exConfig{quorum: q, wanted: 2, owners: []int{0, 0}, symmetry: true}
	flexible, err := paxos.Flexible(q.n, q.phase1, q.phase2)
	if q.phase1+q.phase2 > q.n {
		require.NoError(t, err)
		require.NoError(t, paxos.CheckQuorum(q))
		c.quorum = flexible
		exHolds(t, c, exCount{}, exSeenChosen|exSeenOther)
		return
	}
	require.Error(t, err)
	require.Error(t, paxos.CheckQuorum(q))
	x, r := exRun(t, c, exCount{})
	require.NotNil(t, r.Violation, "nothing is wrong, though %s is no safe quorum", q)
	assert.ErrorContains(t, r.Violation.Err, "I1: two values are chosen", x.text(r.Violation))
	// Two ballots, each prepared, promised, asked for and voted in.
	assert.Len(t, r.Violation.Steps[1:], 2*(1+q.phase1+1+q.phase2))
}

// TestExploreOtherQuorums explores quorums that are no plain numbers, for which acceptors are not equal, and those of
// an even number of acceptors.
func TestExploreOtherQuorums(t *testing.T) {
	weighted, err := paxos.Weighted([]int{2, 1, 1})
	require.NoError(t, err)
	nothing, err := paxos.Weighted([]int{1, 1, 1, 0})
	require.NoError(t, err)
	grid, err := paxos.Grid(2, 2)
	require.NoError(t, err)
	flexible, err := paxos.Flexible(4, 3, 2)
	require.NoError(t, err)
	for _, space := range []struct {
		quorum  paxos.Quorum
		ballots int
		size    int
		want    exCount
	}{
		{weighted, 2, exTiny, exCount{671, 1_617, 17}},
		{weighted, 3, exSmall, exCount{23_691, 62_642, 25}},
		{nothing, 2, exTiny, exCount{5_521, 17_621, 21}},
		{nothing, 3, exCI, exCount{777_697, 2_632_636, 31}},
		{grid, 2, exTiny, exCount{20_113, 62_472, 21}},
		{grid, 3, exLong, exCount{2_898_321, 9_492_159, 31}},
		{flexible, 2, exTiny, exCount{834, 2_443, 21}},
		{flexible, 3, exSmall, exCount{57_436, 175_822, 31}},
		{paxos.Majority(4), 2, exTiny, exCount{834, 2_443, 21}},
		{paxos.Majority(4), 3, exSmall, exCount{57_436, 175_822, 31}},
	} {
		t.Run(fmt.Sprintf("%s, %d ballots", space.quorum, space.ballots), func(t *testing.T) {
			exFits(t, space.size)
			c := exConfig{quorum: space.quorum, wanted: 2, owners: make([]int, space.ballots), symmetry: true}
			exHolds(t, c, space.want, exSeenChosen|exSeenOther)
		})
	}
}
