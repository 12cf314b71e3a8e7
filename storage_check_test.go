package paxos

import (
	"math"
	"strings"
	"testing"

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

// chain returns the texts of configurations 0 to n of cluster c, with the acceptors of each: 1 to 3 and one more in each.
func chain(t *testing.T, n int) (texts, voters []string) {
	t.Helper()
	c := Configuration{Members: Members{Cluster: "c", Acceptors: upTo(3)}}
	for range n {
		texts, voters = append(texts, c.String()), append(voters, c.Members.Voters())
		next, err := c.Next(Members{Cluster: "c", Acceptors: upTo(len(c.Members.Acceptors) + 1)})
		require.NoError(t, err)
		c = next
	}
	return append(texts, c.String()), append(voters, c.Members.Voters())
}

// A Batch takes nothing of the configuration of a server back. A state of number n has the Members of it.
func TestBatchCheckOfConfigurations(t *testing.T) {
	texts, voters := chain(t, 4)
	at := func(n int, before, imports string) ServerState {
		s := ServerState{Cluster: "c", ID: 1, Store: 7, Members: voters[n], Before: before, Import: imports}
		if n > 0 {
			s.Configuration = texts[n]
		}
		return s
	}
	with := func(s ServerState, change func(*ServerState)) ServerState { change(&s); return s }
	other := strings.Replace(texts[2], "learners -", "learners 9", 1)
	for _, tt := range []struct {
		name       string
		last, next ServerState
		want       string
	}{
		{"nothing", at(2, texts[1], ""), at(2, texts[1], ""), ""},
		{"the first change", at(0, "", ""), at(1, texts[0], ""), ""},
		{"the next", at(1, "", ImportComplete), at(2, texts[1], ""), ""},
		{"one that was settled long ago", at(1, texts[0], "x"), at(4, "", ""), ""},
		{"it imports", at(2, texts[1], ""), at(2, texts[1], "2/9f03/57"), ""},
		{"it imports anew", at(2, texts[1], "2/9f03/57"), at(2, texts[1], ""), ""},
		{"complete", at(2, texts[1], "2/9f03/57"), at(2, texts[1], ImportComplete), ""},
		{"settled", at(2, texts[1], ImportComplete), at(2, "", ImportComplete), ""},
		{"settled and complete", at(2, texts[1], "x"), at(2, "", ImportComplete), ""},
		{"a new storage", ServerState{}, at(3, texts[2], "x"), ""},
		{"no Configuration, other Members", at(0, "", ""), at(1, "", "").withoutConfiguration(), ""},

		{"taken back", at(2, "", ""), at(0, "", ""), "ServerState.Configuration: empty after number 2: it is never taken back"},
		{"number down", at(3, "", ""), at(2, "", ""), "ServerState.Configuration: number 2 after 3: it never goes down"},
		{"another text", at(2, "", ""), with(at(2, "", ""), func(s *ServerState) { s.Configuration = other }),
			"ServerState.Configuration: another text of number 2: it never changes"},
		{"another text, one byte", at(2, "", ""), with(at(2, "", ""), func(s *ServerState) { s.Configuration += "\n" }),
			"ServerState.Configuration: paxos: configuration: "},
		{"no text", at(0, "", ""), with(at(2, "", ""), func(s *ServerState) { s.Configuration = "x" }), "ServerState.Configuration: paxos: configuration: want a line"},
		{"number 0", at(0, "", ""), with(at(0, "", ""), func(s *ServerState) { s.Configuration = texts[0] }), "ServerState.Configuration: number 0: want it empty"},
		{"of another cluster", at(0, "", ""), with(at(1, "", ""), func(s *ServerState) { s.Configuration = strings.Replace(texts[1], "cluster c", "cluster d", 1) }),
			`ServerState.Configuration: of cluster "d", the server is of cluster "c"`},
		{"other Members", at(1, "", ""), with(at(1, "", ""), func(s *ServerState) { s.Members = voters[0] }),
			`ServerState.Members: "1,2,3 majority(3)", want "1,2,3,4 majority(4)" as in Configuration`},
		{"Members of the one before", at(1, "", ""), with(at(2, texts[1], ""), func(s *ServerState) { s.Members = voters[1] }), "ServerState.Members: "},
		{"Before alone", at(0, "", ""), at(0, texts[0], ""), "ServerState.Before: there is no Configuration that it is before"},
		{"Import alone", at(0, "", ""), at(0, "", ImportComplete), "ServerState.Import: there is no Configuration before that of Members"},
		{"Before is no text", at(0, "", ""), at(1, "x", ""), "ServerState.Before: paxos: configuration: want a line"},
		{"Before of another number", at(0, "", ""), at(3, texts[1], ""), "ServerState.Before: configuration 1, want the one before configuration 3"},
		{"Before of other members", at(0, "", ""), at(1, strings.NewReplacer("1,2,3", "1,2,9").Replace(texts[0]), ""), "ServerState.Before: fingerprint "},
		{"Before comes back", at(2, "", ""), at(2, texts[1], ""), "ServerState.Before: it has changed under one Configuration"},
		{"complete no more", at(2, texts[1], ImportComplete), at(2, texts[1], ""), `ServerState.Import: "" after "complete": it stays so`},
		{"complete no more, and settled", at(2, texts[1], ImportComplete), at(2, "", "x"), `ServerState.Import: "x" after "complete": it stays so`},
	} {
		err := Batch{Server: &tt.next}.Check(tt.last)
		if tt.want == "" {
			assert.NoError(t, err, tt.name)
		} else {
			assert.ErrorContains(t, err, tt.want, tt.name)
		}
	}
	last, next := at(2, texts[1], "2/9f03/57"), at(2, texts[1], "2/9f03/58")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = checkConfigurations(&last, &last), checkConfigurations(&last, &next)
	}), "what is saved often")
}

