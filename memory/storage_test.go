package memory

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func bal(round uint64, server paxos.ServerID) paxos.Ballot {
	return paxos.Ballot{Round: round, Server: server}
}

// promised, voted and decided are the records of an instance in the three states that it goes through.
func promised(name string, round uint64) paxos.Record {
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: bal(round, 1)}}
}

func voted(name string, round uint64, v paxos.Value) paxos.Record {
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{Promised: bal(round, 1), Accepted: bal(round, 1), Value: v}}
}

func decided(name string, round uint64, v paxos.Value, index uint64) paxos.Record {
	r := voted(name, round, v)
	r.Chosen, r.Index = true, index
	return r
}

// A storageImage is all that the readers of a storage show.
type storageImage struct {
	State     paxos.ServerState
	Undecided map[string]paxos.Record
	Decided   []paxos.Record // by Index
}

func imageOf(t *testing.T, s paxos.Storage) (m storageImage) {
	t.Helper()
	var err error
	m.State, err = s.Server()
	require.NoError(t, err)
	m.Undecided = map[string]paxos.Record{}
	for name, err := range s.Undecided() {
		require.NoError(t, err)
		if _, twice := m.Undecided[name]; twice {
			t.Fatalf("%q is listed twice", name)
		}
		m.Undecided[name] = loadRecord(t, s, name)
	}
	named, err := s.Decided(0, math.MaxInt)
	require.NoError(t, err)
	for _, n := range named {
		r := loadRecord(t, s, n.Instance)
		if r.Index != n.Index {
			t.Fatalf("%v is listed, %+v is stored", n, r)
		}
		m.Decided = append(m.Decided, r)
	}
	return m
}

func loadRecord(t *testing.T, s paxos.Storage, name string) paxos.Record {
	t.Helper()
	r, err := s.Load(name)
	require.NoError(t, err)
	return r
}

func savedIn(t *testing.T, batches ...paxos.Batch) *Storage {
	t.Helper()
	s := NewStorage()
	for _, b := range batches {
		require.NoError(t, s.Save(reaching(s, b)))
	}
	return s
}

// reaching returns b with a Last that its records need.
func reaching(s *Storage, b paxos.Batch) paxos.Batch {
	state, _ := s.Server()
	if b.Server != nil {
		state = *b.Server
	}
	last := state.Last
	for _, r := range b.Records {
		last = max(last, r.Index)
	}
	if last != state.Last {
		state.Last = last
		b.Server = &state
	}
	return b
}

func TestMemoryStorageIsEmptyAtFirst(t *testing.T) {
	s := NewStorage()
	assert.Equal(t, storageImage{Undecided: map[string]paxos.Record{}}, imageOf(t, s))
	assert.Zero(t, loadRecord(t, s, "x"))
	assert.Zero(t, loadRecord(t, s, ""))
	require.NoError(t, s.Save(paxos.Batch{}), "an empty Batch is a Batch")
	assert.Zero(t, imageOf(t, s).State)
}

func TestMemoryStorageKeepsRecordsAsTheyAre(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    paxos.Record
	}{
		{"a promise", promised("x", 3)},
		{"a vote", voted("x", 3, "v")},
		{"a vote below the promise", paxos.Record{Instance: "x", Acceptor: paxos.Acceptor{Promised: bal(9, 2), Accepted: bal(3, 1), Value: "v"}}},
		{"a vote for the empty value", voted("x", 3, "")},
		{"a decision", decided("x", 3, "v", 1)},
		{"a decision of the empty value", decided("x", 3, "", 7)},
		{"the highest numbers", paxos.Record{Instance: "x", Chosen: true, Index: math.MaxUint64, Acceptor: paxos.Acceptor{
			Promised: bal(math.MaxUint64, math.MaxUint64), Accepted: bal(math.MaxUint64, math.MaxUint64)}}},
		{"a name that is not text", decided("\x00\xff\xfe$", 1, "\x00\xff", 1)},
		{"a long name and value", voted(strings.Repeat("n", paxos.MaxName), 1, paxos.Value(strings.Repeat("v", 1<<20)))},
		{"a record of nothing", paxos.Record{Instance: "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := savedIn(t, paxos.Batch{Records: []paxos.Record{tt.r}})
			assert.Equal(t, tt.r, loadRecord(t, s, tt.r.Instance))
			assert.Zero(t, loadRecord(t, s, tt.r.Instance+"\x00"))
			image := imageOf(t, s)
			assert.Equal(t, tt.r.Chosen, len(image.Decided) == 1)
			assert.Equal(t, !tt.r.Chosen, len(image.Undecided) == 1)
		})
	}
}

