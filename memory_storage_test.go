package paxos

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func bal(round uint64, server ServerID) Ballot { return Ballot{Round: round, Server: server} }

// promised, voted and decided are the records of an instance in the three states that it goes through.
func promised(name string, round uint64) Record {
	return Record{Instance: name, Acceptor: Acceptor{Promised: bal(round, 1)}}
}

func voted(name string, round uint64, v Value) Record {
	return Record{Instance: name, Acceptor: Acceptor{Promised: bal(round, 1), Accepted: bal(round, 1), Value: v}}
}

func decided(name string, round uint64, v Value, index uint64) Record {
	r := voted(name, round, v)
	r.Chosen, r.Index = true, index
	return r
}

// A storageImage is all that the readers of a storage show.
type storageImage struct {
	State     ServerState
	Undecided map[string]Record
	Decided   []Record // by Index
}

func imageOf(t *testing.T, s Storage) (m storageImage) {
	t.Helper()
	var err error
	m.State, err = s.Server()
	require.NoError(t, err)
	m.Undecided = map[string]Record{}
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

func loadRecord(t *testing.T, s Storage, name string) Record {
	t.Helper()
	r, err := s.Load(name)
	require.NoError(t, err)
	return r
}

func savedIn(t *testing.T, batches ...Batch) *MemoryStorage {
	t.Helper()
	s := NewMemoryStorage()
	for _, b := range batches {
		require.NoError(t, s.Save(reaching(s, b)))
	}
	return s
}

// reaching returns b with a Last that its records need.
func reaching(s *MemoryStorage, b Batch) Batch {
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
	s := NewMemoryStorage()
	assert.Equal(t, storageImage{Undecided: map[string]Record{}}, imageOf(t, s))
	assert.Zero(t, loadRecord(t, s, "x"))
	assert.Zero(t, loadRecord(t, s, ""))
	require.NoError(t, s.Save(Batch{}), "an empty Batch is a Batch")
	assert.Zero(t, imageOf(t, s).State)
}

func TestMemoryStorageKeepsRecordsAsTheyAre(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    Record
	}{
		{"a promise", promised("x", 3)},
		{"a vote", voted("x", 3, "v")},
		{"a vote below the promise", Record{Instance: "x", Acceptor: Acceptor{Promised: bal(9, 2), Accepted: bal(3, 1), Value: "v"}}},
		{"a vote for the empty value", voted("x", 3, "")},
		{"a decision", decided("x", 3, "v", 1)},
		{"a decision of the empty value", decided("x", 3, "", 7)},
		{"the highest numbers", Record{Instance: "x", Chosen: true, Index: math.MaxUint64, Acceptor: Acceptor{
			Promised: bal(math.MaxUint64, math.MaxUint64), Accepted: bal(math.MaxUint64, math.MaxUint64)}}},
		{"a name that is not text", decided("\x00\xff\xfe$", 1, "\x00\xff", 1)},
		{"a long name and value", voted(strings.Repeat("n", MaxName), 1, Value(strings.Repeat("v", 1<<20)))},
		{"a record of nothing", Record{Instance: "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := savedIn(t, Batch{Records: []Record{tt.r}})
			assert.Equal(t, tt.r, loadRecord(t, s, tt.r.Instance))
			assert.Zero(t, loadRecord(t, s, tt.r.Instance+"\x00"))
			image := imageOf(t, s)
			assert.Equal(t, tt.r.Chosen, len(image.Decided) == 1)
			assert.Equal(t, !tt.r.Chosen, len(image.Undecided) == 1)
		})
	}
}

func TestMemoryStorageKeepsNothingOfABatch(t *testing.T) {
	state := ServerState{Cluster: "c", ID: 1, Boot: 1}
	records := []Record{voted("x", 1, "v")}
	s := savedIn(t, Batch{Server: &state, Records: records})
	state.Boot, records[0].Acceptor.Value = 7, "w"
	image := imageOf(t, s)
	assert.EqualValues(t, 1, image.State.Boot)
	assert.Equal(t, voted("x", 1, "v"), image.Undecided["x"])
}

