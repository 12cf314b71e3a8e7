package disktest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A content that shares pages with others is as bytes that share nothing. Each write changes one of them.
func TestContentsShareNoWrite(t *testing.T) {
	for seed := range uint64(20) {
		x := rand.New(rand.NewPCG(seed, 1))
		all, want := make([]content, 1), make([][]byte, 1)
		var given, copies [][]byte
		for range 100 {
			i := x.IntN(len(all))
			c := &all[i]
			switch at := x.IntN(4 * len(page{})); x.IntN(8) {
			case 0:
				all, want = append(all, c.share()), append(want, slices.Clone(want[i]))
				continue
			case 1:
				c.grow(at)
				want[i] = append(want[i], make([]byte, max(0, at-len(want[i])))...)
			default:
				b := make([]byte, x.IntN(3*len(page{})))
				if x.IntN(3) > 0 {
					for j := range b {
						b[j] = byte(x.Uint32())
					}
				}
				if x.IntN(2) == 0 {
					at -= at % len(page{})
				}
				given, copies = append(given, b), append(copies, slices.Clone(b))
				c.write(int64(at), b)
				want[i] = append(want[i], make([]byte, max(0, at+len(b)-len(want[i])))...)
				copy(want[i][at:], b)
			}
			for j := range all {
				require.True(t, slices.Equal(want[j], all[j].bytes()), "seed %d, content %d after a change of %d", seed, j, i)
			}
			part := make([]byte, x.IntN(2*len(page{})))
			for j := range part {
				part[j] = 0xff
			}
			at := x.IntN(5 * len(page{}))
			n := c.read(part, int64(at))
			require.Equal(t, max(0, min(len(part), len(want[i])-at)), n)
			require.True(t, slices.Equal(want[i][min(at, len(want[i])):][:n], part[:n]), "seed %d", seed)
		}
		require.Equal(t, copies, given, "what was written is only read")
	}
}
