package tables

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// check checks what Order promises of itself.
func (o *Order) check(t *testing.T) {
	t.Helper()
	last := uint64(0)
	for i, c := range o.chunks {
		require.True(t, len(c) > 0 && len(c) <= Chunk, "chunk %d has %d places", i, len(c))
		require.True(t, i == 0 || len(c)+len(o.chunks[i-1]) > Chunk/2, "chunk %d and the one before are small", i)
		for _, p := range c {
			require.Greater(t, p.Index, last)
			last = p.Index
		}
	}
}

// An Order does what a map does, over many chunks, with Indices that come and go in any order.
func TestOrderAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	x := rand.New(rand.NewPCG(seed, 0))
	var o Order
	model := map[uint64]uint32{}
	for step := range 20_000 {
		index := 1 + x.Uint64N(8000)
		at, there := model[index]
		switch got, ok := o.Get(index); {
		case ok != there || got != at:
			t.Fatalf("step %d: Get(%d) = %d, %t; want %d, %t", step, index, got, ok, at, there)
		case !ok:
			model[index] = uint32(step)
			o.Add(Place{index, uint32(step)})
		case step < 12_000 && x.IntN(3) > 0, step%5 == 0:
			model[index] = uint32(step)
			o.Move(index, uint32(step))
		default:
			delete(model, index)
			o.Remove(index)
		}
		if step%1000 == 0 {
			o.check(t)
		}
	}
	o.check(t)
	n, _ := o.Len()
	require.Len(t, model, n)
	for after := uint64(0); ; {
		runs, n := o.Above(after, 700)
		count := 0
		for _, run := range runs {
			for _, p := range run {
				require.Greater(t, p.Index, after)
				require.Equal(t, model[p.Index], p.At)
				delete(model, p.Index)
				after, count = p.Index, count+1
			}
		}
		require.Equal(t, n, count)
		if n < 700 {
			break
		}
	}
	require.Empty(t, model)
	require.Zero(t, new(Order).Highest())
}

// Names does what a map does, also where hashes are the same, and gives its memory back.
func TestNamesAgainstMap(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testNames(t, new(Names)) })
	t.Run("remembers", func(t *testing.T) {
		names := new(Names)
		names.Remember()
		testNames(t, names)
		require.True(t, *names.recent == [1024]uint64{}, "what is gone is not remembered")
	})
}

func testNames(t *testing.T, names *Names) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	x := rand.New(rand.NewPCG(seed, 0))
	hash := func(key uint64) uint64 { return key / 3 * 0x9e3779b97f4a7c15 } // three keys for each
	model, keys := map[uint64]uint32{}, map[uint32]uint64{}
	for step := range uint32(60_000) {
		key := x.Uint64N(9000)
		want, there := model[key]
		at, ok := names.Find(hash(key), func(at uint32) bool { return keys[at] == key })
		require.Equal(t, there, ok)
		require.Equal(t, want, at)
		switch {
		case !ok && step < 40_000:
			names.Add(hash(key), step)
			model[key], keys[step] = step, key
		case ok && x.IntN(2) == 0:
			names.Move(hash(key), at, step)
			delete(keys, at)
			model[key], keys[step] = step, key
		case ok:
			names.Remove(hash(key), at)
			delete(keys, at)
			delete(model, key)
		}
	}
	used, _ := names.Len()
	require.Len(t, model, used)
	for key, at := range model {
		names.Remove(hash(key), at)
	}
	used, slots := names.Len()
	require.Zero(t, used)
	require.LessOrEqual(t, slots, 256*8)
}
