package oracle

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is an Oracle with three acceptors and a learner, server 4, whose disks a test fills by hand.
type bench struct {
	*Oracle
	servers []*Server
}

var (
	b01 = paxos.Ballot{Round: 0, Server: 1}
	b11 = paxos.Ballot{Round: 1, Server: 1}
	b22 = paxos.Ballot{Round: 2, Server: 2}
)

func newBench() *bench {
	b := &bench{}
	for id := paxos.ServerID(1); id <= 4; id++ {
		b.servers = append(b.servers, &Server{ID: id, Life: 1, Disk: Disk{Records: map[string]paxos.Record{},
			State: paxos.ServerState{ID: id, Store: 1000 + uint64(id), Boot: 1, Rounds: 100, Last: 100, Peers: "1/3e9,2/3ea,3/3eb"}}})
	}
	b.Oracle = New(paxos.Members{Acceptors: []paxos.ServerID{1, 2, 3}, Learners: []paxos.ServerID{4}}, b.servers)
	b.Proposed("x", "burger")
	b.Proposed("x", "pizza")
	return b
}

// wipe gives a server a new disk in place of the one that it began with.
func (b *bench) wipe(id paxos.ServerID) { b.servers[id-1].Disk.State.Store += 1000 }

// restart begins another life of a server.
func (b *bench) restart(id paxos.ServerID) {
	b.servers[id-1].Life++
	b.servers[id-1].Disk.State.Boot++
}

// save makes an acceptor durable.
func (b *bench) save(id paxos.ServerID, a paxos.Acceptor) error {
	return b.saveRecord(id, paxos.Record{Instance: "x", Acceptor: a})
}

func (b *bench) saveRecord(id paxos.ServerID, rec paxos.Record) error {
	batch := paxos.Batch{Records: []paxos.Record{rec}}
	err := b.Saved(b.servers[id-1], batch)
	_ = b.servers[id-1].Disk.Save(batch)
	return err
}

func (b *bench) send(from, to paxos.ServerID, m paxos.Message) error {
	m.Instance = "x"
	return b.sendAt(from, to, m)
}

// sendAt sends a message of any instance.
func (b *bench) sendAt(from, to paxos.ServerID, m paxos.Message) error {
	s := b.servers[from-1]
	return b.Sent(s, &paxos.Packet{From: from, To: to, Store: s.Disk.State.Store, Boot: s.Disk.State.Boot, Messages: []paxos.Message{m}})
}

// promise gives a server a promise of another for a ballot of instance x.
func (b *bench) promise(from, to paxos.ServerID, m paxos.Message) {
	m.Kind, m.Instance = paxos.KindPromise, "x"
	b.Arrived(b.servers[to-1], &paxos.Packet{From: from, To: to, Store: b.servers[from-1].Disk.State.Store, Messages: []paxos.Message{m}})
}

// pulls makes durable how far a server has the decisions of others, and the records with it.
func (b *bench) pulls(id paxos.ServerID, pulled string, records ...paxos.Record) error {
	state := b.servers[id-1].Disk.State
	state.Pulled = pulled
	return b.Saved(b.servers[id-1], paxos.Batch{Server: &state, Records: records})
}

func voted(b paxos.Ballot, v paxos.Value) paxos.Acceptor {
	return paxos.Acceptor{Promised: b, Accepted: b, Value: v}
}

// prepare begins a ballot of server 1, which servers 1 and 2 promise.
func (b *bench) prepare(t *testing.T) {
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: b11, Value: "burger"}))
	require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
	require.NoError(t, b.save(2, paxos.Acceptor{Promised: b11}))
	require.NoError(t, b.send(2, 1, paxos.Message{Kind: paxos.KindPromise, Ballot: b11}))
	b.promise(2, 1, paxos.Message{Ballot: b11})
}

