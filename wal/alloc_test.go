package wal

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A Save of records costs no allocation for each of them: none at all for names that are known, and for new ones what the index grows by.
func TestSaveAllocatesNothingForEachRecord(t *testing.T) {
	l, _ := openNew(t, Options{})
	records := make([]paxos.Record, 500)
	for i := range records {
		records[i] = voted(fmt.Sprintf("known/%d", i), 1, "some value")
	}
	round := uint64(1)
	save := func() {
		round++
		for i := range records {
			records[i].Acceptor.Promised = ballot(round)
		}
		if err := l.Save(paxos.Batch{Records: records}); err != nil {
			t.Fatal(err)
		}
	}
	save()
	assert.Less(t, testing.AllocsPerRun(20, save), 5.0, "of 500 records that are known")

	names := make([]string, 60*len(records))
	for i := range names {
		names[i] = fmt.Sprintf("new/%012d", i)
	}
	at := 0
	assert.Less(t, testing.AllocsPerRun(50, func() {
		for i := range records {
			records[i].Instance = names[at]
			at++
		}
		save()
	}), 50.0, "of 500 records that are new: the index grows by chunks")
}

// Nor do the votes that are kept for marks, and the marks.
func TestMarksAllocateNothing(t *testing.T) {
	l, _ := openNew(t, Options{})
	votes, decisions := make([]paxos.Record, 500), make([]paxos.Record, 500)
	for i := range votes {
		votes[i] = voted(fmt.Sprintf("known/%d", i), 1, "a value that is long enough for a mark, and some more")
		decisions[i] = chosen(votes[i], uint64(i+1))
	}
	require.NoError(t, l.Save(counted(l, batchOf(chosen(voted("last", 1, ""), 1<<20)))))
	marks := 0
	save := func() {
		for _, b := range [][]paxos.Record{votes, decisions} {
			if err := l.Save(paxos.Batch{Records: b}); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range l.marks {
			if m.size > 0 {
				marks++
			}
		}
	}
	for range 2 * maxVotes / len(votes) { // the votes that are kept have grown as they do
		save()
	}
	marks = 0
	assert.Less(t, testing.AllocsPerRun(20, save), 20.0, "of 500 votes and 500 decisions: what is left is that segments end and begin")
	assert.GreaterOrEqual(t, marks, 20*500)
}

// Load of a record allocates its value, and the memory of its decoding. Load of a missing record allocates nothing.
func TestLoadAllocates(t *testing.T) {
	l, _ := openNew(t, Options{})
	require.NoError(t, l.Save(batchOf(voted("lunch", 1, "burger"))))
	assert.Zero(t, testing.AllocsPerRun(100, func() { l.Load("dinner") }))
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { l.Load("lunch") }), 3.0)
	v := voted("marked", 1, "a value that is long enough for a mark, and some more")
	require.NoError(t, l.Save(batchOf(v)))
	require.NoError(t, l.Save(counted(l, batchOf(chosen(v, 1)))))
	require.NotZero(t, l.marks[0].size)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { l.Load("marked") }), 6.0)
}

// An index takes no more than 120 bytes for each instance with a name of 16.
func TestIndexIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills an index with a million instances")
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 1_000_000
	before := heap()
	x := &index{seed: maphash.MakeSeed()}
	var name []byte
	for i := range n {
		name = fmt.Appendf(name[:0], "%016x", uint64(i)*0x9e3779b97f4a7c15)
		x.put(x.hash(name), name, spot{index: uint64(i + 1), segment: 1, offset: uint32(i), size: 100, place: uint32(i), vote: 150})
	}
	each := float64(heap()-before) / n
	t.Logf("%.1f bytes", each)
	assert.LessOrEqual(t, each, 120.0)
	require.Equal(t, uint32(n), x.n)
	runtime.KeepAlive(x)
}