// withoutConfiguration returns s as a server of an earlier version has it.
func (s ServerState) withoutConfiguration() ServerState {
	s.Configuration, s.Before, s.Import = "", "", ""
	return s
}

// The Members of Start are compared with what the storage knows.
func TestServerStateCheckOfConfigurations(t *testing.T) {
	texts, voters := chain(t, 3)
	members := func(n int) Members { return Members{Cluster: "c", Acceptors: upTo(3 + n)} }
	s := ServerState{Cluster: "c", ID: 99, Store: 7, Members: voters[2], Configuration: texts[2], Before: texts[1]}
	assert.NoError(t, s.Check(99, members(2)), "it need not have the server")
	assert.NoError(t, s.Check(99, members(1)))
	assert.EqualError(t, s.Check(99, members(0)), "storage knows acceptors 1,2,3,4,5 majority(5) of configuration 2 and 1,2,3,4 majority(4) of configuration 1, "+
		"Members says 1,2,3 majority(3)")
	assert.EqualError(t, s.Check(98, members(2)), "storage belongs to server 99, not to server 98")
	assert.EqualError(t, s.Check(99, Members{Cluster: "d", Acceptors: upTo(5)}), `storage belongs to cluster "c", Members.Cluster is "d"`)
	s.Before = ""
	assert.NoError(t, s.Check(99, members(2)))
	assert.EqualError(t, s.Check(99, members(1)), "storage knows acceptors 1,2,3,4,5 majority(5) of configuration 2, Members says 1,2,3,4 majority(4)")
	s.Configuration = "x"
	assert.ErrorContains(t, s.Check(99, members(2)), "storage: ServerState.Configuration: paxos: configuration: want a line")
	s.Configuration, s.ID = "", 1
	assert.NoError(t, s.Check(1, members(2)))
	assert.ErrorContains(t, s.Check(1, members(1)), "a change of members needs a new cluster")
}
