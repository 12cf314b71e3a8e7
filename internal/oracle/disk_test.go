package oracle

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A Disk is a Storage that refuses what no Replica may save.
func TestDisk(t *testing.T) {
	d := NewDisk()
	require.NoError(t, paxos.Format(&d, 1, paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1}}))
	state, err := d.Server()
	require.NoError(t, err)
	assert.Equal(t, paxos.ServerID(1), state.ID)
	assert.NotZero(t, state.Store)

	record := func(name string, index uint64) paxos.Record {
		return paxos.Record{Instance: name, Acceptor: voted(b11, "v"), Chosen: index != 0, Index: index}
	}
	state.Boot, state.Last = 1, 9
	require.NoError(t, d.Save(paxos.Batch{Server: &state, Records: []paxos.Record{record("c", 2), record("b", 0), record("a", 0), record("d", 5)}}))
	assert.Equal(t, state, d.State)
	rec, err := d.Load("c")
	require.NoError(t, err)
	assert.Equal(t, record("c", 2), rec)
	for _, want := range [][]string{{"a", "b"}, {"a"}} {
		var open []string
		for name, err := range d.Undecided() {
			require.NoError(t, err)
			if open = append(open, name); len(open) == len(want) {
				break
			}
		}
		assert.Equal(t, want, open)
	}
	names, err := d.Decided(0, 9)
	require.NoError(t, err)
	assert.Equal(t, []paxos.Named{{Instance: "c", Index: 2}, {Instance: "d", Index: 5}}, names)
	names, _ = d.Decided(2, 9)
	assert.Equal(t, []paxos.Named{{Instance: "d", Index: 5}}, names)
	names, _ = d.Decided(0, 1)
	assert.Equal(t, []paxos.Named{{Instance: "c", Index: 2}}, names)

	assert.ErrorContains(t, d.Save(paxos.Batch{Records: []paxos.Record{record("a", 4)}}), `Index 4 of "a" after 5`)
	assert.Error(t, d.Save(paxos.Batch{Records: []paxos.Record{record("a", 10)}}), "an Index above Last")
	older := state
	older.Boot = 0
	assert.Error(t, d.Save(paxos.Batch{Server: &older}), "Boot goes down")
	assert.False(t, d.Records["a"].Chosen, "nothing of them is stored")
}

// A lie is checked no more with Lenient, and everything else is. Without it, the value of a forged Accept is that of its ballot.
func TestOracleOfLies(t *testing.T) {
	lie := paxos.Message{Kind: paxos.KindAccept, Instance: "x", Ballot: b11, Value: "soup"}
	b := newBench()
	b.Forged(lie)
	require.NoError(t, b.save(1, voted(b11, "soup")), "somebody asked for it")
	require.ErrorContains(t, b.save(2, voted(b11, "pizza")), "I6 is broken")
	assert.False(t, b.Fact("x").Forged)

	b = newBench()
	b.Lenient = true
	b.Forged(lie)
	require.NoError(t, b.save(2, voted(b22, "nobody's")))
	require.NoError(t, b.save(2, paxos.Acceptor{Promised: b11}))
	require.ErrorContains(t, b.sendAt(1, 2, paxos.Message{Kind: paxos.KindPromise, Instance: "y", Ballot: b11}), "I5 is broken", "of another instance")
	assert.True(t, b.Fact("x").Forged)
	assert.Equal(t, Fact{}, b.Fact("never heard of"))
	var names []string
	for name, fact := range b.Facts() {
		assert.Equal(t, name == "x", fact.Forged)
		names = append(names, name)
	}
	slices.Sort(names)
	assert.Equal(t, []string{"x", "y"}, names)
	for range b.Facts() {
		break
	}
}

// IDs need not be 1, 2 and so on, and a quorum counts acceptors by position.
func TestOracleOfOtherIDs(t *testing.T) {
	var servers []*Server
	for _, id := range []paxos.ServerID{5, 7, 2} {
		servers = append(servers, &Server{ID: id, Life: 1, Disk: Disk{Records: map[string]paxos.Record{},
			State: paxos.ServerState{ID: id, Store: uint64(id), Boot: 1, Rounds: 9, Peers: "2/2,5/5,7/7"}}})
	}
	o := New(paxos.Members{Acceptors: []paxos.ServerID{5, 7}, Learners: []paxos.ServerID{2}}, servers)
	assert.Equal(t, paxos.Majority(2), o.Quorum())
	for _, s := range servers {
		assert.Same(t, s, o.server(s.ID))
	}
	assert.Nil(t, o.server(1))
	o.Proposed("x", "v")
	b := paxos.Ballot{Round: 1, Server: 7}
	vote := paxos.Batch{Records: []paxos.Record{{Instance: "x", Acceptor: voted(b, "v")}}}
	require.NoError(t, o.Saved(servers[0], vote))
	assert.False(t, o.Fact("x").Chosen)
	require.NoError(t, o.Saved(servers[1], vote))
	assert.Equal(t, Fact{Chosen: true, Value: "v"}, o.Fact("x"))
	assert.ErrorContains(t, o.Saved(servers[2], vote), "S2 is broken")
}
