package paxostest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A bench is a checker with three servers whose disks a test fills by hand.
type bench struct {
	checker
	servers []*server
}

var (
	b01 = paxos.Ballot{Round: 0, Server: 1}
	b11 = paxos.Ballot{Round: 1, Server: 1}
	b22 = paxos.Ballot{Round: 2, Server: 2}
)

func newBench() *bench {
	b := &bench{checker: newChecker(paxos.Majority(3), 3)}
	for id := paxos.ServerID(1); id <= 3; id++ {
		b.servers = append(b.servers, &server{id: id, life: 1,
			disk: disk{state: paxos.ServerState{ID: id, Store: 1000 + uint64(id), Rounds: 100, Last: 100, Peers: "1/3e9,2/3ea,3/3eb"}, records: map[string]paxos.Record{}}})
	}
	b.proposed("x", "burger")
	b.proposed("x", "pizza")
	return b
}

// save makes an acceptor durable.
func (b *bench) save(id paxos.ServerID, a paxos.Acceptor) error {
	return b.saveRecord(id, paxos.Record{Instance: "x", Acceptor: a})
}

func (b *bench) saveRecord(id paxos.ServerID, rec paxos.Record) error {
	batch := paxos.Batch{Records: []paxos.Record{rec}}
	err := b.saved(b.servers[id-1], batch)
	_ = b.servers[id-1].disk.Save(batch)
	return err
}

func (b *bench) send(from, to paxos.ServerID, m paxos.Message) error {
	m.Instance = "x"
	return b.sent(b.servers[from-1], to, &m)
}

// pulls makes durable how far a server has the decisions of others, and the records with it.
func (b *bench) pulls(id paxos.ServerID, pulled string, records ...paxos.Record) error {
	state := b.servers[id-1].disk.state
	state.Pulled = pulled
	return b.saved(b.servers[id-1], paxos.Batch{Server: &state, Records: records})
}

func voted(b paxos.Ballot, v paxos.Value) paxos.Acceptor {
	return paxos.Acceptor{Promised: b, Accepted: b, Value: v}
}

// prepare has server 1 begin a ballot that servers 1 and 2 promise.
func (b *bench) prepare(t *testing.T) {
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: b11, Value: "burger"}))
	require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
	require.NoError(t, b.save(2, paxos.Acceptor{Promised: b11}))
	promise := paxos.Message{Kind: paxos.KindPromise, Instance: "x", Ballot: b11}
	require.NoError(t, b.send(2, 1, promise))
	b.arrived(b.servers[0], &paxos.Packet{From: 2}, &promise)
}

// decide has servers 1 and 2 choose burger in ballot 1.1.
func (b *bench) decide(t *testing.T) {
	b.prepare(t)
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}))
	require.NoError(t, b.save(1, voted(b11, "burger")))
	require.NoError(t, b.save(2, voted(b11, "burger")))
	require.NoError(t, b.send(2, 1, paxos.Message{Kind: paxos.KindAccepted, Ballot: b11}))
}

// askOwned has a server, in its start 2, ask for votes for burger in its round 0; saved says that its own is on its disk.
func (b *bench) askOwned(id paxos.ServerID, name string, saved bool) error {
	b.proposed(name, "burger")
	b.proposed(name, "pizza")
	s, ballot := b.servers[id-1], paxos.Ballot{Round: 0, Server: id}
	s.disk.state.Boot = 2
	if saved {
		_ = b.saveRecord(id, paxos.Record{Instance: name, Acceptor: voted(ballot, "burger")})
	}
	return b.sent(s, id%3+1, &paxos.Message{Kind: paxos.KindAccept, Instance: name, Ballot: ballot, Value: "burger"})
}

