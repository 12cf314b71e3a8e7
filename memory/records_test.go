package memory

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// checkMemory checks what memoryRecords promises of itself.
func checkMemory(t *testing.T, s *Storage) {
	t.Helper()
	check := func(ok bool, format string, args ...any) {
		t.Helper()
		if !ok {
			t.Fatalf(format, args...)
		}
	}
	total, open := 0, 0
	for i, c := range s.chunks {
		check(len(c) == memoryChunk || i == len(s.chunks)-1 && len(c) > 0, "chunk %d has %d records", i, len(c))
		total += len(c)
	}
	used, _ := s.names.Len()
	for at := range s.n {
		r := s.record(at)
		found, ok := s.find(s.hash(r.name), r.name)
		check(ok && found == at, "%q is not found by name", r.name)
		if r.index == 0 {
			check(s.undecided[r.place] == at, "%q is not found among the undecided", r.name)
			open++
			continue
		}
		is, ok := s.order.Get(r.index)
		check(ok && is == at, "%q is not found by its Index", r.name)
	}
	size, _ := s.order.Len()
	counts := []int{total, used, open + size}
	require.Equal(t, []int{int(s.n), int(s.n), int(s.n)}, counts)
	require.Len(t, s.undecided, open, "their cost is theirs, not that of the decided")
	require.Empty(t, s.undo)
}

// TestMemoryStorageAgainstModel runs random Saves against a map, with enough records for many chunks, and Indices in any
// order. Dropped records are swept at once, slowly, or never. Others get the Indices that they had.
func TestMemoryStorageAgainstModel(t *testing.T) {
	for _, slice := range []int{0, 40, memorySlice} {
		t.Run(fmt.Sprintf("slice=%d", slice), func(t *testing.T) { testAgainstModel(t, slice) })
	}
}