func TestMemoryStorageRefuses(t *testing.T) {
	state := ServerState{Cluster: "c", ID: 1, Store: 5, Members: "1 majority(1)", Boot: 3, Rounds: 100, Last: 9}
	before := Batch{Server: &state, Records: []Record{
		promised("a", 5), voted("b", 5, "v"), decided("c", 5, "v", 3), decided("d", 5, "w", 9), voted("z", 1, "v"),
		{Instance: "e", Acceptor: Acceptor{Promised: bal(8, 1), Accepted: bal(5, 1), Value: "v"}},
	}}
	with := func(change func(*ServerState)) *ServerState {
		next := state
		change(&next)
		return &next
	}
	lowVote := Record{Instance: "e", Acceptor: Acceptor{Promised: bal(8, 1), Accepted: bal(4, 1), Value: "v"}}
	below := Record{Instance: "n", Acceptor: Acceptor{Promised: bal(1, 1), Accepted: bal(2, 1)}}
	for _, tt := range []struct {
		name  string
		state *ServerState
		bad   []Record
		want  string
	}{
		{"Boot down", with(func(s *ServerState) { s.Boot = 2 }), nil, "ServerState.Boot: 2 after 3"},
		{"Rounds down", with(func(s *ServerState) { s.Rounds = 99 }), nil, "ServerState.Rounds: 99 after 100"},
		{"Last down", with(func(s *ServerState) { s.Last = 0 }), nil, "ServerState.Last: 0 after 9"},
		{"another cluster", with(func(s *ServerState) { s.Cluster = "d" }), nil, `ServerState.Cluster: "d" after "c"`},
		{"another server", with(func(s *ServerState) { s.ID = 2 }), nil, "ServerState.ID: 2 after 1"},
		{"another store", with(func(s *ServerState) { s.Store = 6 }), nil, "ServerState.Store: 6 after 5"},
		{"no name", nil, []Record{promised("", 1)}, `Record "": Instance: it is empty`},
		{"a new name twice", nil, []Record{promised("n", 1), promised("n", 2)}, `Record "n": Instance: it is in the Batch twice`},
		{"an old name twice", nil, []Record{promised("a", 6), promised("a", 7)}, `Record "a": Instance: it is in the Batch twice`},
		{"chosen without Index", nil, []Record{decided("n", 1, "v", 0)}, `Record "n": Index: 0, but`},
		{"Index, but not chosen", nil, []Record{{Instance: "n", Index: 12}}, `Record "n": Index: 12, but`},
		{"Accepted above Promised", nil, []Record{below}, `Record "n": Promised: 1.1, below Accepted, 2.1`},
		{"promise down", nil, []Record{promised("a", 4)}, `Record "a": Promised: 4.1 after 5.1`},
		{"vote taken back", nil, []Record{promised("b", 6)}, `Record "b": Accepted: - after 5.1`},
		{"vote down", nil, []Record{lowVote}, `Record "e": Accepted: 4.1 after 5.1`},
		{"another value in one ballot", nil, []Record{voted("b", 5, "w")}, `Record "b": Value: "w" after "v", both accepted in 5.1`},
		{"another value chosen in its ballot", nil, []Record{decided("b", 5, "w", 12)}, `Record "b": Value: "w" after "v"`},
		{"a decision changed", nil, []Record{decided("c", 6, "w", 3)}, `Record "c": Value: "w" after "v", which was chosen`},
		{"a decision undone", nil, []Record{voted("c", 6, "v")}, `Record "c": Chosen: false after true`},
		{"Index of another, new name", nil, []Record{decided("n", 1, "v", 3)}, `Record "n": Index: 3 is that of "c"`},
		{"Index of another, old name", nil, []Record{decided("a", 5, "v", 9)}, `Record "a": Index: 9 is that of "d"`},
		{"Index of another decision", nil, []Record{decided("c", 5, "v", 9)}, `Record "c": Index: 9 is that of "d"`},
		{"Index above Last", nil, []Record{decided("n", 1, "v", 21)}, `Record "n": Index: 21, above ServerState.Last, 20`},
		{"Index twice in the Batch", nil, []Record{decided("n", 1, "v", 12), decided("m", 1, "v", 12)}, `Record "m": Index: 12 is that of "n"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := savedIn(t, before)
			want := imageOf(t, s)

			// What is good about the Batch must not be seen, either: it adds, replaces, decides, moves and drops.
			server := tt.state
			if server == nil {
				server = with(func(s *ServerState) { s.Boot, s.Last = 4, 20 })
			}
			good := []Record{promised("g", 1), voted("h", 1, "v"), decided("i", 1, "v", 20), decided("j", 1, "v", 1),
				voted("z", 2, "w"), decided("d", 5, "w", 10)}
			if slices.ContainsFunc(tt.bad, func(r Record) bool { return r.Index == 9 }) {
				good = good[:5]
			}
			err := s.Save(Batch{Server: server, Drop: []NameRange{{"y", "z1"}}, Records: append(good, tt.bad...)})

			require.ErrorContains(t, err, "paxos: memory storage: ")
			require.ErrorContains(t, err, tt.want)
			assert.Equal(t, want, imageOf(t, s))
			checkMemory(t, s)
			assert.Zero(t, loadRecord(t, s, "g"), "an error is an error; none is none")
			err = s.Save(Batch{})
			require.ErrorContains(t, err, "dead since a Save failed")
			require.ErrorContains(t, err, tt.want, "the reason stays")
		})
	}
}

func TestMemoryStorageAllows(t *testing.T) {
	state := ServerState{Cluster: "c", ID: 1, Store: 5, Boot: 3}
	higher := ServerState{Cluster: "c", ID: 1, Store: 5, Boot: 4, Rounds: 9, Last: 2, Members: "1,2 majority(2)"}
	for _, tt := range []struct {
		name        string
		first, then Batch
	}{
		{"the same state again", Batch{Server: &state}, Batch{Server: &state}},
		{"a state that rises, other members", Batch{Server: &state}, Batch{Server: &higher}},
		{"the same promise again", Batch{Records: []Record{promised("x", 1)}}, Batch{Records: []Record{promised("x", 1)}}},
		{"the same vote again", Batch{Records: []Record{voted("x", 1, "v")}}, Batch{Records: []Record{voted("x", 1, "v")}}},
		{"another value in a higher ballot", Batch{Records: []Record{voted("x", 1, "v")}}, Batch{Records: []Record{voted("x", 2, "w")}}},
		{"a decision below the promise", Batch{Records: []Record{promised("x", 9)}}, Batch{Records: []Record{decided("x", 2, "w", 1)}}},
		{"the same decision again", Batch{Records: []Record{decided("x", 1, "v", 1)}}, Batch{Records: []Record{decided("x", 1, "v", 1)}}},
		{"a decision that moves", Batch{Records: []Record{decided("x", 1, "v", 1)}}, Batch{Records: []Record{decided("x", 1, "v", 7)}}},
		{"another name at an Index left", Batch{Records: []Record{decided("x", 1, "v", 1)}},
			Batch{Records: []Record{decided("x", 1, "v", 7), decided("y", 1, "v", 1)}}},
		{"a dropped decision undone", Batch{Records: []Record{decided("x", 5, "v", 1)}},
			Batch{Drop: []NameRange{{"x", "y"}}, Records: []Record{promised("x", 1)}}},
		{"a dropped Index taken", Batch{Records: []Record{decided("x", 5, "v", 1)}},
			Batch{Drop: []NameRange{{"x", "y"}}, Records: []Record{decided("y", 1, "w", 1)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := savedIn(t, tt.first, tt.then)
			for _, r := range tt.then.Records {
				assert.Equal(t, r, loadRecord(t, s, r.Instance))
			}
			if tt.then.Server != nil {
				assert.Equal(t, *tt.then.Server, imageOf(t, s).State)
			}
			checkMemory(t, s)
		})
	}
}

func TestMemoryStorageStateStaysWithoutServer(t *testing.T) {
	state := ServerState{Cluster: "c", ID: 1, Boot: 3}
	s := savedIn(t, Batch{Server: &state}, Batch{Records: []Record{promised("x", 1)}})
	assert.Equal(t, state, imageOf(t, s).State)
}

func TestMemoryStorageDecidedPages(t *testing.T) {
	s := savedIn(t, Batch{Records: []Record{decided("i9", 1, "v", 9), decided("i2", 1, "v", 2), voted("x", 1, "v"),
		decided("i5", 1, "v", 5), decided("max", 1, "v", math.MaxUint64)}})
	all := []Named{{"i2", 2}, {"i5", 5}, {"i9", 9}, {"max", math.MaxUint64}}
	for _, tt := range []struct {
		after uint64
		max   int
		want  []Named
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
		drop []NameRange
		gone []string
	}{
		{"from is in, to is not", []NameRange{{"a", "b"}}, []string{"a", "a\x00", "ab"}},
		{"bounds that are no names", []NameRange{{"aa", "bb"}}, []string{"ab", "b", "ba"}},
		{"one name", []NameRange{{"a", "a\x00"}}, []string{"a"}},
		{"from the first", []NameRange{{"", "a"}}, []string{"\x00"}},
		{"to the last", []NameRange{{"c", "\xff\xff\xff"}}, []string{"c", "\xff", "\xff\xff"}},
		{"empty", []NameRange{{"b", "b"}, {"", ""}}, nil},
		{"backwards", []NameRange{{"c", "a"}, {"a", ""}}, nil},
		{"two that overlap", []NameRange{{"a", "ab"}, {"a\x00", "b"}}, []string{"a", "a\x00", "ab"}},
		{"all", []NameRange{{"", "\xff\xff\xff"}}, names},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Batch
			for i, name := range names {
				r := decided(name, 1, "v", uint64(i+1))
				if i%3 == 0 {
					r = voted(name, 1, "v")
				}
				b.Records = append(b.Records, r)
			}
			s := savedIn(t, b, Batch{Drop: tt.drop})
			for _, r := range b.Records {
				if slices.Contains(tt.gone, r.Instance) {
					r = Record{}
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
	s := savedIn(t, Batch{Records: []Record{decided("x", 5, "v", 1), decided("y", 5, "v", 2)}},
		Batch{Drop: []NameRange{{"a", "z"}}, Records: []Record{promised("x", 1)}})
	assert.Equal(t, storageImage{State: ServerState{Last: 2}, Undecided: map[string]Record{"x": promised("x", 1)}}, imageOf(t, s))
}

func TestMemoryStorageGivesMemoryBack(t *testing.T) {
	s := NewMemoryStorage()
	big := Batch{}
	for i := range 20_000 {
		r := voted(fmt.Sprintf("n%05d", i), 1, "v")
		if i%2 == 0 {
			r = decided(r.Instance, 1, "v", uint64(i+1))
		}
		big.Records = append(big.Records, r)
	}
	require.NoError(t, s.Save(reaching(s, big)))
	assert.Nil(t, s.undo[:cap(s.undo)], "room for a Save of this size is not kept")
	require.NoError(t, s.Save(Batch{Drop: []NameRange{{"n00010", "n99999"}}}))
	checkMemory(t, s)
	require.Len(t, s.chunks, 1)
	for _, r := range s.chunks[0][s.n:cap(s.chunks[0])] {
		require.Zero(t, r, "a dropped record keeps no string alive")
	}
	_, chunks := s.order.Len()
	assert.Equal(t, 1, chunks)
	assert.LessOrEqual(t, cap(s.undecided), memoryChunk)
	_, slots := s.names.Len()
	assert.LessOrEqual(t, slots, 16*256)
	require.NoError(t, s.Save(Batch{Records: []Record{voted("n00001", 2, "w")}}))
	for _, u := range s.undo[:cap(s.undo)] {
		require.Zero(t, u, "a Save that ended keeps no string alive")
	}
}

func TestMemoryStorageAllocatesNothingForAKnownName(t *testing.T) {
	s := savedIn(t, Batch{Records: []Record{promised("x", 1)}})
	b, round := Batch{Records: make([]Record, 1)}, uint64(1)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		round++
		b.Records[0] = voted("x", round, "v")
		if err := s.Save(b); err != nil {
			panic(err)
		}
		if r, err := s.Load("unknown"); err != nil || r != (Record{}) {
			panic("a record of nobody")
		}
	}))
}

// TestMemoryStorageUndecidedHoldsNoLock saves from inside the loop, which would wait for ever for a lock that the loop
// holds.
func TestMemoryStorageUndecidedHoldsNoLock(t *testing.T) {
	s := savedIn(t, Batch{Records: []Record{promised("a", 1), promised("b", 1), decided("c", 1, "v", 1)}})
	seq := s.Undecided()
	var names []string
	for name, err := range seq {
		require.NoError(t, err)
		names = append(names, name)
		require.NoError(t, s.Save(reaching(s, Batch{Records: []Record{decided(name, 1, "v", uint64(len(names)+1)), promised(name+name, 1)}})))
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

func TestMemoryStorageRefusesOverlappingSaves(t *testing.T) {
	s := savedIn(t, Batch{Records: []Record{promised("x", 1)}})
	// A reader holds up the first Save, so that it is certain to run beside the second.
	s.mu.RLock()
	first := make(chan error, 1)
	go func() { first <- s.Save(Batch{Records: []Record{promised("x", 2)}}) }()
	for !s.saving.Load() {
		runtime.Gosched()
	}
	require.ErrorIs(t, s.Save(Batch{Records: []Record{promised("x", 3)}}), errOverlap)
	s.mu.RUnlock()
	require.NoError(t, <-first, "the Save that was alone when it began is not affected")
	assert.Equal(t, promised("x", 2), loadRecord(t, s, "x"))
	require.ErrorIs(t, s.Save(Batch{Records: []Record{promised("x", 4)}}), errOverlap, "dead")
	assert.Equal(t, promised("x", 2), loadRecord(t, s, "x"))
}

// TestMemoryStorageReadersSeeWholeSaves reads while Saves run, each of which decides two instances and opens one.
func TestMemoryStorageReadersSeeWholeSaves(t *testing.T) {
	const saves = 2000
	s := NewMemoryStorage()
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
					assert.Equal(t, Named{fmt.Sprint("n", last), uint64(last)}, n)
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
		require.NoError(t, s.Save(Batch{Records: []Record{promised(b, 1)}}))
		require.NoError(t, s.Save(Batch{Server: &ServerState{Last: 2*i + 2},
			Records: []Record{decided(b, 1, "v", 2*i+2), decided(a, 1, "v", 2*i+1)}}))
	}
	close(done)
	readers.Wait()
}