// decide makes servers 1 and 2 choose burger in ballot 1.1.
func (b *bench) decide(t *testing.T) {
	b.prepare(t)
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}))
	require.NoError(t, b.save(1, voted(b11, "burger")))
	require.NoError(t, b.save(2, voted(b11, "burger")))
	require.NoError(t, b.send(2, 1, paxos.Message{Kind: paxos.KindAccepted, Ballot: b11}))
}

// askOwned makes a server, in its start 2, ask for votes for burger in its round 0; saved says that its own is on its disk.
func (b *bench) askOwned(id paxos.ServerID, name string, saved bool) error {
	b.Proposed(name, "burger")
	b.Proposed(name, "pizza")
	b.servers[id-1].Disk.State.Boot = 2
	if saved {
		_ = b.saveRecord(id, paxos.Record{Instance: name, Acceptor: voted(paxos.Ballot{Round: 0, Server: id}, "burger")})
	}
	return b.askInRound0(id, name, "burger")
}

// askInRound0 makes a server ask for votes in its round 0 of an instance.
func (b *bench) askInRound0(id paxos.ServerID, name string, v paxos.Value) error {
	return b.sendAt(id, id%3+1, paxos.Message{Kind: paxos.KindAccept, Instance: name, Ballot: paxos.Ballot{Round: 0, Server: id}, Value: v})
}

// A sabotage breaks one rule, and nothing else before.
type sabotage struct {
	name, rule string
	do         func(t *testing.T, b *bench) error
}

// find runs sabotages: the Oracle names the rule that each breaks.
func find(t *testing.T, sabotages []sabotage) {
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			err := s.do(t, newBench())
			require.ErrorContains(t, err, s.rule+" is broken")
		})
	}
}

// TestOracleLetsGoodThingsPass: the steps of a whole decision are no error.
func TestOracleLetsGoodThingsPass(t *testing.T) {
	b := newBench()
	require.NoError(t, b.askOwned(1, "$1/x", true))
	require.NoError(t, b.askOwned(1, "$1.2.1/x", false))
	b.decide(t)
	require.NoError(t, b.Learned(b.servers[0], &paxos.Message{Instance: "x", Ballot: b11, Value: "burger"}))
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindChosen, Ballot: b11}))
	require.NoError(t, b.send(1, 3, paxos.Message{Kind: paxos.KindDecided, Ballot: b11, Value: "burger"}))
	require.NoError(t, b.Returned(b.servers[0], paxos.Decision{Instance: "x", Value: "burger", Ballot: b11}))
	assert.True(t, b.Fact("x").Chosen)
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

// A value that a promise reported is asked for again, and a vote that was saved with a higher one alone still counts.
func TestOracleLetsALaterBallotPass(t *testing.T) {
	b := newBench()
	b.prepare(t)
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}))
	require.NoError(t, b.save(3, voted(b11, "burger")))
	require.NoError(t, b.send(2, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b22}))
	require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22}))
	b.promise(3, 2, paxos.Message{Ballot: b22, Accepted: b11, Value: "burger"})
	require.NoError(t, b.send(2, 3, paxos.Message{Kind: paxos.KindAccept, Ballot: b22, Value: "burger"}))
	require.NoError(t, b.save(1, voted(b22, "burger")), "its vote in 1.1 was never on the disk alone")
	require.NoError(t, b.send(1, 3, paxos.Message{Kind: paxos.KindDecided, Ballot: b11, Value: "burger"}), "3 voted in 1.1, and so did 1")
}

// A server that was made anew may say what it likes: no server believes it.
func TestOracleLetsAServerMadeAnewTalk(t *testing.T) {
	b := newBench()
	b.prepare(t)
	b.wipe(1)
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "nobody's"}))
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindPromise, Ballot: b22}))
	require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindRefuse, Value: "why"}))
	b.promise(1, 2, paxos.Message{Ballot: b22})
	assert.Empty(t, b.history("x").of(b22).promises)
	require.NoError(t, b.ReadNothing("x", false, false))
}
