package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func TestOracleFindsWrongDecisions(t *testing.T) {
	find(t, []sabotage{
		{"two values chosen", "I1", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.save(3, voted(b22, "pizza")))
			return b.save(2, voted(b22, "pizza"))
		}},
		{"a value of nobody", "I2", func(t *testing.T, b *bench) error { return b.save(1, voted(b11, "soup")) }},
		{"saved without a quorum", "I8", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, voted(b11, "burger")))
			return b.saveRecord(1, decision(1, "burger"))
		}},
		{"learned without a quorum", "I8", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, voted(b11, "burger")))
			return b.Learned(b.servers[0], &paxos.Message{Instance: "x", Ballot: b11, Value: "burger"})
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
			return b.Returned(b.servers[0], paxos.Decision{Instance: "x", Value: "pizza"})
		}},
		{"a read that misses what was chosen", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			return b.ReadNothing("x", true, false)
		}},
	})
}

func TestOracleFindsWrongDecisionsOfServersMadeAnew(t *testing.T) {
	find(t, []sabotage{
		{"it returns another value", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			b.wipe(1)
			return b.Returned(b.servers[0], paxos.Decision{Instance: "x", Value: "pizza", Ballot: b11})
		}},
		{"it learns what is not chosen", "I8", func(t *testing.T, b *bench) error {
			b.prepare(t)
			require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}))
			require.NoError(t, b.save(2, voted(b11, "burger")))
			b.wipe(1)
			require.NoError(t, b.save(1, voted(b11, "pizza")), "it uses its ballot again")
			return b.Learned(b.servers[0], &paxos.Message{Instance: "x", Ballot: b11, Value: "pizza"})
		}},
		{"it says what is not chosen", "I8", func(t *testing.T, b *bench) error {
			b.decide(t)
			b.wipe(1)
			return b.send(1, 2, paxos.Message{Kind: paxos.KindDecided, Ballot: b11, Value: "pizza"})
		}},
	})
}

// With Unseen, the rules that need a view of all servers are left out.
func TestOracleOfUnseenServers(t *testing.T) {
	for _, s := range []sabotage{
		{"two values chosen", "I1", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, voted(b11, "burger")))
			require.NoError(t, b.save(2, voted(b11, "burger")))
			require.NoError(t, b.save(3, voted(b22, "pizza")))
			return b.save(2, voted(b22, "pizza"))
		}},
		{"a value of nobody", "I2", func(t *testing.T, b *bench) error { return b.save(1, voted(b11, "soup")) }},
		{"votes asked for without promises", "I7", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"})
		}},
		{"learned without a quorum", "I8", func(t *testing.T, b *bench) error {
			return b.Learned(b.servers[0], &paxos.Message{Instance: "x", Ballot: b11, Value: "burger"})
		}},
		{"chosen without a quorum", "I8", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindChosen, Ballot: b11})
		}},
		{"returned without a quorum", "I9", func(t *testing.T, b *bench) error {
			return b.Returned(b.servers[0], paxos.Decision{Instance: "x", Value: "pizza"})
		}},
		{"an answer to a storage that was never seen", "I12", func(t *testing.T, b *bench) error {
			b.servers[1].Disk.State.Peers = "1/7d1"
			return b.send(2, 1, paxos.Message{Kind: paxos.KindNack, Ballot: b11, Promised: b22})
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			require.ErrorContains(t, s.do(t, newBench()), s.rule+" is broken")
			b := newBench()
			b.Unseen = true
			require.NoError(t, s.do(t, b))
		})
	}
}

// With Unseen, the rules of one server alone are held as before.
func TestOracleOfOneSeenServer(t *testing.T) {
	accept := paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}
	sabotages := []sabotage{
		{"a promise goes down", "I3", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b22}))
			return b.save(1, paxos.Acceptor{Promised: b11})
		}},
		{"a vote above the promise", "I4", func(t *testing.T, b *bench) error {
			return b.save(1, paxos.Acceptor{Promised: b11, Accepted: b22, Value: "pizza"})
		}},
		{"a vote before the save", "I5", func(t *testing.T, b *bench) error {
			return b.send(2, 1, paxos.Message{Kind: paxos.KindAccepted, Ballot: b11})
		}},
		{"a start before the save", "I5", func(t *testing.T, b *bench) error {
			return b.Sent(b.servers[0], &paxos.Packet{From: 1, To: 2, Boot: 2})
		}},
		{"votes asked for with two values", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, accept))
			m := accept
			m.Value = "pizza"
			return b.send(1, 2, m)
		}},
		{"a ballot in two lives", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, accept))
			b.restart(1)
			return b.send(1, 2, accept)
		}},
		{"a ballot in two instances", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, accept))
			m := accept
			m.Instance = "y"
			return b.sendAt(1, 2, m)
		}},
		{"round 0 of another's", "I7", func(t *testing.T, b *bench) error { return b.askOwned(2, "$1/x", true) }},
		{"an Index changes", "I9", func(t *testing.T, b *bench) error {
			require.NoError(t, b.saveRecord(1, decision(1, "burger")))
			return b.saveRecord(1, decision(2, "burger"))
		}},
	}
	for i, s := range sabotages {
		sabotages[i].do = func(t *testing.T, b *bench) error {
			b.Unseen = true
			return s.do(t, b)
		}
	}
	find(t, sabotages)
}
