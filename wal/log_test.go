package wal

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Saved records are there, also after Close and Open, over many segments and compactions.
func TestLogAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		fs := created(t)
		l := openIn(t, fs)
		s := newScript(rand.New(rand.NewPCG(seed, 1)), 300, l)
		for round := range 6 {
			require.NoError(t, s.run(l, 60, func(_, _ *model) {}), "seed %d", seed)
			require.NoError(t, s.model.differs(l), "seed %d, round %d", seed, round)
			if round%2 == 0 {
				require.NoError(t, l.Close())
			} else {
				fs.Kill()
			}
			l = openIn(t, fs)
			require.NoError(t, s.model.differs(l), "seed %d, round %d, reopened", seed, round)
			if round%3 == 0 {
				require.NoError(t, l.Verify())
			}
		}
		require.NoError(t, l.Close())
		if seed < 3 {
			t.Logf("%+v, %v", l.Stats(), fs.Names())
		}
	}
}