// TestCheckerFindsWhatIsBroken breaks each rule once, and nothing else before.
func TestCheckerFindsWhatIsBroken(t *testing.T) {
	decision := func(index uint64, v paxos.Value) paxos.Record {
		return paxos.Record{Instance: "x", Acceptor: voted(b11, v), Chosen: true, Index: index}
	}
	for _, test := range []struct {
		name, rule string
		do         func(t *testing.T, b *bench) error
	}{
		{"two values chosen", "I1", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.save(3, voted(b22, "pizza")))
			return b.save(2, voted(b22, "pizza"))
		}},
		{"a value of nobody", "I2", func(t *testing.T, b *bench) error { return b.save(1, voted(b11, "soup")) }},
		{"a promise goes down", "I3", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b22}))
			return b.save(1, paxos.Acceptor{Promised: b11})
		}},
		{"a vote goes back", "I3", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.save(3, voted(b22, "burger")))
			return b.save(3, paxos.Acceptor{Promised: b22, Accepted: b11, Value: "burger"})
		}},
		{"a record twice in one Batch", "I3", func(t *testing.T, b *bench) error {
			rec := paxos.Record{Instance: "x", Acceptor: paxos.Acceptor{Promised: b11}}
			return b.saved(b.servers[0], paxos.Batch{Records: []paxos.Record{rec, rec}})
		}},
		{"Rounds go down", "I3", func(t *testing.T, b *bench) error {
			state := b.servers[0].disk.state
			state.Rounds--
			return b.saved(b.servers[0], paxos.Batch{Server: &state})
		}},
		{"a vote above the promise", "I4", func(t *testing.T, b *bench) error {
			return b.save(1, paxos.Acceptor{Promised: b11, Accepted: b22, Value: "pizza"})
		}},
		{"a promise before the save", "I5", func(t *testing.T, b *bench) error {
			return b.send(2, 1, paxos.Message{Kind: paxos.KindPromise, Ballot: b11})
		}},
		{"a vote before the save", "I5", func(t *testing.T, b *bench) error {
			b.prepare(t)
			require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}))
			return b.send(2, 1, paxos.Message{Kind: paxos.KindAccepted, Ballot: b11})
		}},
		{"a state before the save", "I5", func(t *testing.T, b *bench) error {
			return b.send(2, 1, paxos.Message{Kind: paxos.KindState, Ballot: b11, Promised: b22})
		}},
		{"a round that is not reserved", "I5", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 101, Server: 1}})
		}},
		{"a ballot with two values", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, voted(b11, "burger")))
			return b.save(2, voted(b11, "pizza"))
		}},
		{"a ballot in two lives", "I6", func(t *testing.T, b *bench) error {
			b.prepare(t)
			b.servers[0].life++
			return b.send(1, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b11})
		}},
		{"another server's ballot", "I6", func(t *testing.T, b *bench) error {
			return b.send(1, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b22})
		}},
		{"votes asked for too early", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"})
		}},
		{"a reported vote passed over", "I7", func(t *testing.T, b *bench) error {
			b.prepare(t)
			require.NoError(t, b.save(3, voted(b11, "burger")))
			require.NoError(t, b.send(2, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b22}))
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22}))
			b.arrived(b.servers[1], &paxos.Packet{From: 3}, &paxos.Message{Kind: paxos.KindPromise, Instance: "x", Ballot: b22, Accepted: b11, Value: "burger"})
			return b.send(2, 3, paxos.Message{Kind: paxos.KindAccept, Ballot: b22, Value: "pizza"})
		}},
		{"the own vote passed over", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, voted(b11, "burger")))
			require.NoError(t, b.send(2, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b22}))
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22, Accepted: b11, Value: "burger"}))
			b.arrived(b.servers[1], &paxos.Packet{From: 3}, &paxos.Message{Kind: paxos.KindPromise, Instance: "x", Ballot: b22})
			return b.send(2, 3, paxos.Message{Kind: paxos.KindAccept, Ballot: b22, Value: "pizza"})
		}},
		{"round 0 where nobody owns", "I7", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b01, Value: "burger"})
		}},
		{"round 0 of another's", "I7", func(t *testing.T, b *bench) error { return b.askOwned(2, "$1/x", true) }},
		{"round 0 of another's, minted", "I7", func(t *testing.T, b *bench) error { return b.askOwned(2, "$1.2.2/x", true) }},
		{"round 0 of a server that does not vote", "I7", func(t *testing.T, b *bench) error {
			b.quorum = paxos.Majority(1)
			return b.askOwned(2, "$2.2.1/x", true)
		}},
		{"round 0 of another start", "I7", func(t *testing.T, b *bench) error { return b.askOwned(1, "$1.1.1/x", true) }},
		{"round 0 before the save", "I5", func(t *testing.T, b *bench) error { return b.askOwned(1, "$1/x", false) }},
		{"round 0 with two values", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.askOwned(1, "$1.2.1/x", false))
			return b.sent(b.servers[0], 3, &paxos.Message{Kind: paxos.KindAccept, Instance: "$1.2.1/x", Ballot: b01, Value: "pizza"})
		}},
		{"round 0 in two lives", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.askOwned(1, "$1/x", true))
			b.servers[0].life++
			return b.askOwned(1, "$1/x", true)
		}},
		{"learned without a quorum", "I8", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, voted(b11, "burger")))
			return b.learned(b.servers[0], &paxos.Message{Instance: "x", Ballot: b11, Value: "burger"})
		}},
		{"chosen without a quorum", "I8", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindChosen, Ballot: b11})
		}},
		{"decided is another value", "I8", func(t *testing.T, b *bench) error {
			b.decide(t)
			return b.send(1, 2, paxos.Message{Kind: paxos.KindDecided, Ballot: b11, Value: "pizza"})
		}},
		{"returned is another value", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			return b.returned(b.servers[0], paxos.Decision{Instance: "x", Value: "pizza"})
		}},
		{"a server made anew returns another value", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			b.wiped[1] = true
			return b.returned(b.servers[0], paxos.Decision{Instance: "x", Value: "pizza", Ballot: b11})
		}},
		{"a server made anew learns what is not chosen", "I8", func(t *testing.T, b *bench) error {
			b.prepare(t)
			require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}))
			require.NoError(t, b.save(2, voted(b11, "burger")))
			b.wiped[1] = true
			require.NoError(t, b.save(1, voted(b11, "pizza")), "it uses its ballot again")
			return b.learned(b.servers[0], &paxos.Message{Instance: "x", Ballot: b11, Value: "pizza"})
		}},
		{"a server made anew says what is not chosen", "I8", func(t *testing.T, b *bench) error {
			b.decide(t)
			b.wiped[1] = true
			return b.send(1, 2, paxos.Message{Kind: paxos.KindDecided, Ballot: b11, Value: "pizza"})
		}},
		{"an Index changes", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			return b.saveRecord(1, decision(2, "burger"))
		}},
		{"an Index of another decision", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			b.indexes[1001] = map[uint64]string{1: "dinner"}
			return b.saveRecord(1, decision(1, "burger"))
		}},
		{"a read that misses what was chosen", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			return b.readNothing("x", true)
		}},
		{"a name that is not decided on the disk", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			return b.send(1, 2, paxos.Message{Kind: paxos.KindNames, Value: "1 0 1 1\nx"})
		}},
		{"an Index shown too early", "I9", func(t *testing.T, b *bench) error { return b.shown(b.servers[0], 101) }},
		{"a pull of what is not on the disk", "I11", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			b.servers[2].disk.state.Pulled = "1/3e9/0,2/3ea/7"
			return b.pulls(3, "1/3e9/1,2/3ea/7")
		}},
		{"a pull of another storage", "I11", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			b.servers[2].disk.state.Pulled = "1/3e8/1"
			return b.pulls(3, "1/3e9/1")
		}},
		{"a message to oneself", "S10", func(t *testing.T, b *bench) error {
			return b.send(1, 1, paxos.Message{Kind: paxos.KindChosen, Ballot: b11})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(t, newBench())
			require.ErrorContains(t, err, test.rule+" is broken")
		})
	}
}

