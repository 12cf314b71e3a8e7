package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func TestOracleFindsWrongPackets(t *testing.T) {
	find(t, []sabotage{
		{"a start before the save", "I5", func(t *testing.T, b *bench) error {
			return b.Sent(b.servers[0], &paxos.Packet{From: 1, To: 2, Boot: 2, Messages: []paxos.Message{{Kind: paxos.KindPull}}})
		}},
		{"a start of before", "I5", func(t *testing.T, b *bench) error {
			b.restart(1)
			return b.Sent(b.servers[0], &paxos.Packet{From: 1, To: 2, Boot: 1, Messages: []paxos.Message{{Kind: paxos.KindPull}}})
		}},
		{"an Index shown too early", "I9", func(t *testing.T, b *bench) error { return b.Shown(b.servers[0], 101) }},
		{"an Index sent too early", "I9", func(t *testing.T, b *bench) error {
			return b.Sent(b.servers[0], &paxos.Packet{From: 1, To: 2, Boot: 1, Index: 101})
		}},
		{"a message to oneself", "S10", func(t *testing.T, b *bench) error {
			return b.send(1, 1, paxos.Message{Kind: paxos.KindChosen, Ballot: b11})
		}},
		{"a promise before the save", "I5", func(t *testing.T, b *bench) error {
			return b.send(2, 1, paxos.Message{Kind: paxos.KindPromise, Ballot: b11})
		}},
		{"a promise of a vote before the save", "I5", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22}))
			return b.send(2, 1, paxos.Message{Kind: paxos.KindPromise, Ballot: b22, Accepted: b11, Value: "burger"})
		}},
		{"a promise of a vote with another value", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, voted(b11, "burger")))
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22, Accepted: b11, Value: "burger"}))
			return b.send(2, 1, paxos.Message{Kind: paxos.KindPromise, Ballot: b22, Accepted: b11, Value: "pizza"})
		}},
		{"a promise of a value of nobody", "I2", func(t *testing.T, b *bench) error {
			b.servers[1].Disk.Records["x"] = paxos.Record{Instance: "x", Acceptor: paxos.Acceptor{Promised: b22, Accepted: b11, Value: "soup"}}
			return b.send(2, 1, paxos.Message{Kind: paxos.KindPromise, Ballot: b22, Accepted: b11, Value: "soup"})
		}},
		{"a vote before the save", "I5", func(t *testing.T, b *bench) error {
			b.prepare(t)
			require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}))
			return b.send(2, 1, paxos.Message{Kind: paxos.KindAccepted, Ballot: b11})
		}},
		{"a vote of a server that does not vote", "S2", func(t *testing.T, b *bench) error {
			b.decide(t)
			require.NoError(t, b.saveRecord(4, decision(1, "burger")))
			return b.send(4, 1, paxos.Message{Kind: paxos.KindAccepted, Ballot: b11})
		}},
		{"a state before the save", "I5", func(t *testing.T, b *bench) error {
			return b.send(2, 1, paxos.Message{Kind: paxos.KindState, Ballot: b11, Promised: b22})
		}},
		{"a state of a vote before the save", "I5", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22}))
			return b.send(2, 1, paxos.Message{Kind: paxos.KindState, Ballot: b11, Promised: b22, Accepted: b11, Value: "burger"})
		}},
		{"a name that is not decided on the disk", "I9", func(t *testing.T, b *bench) error {
			b.decide(t)
			return b.send(1, 2, paxos.Message{Kind: paxos.KindNames, Value: "1 0 1 1\nx"})
		}},
	})
}

// An answer to a server whose storage is not on the disk proves that a server counts on what it may take back.
func TestOracleFindsAnswersToStrangers(t *testing.T) {
	for _, m := range []paxos.Message{
		{Kind: paxos.KindPromise, Ballot: b11}, {Kind: paxos.KindAccepted, Ballot: b11},
		{Kind: paxos.KindState, Ballot: b11}, {Kind: paxos.KindNack, Ballot: b11, Promised: b22},
	} {
		find(t, []sabotage{{m.Kind.String(), "I12", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, voted(b11, "burger")))
			b.servers[1].Disk.State.Peers = "1/7d1,3/3eb" // another storage than the one that server 1 has
			return b.send(2, 1, m)
		}}})
	}
}
