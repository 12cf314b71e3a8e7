package tables

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Marks does what a map does, among the latest numbers. Of low ones it forgets some, and never says that one is there that is not.
func TestMarksAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	x := rand.New(rand.NewPCG(seed, 0))
	var m Marks
	model := map[uint64]bool{}
	top, forgotten, runs := uint64(0), 0, 0
	for step := range 30_000 {
		switch x.IntN(1000) {
		case 0:
			top += x.Uint64N(3 * mostMarks)
		case 1:
			m.Clear()
			clear(model)
		default:
			top += 1 + x.Uint64N(2)*x.Uint64N(2)*x.Uint64N(100)
		}
		number := top - min(top, x.Uint64N(2)*x.Uint64N(100))
		from := m.from
		if m.Add(number); from > 0 && m.from > from {
			forgotten++ // low numbers, all of them or some
		}
		if number/64 >= m.from { // else it is left out
			model[number] = true
		}
		require.LessOrEqual(t, len(m.words), 2*mostMarks/64, "step %d", step)
		for range 4 {
			n := top + 70 - min(top+70, x.Uint64N(200))
			if got := m.Has(n); got != model[n] {
				require.False(t, got, "step %d: %d", step, n)
				require.Less(t, n, m.from*64+64, "step %d: %d is among the latest", step, n)
			}
			want := n
			for m.Has(want + 1) {
				want++
			}
			require.Equal(t, want, m.After(n), "step %d", step)
			runs += int(want - n)
		}
	}
	require.Greater(t, runs, 1000)
	for n := range model {
		if !m.Has(n) {
			require.Less(t, n+mostMarks, top+200, "the latest are kept")
		}
	}
	require.Positive(t, forgotten)
}