func TestMemoryStorageKeepsNothingOfABatch(t *testing.T) {
	state := paxos.ServerState{Cluster: "c", ID: 1, Boot: 1}
	records := []paxos.Record{voted("x", 1, "v")}
	s := savedIn(t, paxos.Batch{Server: &state, Records: records})
	state.Boot, records[0].Acceptor.Value = 7, "w"
	image := imageOf(t, s)
	assert.EqualValues(t, 1, image.State.Boot)
	assert.Equal(t, voted("x", 1, "v"), image.Undecided["x"])
}

func TestMemoryStorageStateStaysWithoutServer(t *testing.T) {
	state := paxos.ServerState{Cluster: "c", ID: 1, Boot: 3}
	s := savedIn(t, paxos.Batch{Server: &state}, paxos.Batch{Records: []paxos.Record{promised("x", 1)}})
	assert.Equal(t, state, imageOf(t, s).State)
}

func TestMemoryStorageDecidedPages(t *testing.T) {
	s := savedIn(t, paxos.Batch{Records: []paxos.Record{decided("i9", 1, "v", 9), decided("i2", 1, "v", 2), voted("x", 1, "v"),
		decided("i5", 1, "v", 5), decided("max", 1, "v", math.MaxUint64)}})
	all := []paxos.Named{{Instance: "i2", Index: 2}, {Instance: "i5", Index: 5}, {Instance: "i9", Index: 9}, {Instance: "max", Index: math.MaxUint64}}
	for _, tt := range []struct {
		after uint64
		max   int
		want  []paxos.Named
	}{
		{0, 10, all}, {0, 4, all}, {0, 3, all[:3]}, {0, 1, all[:1]}, {0, math.MaxInt, all},
		{0, 0, nil}, {0, -1, nil}, {0, math.MinInt, nil},
		{1, 10, all}, {2, 10, all[1:]}, {3, 1, all[1:2]}, {5, 10, all[2:]}, {8, 10, all[2:]}, {9, 10, all[3:]},
		{math.MaxUint64 - 1, 10, all[3:]}, {math.MaxUint64, 10, nil},
	} {
		t.Run(fmt.Sprintf("after %d, %d", tt.after, tt.max), func(t *testing.T) {
			got, err := s.Decided(tt.after, tt.max)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestMemoryStorageDrop(t *testing.T) {
	names := []string{"\x00", "a", "a\x00", "ab", "b", "ba", "c", "\xff", "\xff\xff"}
	for _, tt := range []struct {
		name string
		drop []paxos.NameRange
		gone []string
	}{
		{"from is in, to is not", []paxos.NameRange{{From: "a", To: "b"}}, []string{"a", "a\x00", "ab"}},
		{"bounds that are no names", []paxos.NameRange{{From: "aa", To: "bb"}}, []string{"ab", "b", "ba"}},
		{"one name", []paxos.NameRange{{From: "a", To: "a\x00"}}, []string{"a"}},
		{"from the first", []paxos.NameRange{{From: "", To: "a"}}, []string{"\x00"}},
		{"to the last", []paxos.NameRange{{From: "c", To: "\xff\xff\xff"}}, []string{"c", "\xff", "\xff\xff"}},
		{"empty", []paxos.NameRange{{From: "b", To: "b"}, {From: "", To: ""}}, nil},
		{"backwards", []paxos.NameRange{{From: "c", To: "a"}, {From: "a", To: ""}}, nil},
		{"two that overlap", []paxos.NameRange{{From: "a", To: "ab"}, {From: "a\x00", To: "b"}}, []string{"a", "a\x00", "ab"}},
		{"all", []paxos.NameRange{{From: "", To: "\xff\xff\xff"}}, names},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b paxos.Batch
			for i, name := range names {
				r := decided(name, 1, "v", uint64(i+1))
				if i%3 == 0 {
					r = voted(name, 1, "v")
				}
				b.Records = append(b.Records, r)
			}
			s := savedIn(t, b, paxos.Batch{Drop: tt.drop})
			for _, r := range b.Records {
				if slices.Contains(tt.gone, r.Instance) {
					r = paxos.Record{}
				}
				assert.Equal(t, r, loadRecord(t, s, r.Instance))
			}
			for _, name := range tt.gone {
				assert.Zero(t, loadRecord(t, s, name))
			}
			image := imageOf(t, s)
			assert.Equal(t, len(names)-len(tt.gone), len(image.Undecided)+len(image.Decided))
			checkMemory(t, s)
		})
	}
}

func TestMemoryStorageDropsBeforeItPuts(t *testing.T) {
	s := savedIn(t, paxos.Batch{Records: []paxos.Record{decided("x", 5, "v", 1), decided("y", 5, "v", 2)}},
		paxos.Batch{Drop: []paxos.NameRange{{From: "a", To: "z"}}, Records: []paxos.Record{promised("x", 1)}})
	assert.Equal(t, storageImage{State: paxos.ServerState{Last: 2}, Undecided: map[string]paxos.Record{"x": promised("x", 1)}}, imageOf(t, s))
}

func TestMemoryStorageGivesMemoryBack(t *testing.T) {
	s := NewStorage()
	big := paxos.Batch{}
	for i := range 20_000 {
		r := voted(fmt.Sprintf("n%05d", i), 1, "v")
		if i%2 == 0 {
			r = decided(r.Instance, 1, "v", uint64(i+1))
		}
		big.Records = append(big.Records, r)
	}
	require.NoError(t, s.Save(reaching(s, big)))
	assert.Nil(t, s.undo[:cap(s.undo)], "room for a Save of this size is not kept")
	require.NoError(t, s.Save(paxos.Batch{Drop: []paxos.NameRange{{From: "n00010", To: "n99999"}}}))
	checkMemory(t, s)
	for i := range 20_000/memorySlice + 1 {
		require.NoError(t, s.Save(paxos.Batch{Records: []paxos.Record{voted("n00001", uint64(i+2), "w")}}))
		checkMemory(t, s)
	}
	require.False(t, s.drops.Pending())
	require.Len(t, s.chunks, 1)
	for _, r := range s.chunks[0][s.n:cap(s.chunks[0])] {
		require.Zero(t, r, "a dropped record keeps no string alive")
	}
	_, chunks := s.order.Len()
	assert.Equal(t, 1, chunks)
	assert.LessOrEqual(t, cap(s.undecided), memoryChunk)
	_, slots := s.names.Len()
	assert.LessOrEqual(t, slots, 16*256)
	require.NoError(t, s.Save(paxos.Batch{Records: []paxos.Record{voted("n00001", 99, "w")}}))
	for _, u := range s.undo[:cap(s.undo)] {
		require.Zero(t, u, "a Save that ended keeps no string alive")
	}
}

func TestMemoryStorageAllocatesNothingForAKnownName(t *testing.T) {
	s := savedIn(t, paxos.Batch{Records: []paxos.Record{promised("x", 1)}})
	b, round := paxos.Batch{Records: make([]paxos.Record, 1)}, uint64(1)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		round++
		b.Records[0] = voted("x", round, "v")
		if err := s.Save(b); err != nil {
			panic(err)
		}
		if r, err := s.Load("unknown"); err != nil || r != (paxos.Record{}) {
			panic("a record of nobody")
		}
	}))
}