func testAgainstModel(t *testing.T, slice int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s, model, free := NewStorage(), map[string]paxos.Record{}, rng.Perm(1<<16)
	s.slice = slice
	for step := range 200 {
		b, inBatch := paxos.Batch{}, map[string]bool{}
		if from := rng.IntN(3000); step%10 == 9 {
			b.Drop = []paxos.NameRange{{From: fmt.Sprint("n", from), To: fmt.Sprint("n", from+rng.IntN(1000))}, {From: "n1", To: "n10"}}
			if step%100 == 99 {
				b.Drop[0] = paxos.NameRange{From: "n2", To: "n9"}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(model)) {
			if !slices.ContainsFunc(b.Drop, func(r paxos.NameRange) bool { return r.From <= name && name < r.To }) {
				continue
			}
			if r := model[name]; r.Chosen && rng.IntN(2) == 0 {
				free = append([]int{int(r.Index - 1)}, free...)
			}
			delete(model, name)
		}
		if step%7 == 0 && len(model) > 0 {
			name := slices.Min(slices.Collect(maps.Keys(model)))
			b.Drop = append(b.Drop, paxos.OneName(name))
			delete(model, name)
		}
		for range rng.IntN(300) {
			name := fmt.Sprint("n", rng.IntN(6000))
			if inBatch[name] {
				continue
			}
			inBatch[name] = true
			r := model[name]
			r.Instance = name
			switch decide := rng.IntN(3) == 0; {
			case decide || r.Chosen:
				r.Chosen, r.Index, free = true, uint64(free[0]+1), free[1:]
			default:
				r.Acceptor.Promised.Round++
				r.Acceptor.Accepted, r.Acceptor.Value = r.Acceptor.Promised, paxos.Value(fmt.Sprint(step))
			}
			b.Records = append(b.Records, r)
			model[name] = r
		}
		require.NoError(t, s.Save(reaching(s, b)), "step %d", step)
		if step%10 > 0 && step%20 != 9 {
			continue
		}
		checkMemory(t, s)
		checkAgainst(t, s, model)
	}
	if slice == 0 {
		require.Greater(t, int(s.n), 2*len(model), "nothing is swept")
	} else {
		for range 2 * (int(s.n)/slice + 1) {
			require.NoError(t, s.Save(paxos.Batch{}))
		}
		require.False(t, s.drops.Pending())
		require.Len(t, model, int(s.n), "all is swept")
		checkMemory(t, s)
		checkAgainst(t, s, model)
	}
	failsAtItsEnd(t, s, model, free)
}

// failsAtItsEnd has a Save that changes all that there is, and fails at its end. Then all is as before.
func failsAtItsEnd(t *testing.T, s *Storage, model map[string]paxos.Record, free []int) {
	var b paxos.Batch
	used := uint64(0)
	for _, name := range slices.Sorted(maps.Keys(model)) {
		r := model[name]
		if !r.Chosen {
			used = uint64(free[0] + 1)
			r.Chosen, r.Index, free = true, used, free[1:]
			b.Records = append(b.Records, r)
		}
		b.Records = append(b.Records, promised(name+"+", 1))
	}
	for at := range s.n {
		if r := s.record(at); s.dropped(at) {
			b.Records = append(b.Records, promised(r.name, 1))
		}
		if r := s.record(at); !s.dropped(at) && r.index != 0 && r.name > "n5" && r.name < "n7" {
			b.Records = append(b.Records, decided(r.name+"-", 1, "v", r.index)) // the Index of one that is dropped now
		}
	}
	b.Drop = []paxos.NameRange{{From: "n5", To: "n7"}}
	b.Records = append(b.Records, decided("twice", 1, "v", used))
	require.ErrorContains(t, s.Save(reaching(s, b)), `Record "twice": Index: `)
	checkMemory(t, s)
	checkAgainst(t, s, model)
}

func checkAgainst(t *testing.T, s *Storage, model map[string]paxos.Record) {
	t.Helper()
	want := storageImage{Undecided: map[string]paxos.Record{}}
	for name, r := range model {
		if r.Chosen {
			want.Decided = append(want.Decided, r)
		} else {
			want.Undecided[name] = r
		}
	}
	slices.SortFunc(want.Decided, func(a, b paxos.Record) int { return cmp.Compare(a.Index, b.Index) })
	got := imageOf(t, s)
	require.True(t, maps.Equal(want.Undecided, got.Undecided))
	require.True(t, slices.Equal(want.Decided, got.Decided))
	for after, at := uint64(0), 0; ; {
		page, err := s.Decided(after, 700)
		require.NoError(t, err)
		for _, n := range page {
			if n.Instance != want.Decided[at].Instance {
				t.Fatalf("%v is listed where %+v should be", n, want.Decided[at])
			}
			after, at = n.Index, at+1
		}
		if len(page) < 700 {
			require.Len(t, want.Decided, at)
			return
		}
	}
}

// BenchmarkMemoryStorageSave puts each name three times: promise, vote, decision; a thousand instances are open at once.
// One op is one record.
func BenchmarkMemoryStorageSave(b *testing.B) {
	for _, size := range []int{1, 32} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			const open = 1024
			n := (b.N/3/open + 1) * open
			names := make([]byte, 0, 16*n)
			for i := range n {
				names = fmt.Appendf(names, "%016x", uint64(i)*0x9E3779B97F4A7C15)
			}
			text, value := string(names), paxos.Value(strings.Repeat("v", 64))
			s, batch := NewStorage(), paxos.Batch{Server: &paxos.ServerState{}, Records: make([]paxos.Record, size)}
			b.ReportAllocs()
			b.ResetTimer()
			for put := 0; put < b.N; put += size {
				first := put / (3 * open) * open
				phase := put / open % 3
				for i := range batch.Records {
					k := first + (put+i)%open
					r := &batch.Records[i]
					*r = paxos.Record{Instance: text[16*k : 16*k+16], Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}}}
					if phase > 0 {
						r.Acceptor.Accepted, r.Acceptor.Value = r.Acceptor.Promised, value
					}
					if r.Chosen = phase == 2; r.Chosen {
						r.Index = uint64(k) + 1
					}
				}
				batch.Server.Last = uint64(first + open)
				if err := s.Save(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}
