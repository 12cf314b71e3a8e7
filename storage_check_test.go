package paxos

import (
	"testing"

	"math"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The text of ServerState.Peers, and the changes that a Batch may make in it.
func TestPeersText(t *testing.T) {
	var state ServerState
	for _, id := range []ServerID{5, 1, 3, math.MaxUint64, 4, 2} {
		state = state.WithStore(id, uint64(id)<<8|1)
	}
	assert.Equal(t, "1/101,2/201,3/301,4/401,5/501,18446744073709551615/ffffffffffffff01", state.Peers)
	stores, err := state.Stores()
	require.NoError(t, err)
	assert.Len(t, stores, 6)
	assert.Equal(t, uint64(0x301), stores[3])
	for _, bad := range []string{"1", "1/", "/1", "1/x", "0/1", "1/0", "1/1,", ",1/1", "1/1,,2/1", "2/1,1/1", "1/1,1/1", "1/1/1", "-1/1", "1/1ffffffffffffffff"} {
		_, err := ServerState{Peers: bad}.Stores()
		assert.ErrorContains(t, err, "ServerState.Peers", "%q", bad)
		assert.ErrorContains(t, checkPeers("", bad), "ServerState.Peers", "%q", bad)
	}
	for _, tt := range []struct{ last, next, want string }{
		{"", "", ""}, {"", "1/1", ""}, {"2/1", "2/1", ""}, {"2/1", "1/5,2/1,3/9", ""}, {"1/1,3/3", "1/1,2/2,3/3", ""},
		{"2/1", "", "lacks"}, {"1/1,2/1", "1/1", "lacks"}, {"2/1", "2/2", "taken back nor changed"}, {"1/1,2/1", "2/1", "taken back nor changed"},
		{"1/1,2/2,3/3", "1/1,3/3", "taken back nor changed"}, {"2/1", "1/1", "lacks"}, {"2/1", "2/1,2/2", "want server/store"},
	} {
		if err := checkPeers(tt.last, tt.next); tt.want == "" {
			assert.NoError(t, err, "%q then %q", tt.last, tt.next)
		} else {
			assert.ErrorContains(t, err, tt.want, "%q then %q", tt.last, tt.next)
		}
	}
	next := state.WithStore(77, 1)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = checkPeers(state.Peers, next.Peers) }))
}

// Batch.Check names the fault of a Batch that it refuses, and lets every other Batch pass.
func TestBatchCheck(t *testing.T) {
	last := ServerState{Cluster: "c", ID: 1, Store: 7, Members: "1 majority(1)", Boot: 3, Rounds: 20, Last: 9, Peers: "2/9f,3/1c"}
	state := func(change func(*ServerState)) Batch {
		s := last
		change(&s)
		return Batch{Server: &s, Records: []Record{{Instance: "x", Acceptor: Acceptor{Promised: Ballot{1, 1}}}}}
	}
	assert.NoError(t, Batch{}.Check(last))
	assert.NoError(t, state(func(s *ServerState) { s.Boot, s.Rounds, s.Last = 4, 30, 10 }).Check(last))
	assert.NoError(t, state(func(*ServerState) {}).Check(ServerState{}))
	raised := last
	raised.Last = 10
	decided10, above := Record{Instance: "x", Chosen: true, Index: 10}, Record{Instance: "y", Chosen: true, Index: 11}
	assert.NoError(t, Batch{Server: &raised, Records: []Record{decided10}}.Check(last))
	assert.NoError(t, state(func(s *ServerState) { s.Peers = "1/5,2/9f,3/1c,4/1" }).Check(last))
	for want, b := range map[string]Batch{
		"ServerState.Boot: 2 after 3":                       state(func(s *ServerState) { s.Boot = 2 }),
		"ServerState.Rounds: 19 after 20":                   state(func(s *ServerState) { s.Rounds = 19 }),
		"ServerState.Last: 8 after 9":                       state(func(s *ServerState) { s.Last = 8 }),
		"ServerState.Cluster: \"d\" after":                  state(func(s *ServerState) { s.Cluster = "d" }),
		"ServerState.ID: 2 after 1":                         state(func(s *ServerState) { s.ID = 2 }),
		"ServerState.Store: 8 after 7":                      state(func(s *ServerState) { s.Store = 8 }),
		`ServerState.Peers: "2/9f" lacks "3/1c"`:            state(func(s *ServerState) { s.Peers = "2/9f" }),
		`ServerState.Peers: "2/90,3/1c" after`:              state(func(s *ServerState) { s.Peers = "2/90,3/1c" }),
		`Record "y": Index: 11, above ServerState.Last, 10`: {Server: &raised, Records: []Record{decided10, above}},
		`Record "y": Index: 11, above ServerState.Last, 9`:  {Records: []Record{above}},
		`Record "": Instance: it is empty`:                  {Records: []Record{{Instance: "x", Acceptor: Acceptor{Promised: Ballot{1, 1}}}, {}}},
		`Record "x": Index: 0`:                              {Records: []Record{{Instance: "x", Chosen: true}}},
		`Record "x": Index: 5`:                              {Records: []Record{{Instance: "x", Index: 5}}},
		`Record "x": Promised: 1.1, below Acc`:              {Records: []Record{{Instance: "x", Acceptor: Acceptor{Ballot{1, 1}, Ballot{2, 1}, "v"}}}},
	} {
		assert.ErrorContains(t, b.Check(last), want)
	}
}