// TestMemoryStorageUndecidedHoldsNoLock saves from inside the loop, which would wait for ever for a lock that the loop
// holds.
func TestMemoryStorageUndecidedHoldsNoLock(t *testing.T) {
	s := savedIn(t, paxos.Batch{Records: []paxos.Record{promised("a", 1), promised("b", 1), decided("c", 1, "v", 1)}})
	seq := s.Undecided()
	var names []string
	for name, err := range seq {
		require.NoError(t, err)
		names = append(names, name)
		require.NoError(t, s.Save(reaching(s, paxos.Batch{Records: []paxos.Record{decided(name, 1, "v", uint64(len(names)+1)), promised(name+name, 1)}})))
	}
	assert.ElementsMatch(t, []string{"a", "b"}, names, "what is there when the loop begins")
	names = nil
	for name := range seq {
		names = append(names, name)
	}
	assert.ElementsMatch(t, []string{"aa", "bb"}, names, "the next loop begins anew")
	for range seq {
		break
	}
}

// TestMemoryStorageIndexOfADroppedRecord takes the Index of a record that waits to be swept. That one may come back in the same
// Save.
func TestMemoryStorageIndexOfADroppedRecord(t *testing.T) {
	s := NewStorage()
	s.slice = 0
	require.NoError(t, s.Save(reaching(s, paxos.Batch{Records: []paxos.Record{decided("d", 1, "v", 1), decided("e", 1, "v", 2)}})))
	require.NoError(t, s.Save(paxos.Batch{Drop: []paxos.NameRange{{From: "a", To: "e"}}}))
	require.True(t, s.drops.Pending())
	require.NoError(t, s.Save(reaching(s, paxos.Batch{Records: []paxos.Record{decided("x", 1, "v", 1), decided("d", 1, "w", 3)}})))
	checkMemory(t, s)
	named, err := s.Decided(0, 10)
	require.NoError(t, err)
	assert.Equal(t, []paxos.Named{{Instance: "x", Index: 1}, {Instance: "e", Index: 2}, {Instance: "d", Index: 3}}, named)
	s.sweep(10)
	require.NoError(t, s.Save(paxos.Batch{Drop: []paxos.NameRange{paxos.OneName("x")}}))
	require.False(t, s.drops.Pending(), "one name needs no sweep")
	assert.EqualValues(t, 2, s.n)
	checkMemory(t, s)
}