// TestCheckerLetsGoodThingsPass: the steps of a whole decision are no error.
func TestCheckerLetsGoodThingsPass(t *testing.T) {
	b := newBench()
	require.NoError(t, b.askOwned(1, "$1/x", true))
	require.NoError(t, b.askOwned(1, "$1.2.1/x", false))
	b.decide(t)
	require.NoError(t, b.learned(b.servers[0], &paxos.Message{Instance: "x", Ballot: b11, Value: "burger"}))
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindChosen, Ballot: b11}))
	require.NoError(t, b.send(1, 3, paxos.Message{Kind: paxos.KindDecided, Ballot: b11, Value: "burger"}))
	require.NoError(t, b.returned(b.servers[0], paxos.Decision{Instance: "x", Value: "burger", Ballot: b11}))
	assert.True(t, b.instances["x"].chosen)
	// A Nack asserts nothing, and a decision on the disk implies everything.
	require.NoError(t, b.send(3, 1, paxos.Message{Kind: paxos.KindNack, Ballot: b11, Promised: b22}))
	require.NoError(t, b.saveRecord(3, paxos.Record{Instance: "x", Acceptor: voted(b11, "burger"), Chosen: true, Index: 1}))
	require.NoError(t, b.send(3, 2, paxos.Message{Kind: paxos.KindPromise, Ballot: b22}))
	// Pulled decisions may become durable in the Batch that says so.
	chosen := paxos.Record{Instance: "x", Acceptor: voted(b11, "burger"), Chosen: true, Index: 1}
	require.NoError(t, b.saveRecord(1, chosen))
	require.NoError(t, b.pulls(2, "1/3e9/1", chosen))
	require.NoError(t, b.pulls(3, "1/3e9/1"), "it is there")
}
