package memory

import (
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// kept is the state that the storage of TestMemoryStorageRefuses has saved.
var kept = paxos.ServerState{Cluster: "c", ID: 1, Store: 5, Members: "1 majority(1)", Boot: 3, Rounds: 100, Last: 9}

// keptWith returns a changed copy of kept.
func keptWith(change func(*paxos.ServerState)) *paxos.ServerState {
	next := kept
	change(&next)
	return &next
}

var (
	lowVote = paxos.Record{Instance: "e", Acceptor: paxos.Acceptor{Promised: bal(8, 1), Accepted: bal(4, 1), Value: "v"}}
	below   = paxos.Record{Instance: "n", Acceptor: paxos.Acceptor{Promised: bal(1, 1), Accepted: bal(2, 1)}}
)

// A refusal is a bad part of a Batch, and the words of its error.
type refusal struct {
	name  string
	state *paxos.ServerState // nil: a good one
	bad   []paxos.Record
	want  string
}

var refusedStates = []refusal{
	{name: "Boot down", state: keptWith(func(s *paxos.ServerState) { s.Boot = 2 }), want: "ServerState.Boot: 2 after 3"},
	{name: "Rounds down", state: keptWith(func(s *paxos.ServerState) { s.Rounds = 99 }), want: "ServerState.Rounds: 99 after 100"},
	{name: "Last down", state: keptWith(func(s *paxos.ServerState) { s.Last = 0 }), want: "ServerState.Last: 0 after 9"},
	{name: "another cluster", state: keptWith(func(s *paxos.ServerState) { s.Cluster = "d" }), want: `ServerState.Cluster: "d" after "c"`},
	{name: "another server", state: keptWith(func(s *paxos.ServerState) { s.ID = 2 }), want: "ServerState.ID: 2 after 1"},
	{name: "another store", state: keptWith(func(s *paxos.ServerState) { s.Store = 6 }), want: "ServerState.Store: 6 after 5"},
}

var refusedRecords = []refusal{
	{name: "no name", bad: []paxos.Record{promised("", 1)}, want: `Record "": Instance: it is empty`},
	{name: "a new name twice", bad: []paxos.Record{promised("n", 1), promised("n", 2)}, want: `Record "n": Instance: it is in the Batch twice`},
	{name: "an old name twice", bad: []paxos.Record{promised("a", 6), promised("a", 7)}, want: `Record "a": Instance: it is in the Batch twice`},
	{name: "chosen without Index", bad: []paxos.Record{decided("n", 1, "v", 0)}, want: `Record "n": Index: 0, but`},
	{name: "Index, but not chosen", bad: []paxos.Record{{Instance: "n", Index: 12}}, want: `Record "n": Index: 12, but`},
	{name: "Accepted above Promised", bad: []paxos.Record{below}, want: `Record "n": Promised: 1.1, below Accepted, 2.1`},
	{name: "promise down", bad: []paxos.Record{promised("a", 4)}, want: `Record "a": Promised: 4.1 after 5.1`},
	{name: "vote taken back", bad: []paxos.Record{promised("b", 6)}, want: `Record "b": Accepted: - after 5.1`},
	{name: "vote down", bad: []paxos.Record{lowVote}, want: `Record "e": Accepted: 4.1 after 5.1`},
	{name: "another value in one ballot", bad: []paxos.Record{voted("b", 5, "w")}, want: `Record "b": Value: "w" after "v", both accepted in 5.1`},
	{name: "another value chosen in its ballot", bad: []paxos.Record{decided("b", 5, "w", 12)}, want: `Record "b": Value: "w" after "v"`},
	{name: "a decision changed", bad: []paxos.Record{decided("c", 6, "w", 3)}, want: `Record "c": Value: "w" after "v", which was chosen`},
	{name: "a decision undone", bad: []paxos.Record{voted("c", 6, "v")}, want: `Record "c": Chosen: false after true`},
	{name: "Index of another, new name", bad: []paxos.Record{decided("n", 1, "v", 3)}, want: `Record "n": Index: 3 is that of "c"`},
	{name: "Index of another, old name", bad: []paxos.Record{decided("a", 5, "v", 9)}, want: `Record "a": Index: 9 is that of "d"`},
	{name: "Index of another decision", bad: []paxos.Record{decided("c", 5, "v", 9)}, want: `Record "c": Index: 9 is that of "d"`},
	{name: "Index above Last", bad: []paxos.Record{decided("n", 1, "v", 21)}, want: `Record "n": Index: 21, above ServerState.Last, 20`},
	{name: "Index twice in the Batch", bad: []paxos.Record{decided("n", 1, "v", 12), decided("m", 1, "v", 12)}, want: `Record "m": Index: 12 is that of "n"`},
}

func TestMemoryStorageRefuses(t *testing.T) {
	before := paxos.Batch{Server: &kept, Records: []paxos.Record{
		promised("a", 5), voted("b", 5, "v"), decided("c", 5, "v", 3), decided("d", 5, "w", 9), voted("z", 1, "v"),
		{Instance: "e", Acceptor: paxos.Acceptor{Promised: bal(8, 1), Accepted: bal(5, 1), Value: "v"}},
	}}
	for _, tt := range slices.Concat(refusedStates, refusedRecords) {
		t.Run(tt.name, func(t *testing.T) {
			s := savedIn(t, before)
			want := imageOf(t, s)

			// The good parts of the Batch must not be seen, either: it adds, replaces, decides, moves and drops.
			server := tt.state
			if server == nil {
				server = keptWith(func(s *paxos.ServerState) { s.Boot, s.Last = 4, 20 })
			}
			good := []paxos.Record{promised("g", 1), voted("h", 1, "v"), decided("i", 1, "v", 20), decided("j", 1, "v", 1),
				voted("z", 2, "w"), decided("d", 5, "w", 10)}
			if slices.ContainsFunc(tt.bad, func(r paxos.Record) bool { return r.Index == 9 }) {
				good = good[:5]
			}
			err := s.Save(paxos.Batch{Server: server, Drop: []paxos.NameRange{{From: "y", To: "z1"}}, Records: append(good, tt.bad...)})

			require.ErrorContains(t, err, "paxos: memory storage: ")
			require.ErrorContains(t, err, tt.want)
			assert.Equal(t, want, imageOf(t, s))
			checkMemory(t, s)
			assert.Zero(t, loadRecord(t, s, "g"), "an error is an error; none is none")
			err = s.Save(paxos.Batch{})
			require.ErrorContains(t, err, "dead since a Save failed")
			require.ErrorContains(t, err, tt.want, "the reason stays")
		})
	}
}

func TestMemoryStorageAllows(t *testing.T) {
	state := paxos.ServerState{Cluster: "c", ID: 1, Store: 5, Boot: 3}
	higher := paxos.ServerState{Cluster: "c", ID: 1, Store: 5, Boot: 4, Rounds: 9, Last: 2, Members: "1,2 majority(2)"}
	for _, tt := range []struct {
		name        string
		first, then paxos.Batch
	}{
		{"the same state again", paxos.Batch{Server: &state}, paxos.Batch{Server: &state}},
		{"a state that rises, other members", paxos.Batch{Server: &state}, paxos.Batch{Server: &higher}},
		{"the same promise again", paxos.Batch{Records: []paxos.Record{promised("x", 1)}}, paxos.Batch{Records: []paxos.Record{promised("x", 1)}}},
		{"the same vote again", paxos.Batch{Records: []paxos.Record{voted("x", 1, "v")}}, paxos.Batch{Records: []paxos.Record{voted("x", 1, "v")}}},
		{"another value in a higher ballot", paxos.Batch{Records: []paxos.Record{voted("x", 1, "v")}}, paxos.Batch{Records: []paxos.Record{voted("x", 2, "w")}}},
		{"a decision below the promise", paxos.Batch{Records: []paxos.Record{promised("x", 9)}}, paxos.Batch{Records: []paxos.Record{decided("x", 2, "w", 1)}}},
		{"the same decision again", paxos.Batch{Records: []paxos.Record{decided("x", 1, "v", 1)}}, paxos.Batch{Records: []paxos.Record{decided("x", 1, "v", 1)}}},
		{"a decision that moves", paxos.Batch{Records: []paxos.Record{decided("x", 1, "v", 1)}}, paxos.Batch{Records: []paxos.Record{decided("x", 1, "v", 7)}}},
		{"another name at an Index left", paxos.Batch{Records: []paxos.Record{decided("x", 1, "v", 1)}},
			paxos.Batch{Records: []paxos.Record{decided("x", 1, "v", 7), decided("y", 1, "v", 1)}}},
		{"a dropped decision undone", paxos.Batch{Records: []paxos.Record{decided("x", 5, "v", 1)}},
			paxos.Batch{Drop: []paxos.NameRange{{From: "x", To: "y"}}, Records: []paxos.Record{promised("x", 1)}}},
		{"a dropped Index taken", paxos.Batch{Records: []paxos.Record{decided("x", 5, "v", 1)}},
			paxos.Batch{Drop: []paxos.NameRange{{From: "x", To: "y"}}, Records: []paxos.Record{decided("y", 1, "w", 1)}}},
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

func TestMemoryStorageRefusesOverlappingSaves(t *testing.T) {
	s := savedIn(t, paxos.Batch{Records: []paxos.Record{promised("x", 1)}})
	// A reader holds up the first Save, so that it is certain to run beside the second.
	s.mu.RLock()
	first := make(chan error, 1)
	go func() { first <- s.Save(paxos.Batch{Records: []paxos.Record{promised("x", 2)}}) }()
	for !s.saving.Load() {
		runtime.Gosched()
	}
	require.ErrorIs(t, s.Save(paxos.Batch{Records: []paxos.Record{promised("x", 3)}}), errOverlap)
	s.mu.RUnlock()
	require.NoError(t, <-first, "the Save that was alone when it began is not affected")
	assert.Equal(t, promised("x", 2), loadRecord(t, s, "x"))
	require.ErrorIs(t, s.Save(paxos.Batch{Records: []paxos.Record{promised("x", 4)}}), errOverlap, "dead")
	assert.Equal(t, promised("x", 2), loadRecord(t, s, "x"))
}