// TestMemoryStorageListBesideSaves makes a list in pieces. It begins anew after a Save that has changed a part of it, so it never
// has half of a Save.
func TestMemoryStorageListBesideSaves(t *testing.T) {
	const n = 20_000
	var full, kept paxos.Batch
	for i := range uint64(n) {
		r := decided(fmt.Sprintf("job/%05d", i), 1, "v", i+1)
		if i == 1 {
			continue
		}
		if i%10 == 0 {
			r.Instance = fmt.Sprintf("lunch/%05d", i)
			kept.Records = append(kept.Records, r)
		}
		full.Records = append(full.Records, r)
	}
	for name, b := range map[string]paxos.Batch{
		"a drop of what is listed": {Drop: []paxos.NameRange{{From: "lunch/00000", To: "lunch/00100"}}},
		"a drop of one name":       {Drop: []paxos.NameRange{paxos.OneName("lunch/00010")}},
		"an Index that was passed": {Records: []paxos.Record{decided("new", 1, "v", 2), decided("new too", 1, "v", n+5)}},
		"another Index":            {Records: []paxos.Record{decided("lunch/00010", 1, "v", n+5)}},
		"only the end":             {Records: []paxos.Record{decided("new", 1, "v", n+5), decided("new too", 1, "v", n+6)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStorage()
			s.slice = 0
			require.NoError(t, s.Save(reaching(s, full)))
			require.NoError(t, s.Save(paxos.Batch{Drop: []paxos.NameRange{paxos.Prefix("job/")}}))
			_, ok := s.DecidedNow(0, n)
			require.False(t, ok, "it would pass too many")
			require.Zero(t, loadRecord(t, s, "job/00002"))
			var p memoryPage
			p.begin(0, n, 0)
			s.turn(&p, 0, n)
			require.True(t, p.more)
			require.Greater(t, len(p.named), 100)
			require.NoError(t, s.Save(reaching(s, b)))
			for p.more {
				s.turn(&p, 0, n)
			}
			same := savedIn(t, kept, b)
			want, err := same.Decided(0, n)
			require.NoError(t, err)
			require.Equal(t, want, p.named)
			got, err := s.Decided(0, n)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

// TestMemoryStorageReadersSeeWholeSaves reads while Saves run, each of which decides two instances and opens one.
func TestMemoryStorageReadersSeeWholeSaves(t *testing.T) {
	const saves = 2000
	s := NewStorage()
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for last := 0; ; {
				select {
				case <-done:
					return
				default:
				}
				named, err := s.Decided(uint64(last), 100)
				assert.NoError(t, err)
				assert.Zero(t, len(named)%2, "half a Save")
				for _, n := range named {
					last++
					assert.Equal(t, paxos.Named{Instance: fmt.Sprint("n", last), Index: uint64(last)}, n)
					r, err := s.Load(n.Instance)
					assert.NoError(t, err)
					assert.Equal(t, decided(n.Instance, 1, "v", n.Index), r)
				}
				state, err := s.Server()
				assert.NoError(t, err)
				assert.GreaterOrEqual(t, state.Last, uint64(last))
				for name, err := range s.Undecided() {
					assert.NoError(t, err)
					assert.True(t, strings.HasPrefix(name, "n"))
				}
			}
		})
	}
	for i := range uint64(saves) {
		a, b := fmt.Sprint("n", 2*i+1), fmt.Sprint("n", 2*i+2)
		require.NoError(t, s.Save(paxos.Batch{Records: []paxos.Record{promised(b, 1)}}))
		require.NoError(t, s.Save(paxos.Batch{Server: &paxos.ServerState{Last: 2*i + 2},
			Records: []paxos.Record{decided(b, 1, "v", 2*i+2), decided(a, 1, "v", 2*i+1)}}))
	}
	close(done)
	readers.Wait()
}
