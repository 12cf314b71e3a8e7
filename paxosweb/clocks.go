package paxosweb

import (
	"math"
	"time"

	"github.com/singledecree/paxos"
)

// A life is one start of a server. Each has a clock of its own, which begins with it.
type life struct {
	server paxos.ServerID
	boot   uint64
}

// A flight is a message whose sending and arrival are both known, each by the clock there.
type flight struct {
	from, to       life
	sent, received time.Duration
}

// setClocks returns what to add to the clock of each life, so that no message arrives before it was sent. Messages in both
// directions bound the difference of two clocks from both sides, and the middle is taken. A life that is not joined with the first
// one keeps its own clock.
//
// No clock of a wall has a part in it. The order of the picture does not depend on the result: see merge.
func setClocks(lives []life, flights []flight) map[life]time.Duration {
	const unknown = math.MinInt64
	place := map[life]int{}
	for i, l := range lives {
		place[l] = i
	}
	n := len(lives)
	ahead := make([][]int64, n) // ahead[i][j]: the offset of j is at least so much above that of i
	for i := range ahead {
		ahead[i] = make([]int64, n)
		for j := range ahead[i] {
			if ahead[i][j] = unknown; i == j {
				ahead[i][j] = 0
			}
		}
	}
	for _, f := range flights {
		i, j := place[f.from], place[f.to]
		if i != j {
			ahead[i][j] = max(ahead[i][j], int64(f.sent-f.received))
		}
	}
	for k := range n {
		for i := range n {
			for j := range n {
				if a, b := ahead[i][k], ahead[k][j]; a != unknown && b != unknown && i != j {
					ahead[i][j] = max(ahead[i][j], a+b)
				}
			}
		}
	}
	offsets := map[life]time.Duration{}
	for j, l := range lives {
		low, high := ahead[0][j], ahead[j][0]
		switch {
		case low != unknown && high != unknown:
			offsets[l] = time.Duration((low - high) / 2)
		case low != unknown:
			offsets[l] = time.Duration(low)
		case high != unknown:
			offsets[l] = time.Duration(-high)
		}
	}
	return offsets
}
