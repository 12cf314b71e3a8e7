package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func TestOracleFindsWrongBallots(t *testing.T) {
	prepare := paxos.Message{Kind: paxos.KindPrepare, Ballot: b11}
	query := paxos.Message{Kind: paxos.KindQuery, Ballot: b11}
	forward := paxos.Message{Kind: paxos.KindForward, Ballot: b11, Value: "burger"}
	find(t, []sabotage{
		{"a round that is not reserved", "I5", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 101, Server: 1}})
		}},
		{"a ballot with two values", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, voted(b11, "burger")))
			return b.save(2, voted(b11, "pizza"))
		}},
		{"a ballot in two lives", "I6", func(t *testing.T, b *bench) error {
			b.prepare(t)
			b.restart(1)
			return b.send(1, 3, prepare)
		}},
		{"another server's ballot", "I6", func(t *testing.T, b *bench) error {
			return b.send(1, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b22})
		}},
		{"a ballot in two instances", "I6", func(t *testing.T, b *bench) error {
			b.prepare(t)
			m := prepare
			m.Instance = "y"
			return b.sendAt(1, 3, m)
		}},
		{"a ballot in two instances, in two lives", "I6", func(t *testing.T, b *bench) error {
			b.prepare(t)
			b.restart(1)
			m := query
			m.Instance = "y"
			return b.sendAt(1, 3, m)
		}},
		{"a ballot of a question", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 3, query))
			return b.send(1, 3, prepare)
		}},
		{"a question in a ballot", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 3, prepare))
			return b.send(1, 3, query)
		}},
		{"a Forward in a ballot", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 3, prepare))
			return b.send(1, 2, forward)
		}},
		{"a ballot of a Forward", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, forward))
			return b.send(1, 3, prepare)
		}},
		{"a Forward in two lives", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, forward))
			b.restart(1)
			return b.send(1, 2, forward)
		}},
		{"a Forward in two instances", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, forward))
			m := forward
			m.Instance = "y"
			return b.sendAt(1, 2, m)
		}},
		{"a Forward in a round that is not reserved", "I5", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindForward, Ballot: paxos.Ballot{Round: 101, Server: 1}})
		}},
		{"a vote in a ballot in which nobody asked", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, voted(b22, "burger")))
			return b.send(2, 1, paxos.Message{Kind: paxos.KindAccepted, Ballot: b11})
		}},
	})
}

func TestOracleFindsUnjustifiedAccepts(t *testing.T) {
	find(t, []sabotage{
		{"votes asked for too early", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"})
		}},
		{"promises of another life", "I7", func(t *testing.T, b *bench) error {
			b.promise(2, 1, paxos.Message{Ballot: b11})
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"})
		}},
		{"a promise of a server made anew", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: b11, Value: "burger"}))
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
			b.wipe(2)
			b.promise(2, 1, paxos.Message{Ballot: b11})
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"})
		}},
		{"a promise of a server that the disk has not met", "I7", func(t *testing.T, b *bench) error {
			b.prepare(t)
			b.servers[0].Disk.State.Peers = "3/3eb"
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"})
		}},
		{"a promise of a server that does not vote", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: b11, Value: "burger"}))
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
			b.promise(4, 1, paxos.Message{Ballot: b11})
			b.servers[0].Disk.State.Peers += ",4/3ec"
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"})
		}},
		{"a reported vote passed over", "I7", func(t *testing.T, b *bench) error {
			b.prepare(t)
			require.NoError(t, b.save(3, voted(b11, "burger")))
			require.NoError(t, b.send(2, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b22}))
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22}))
			b.promise(3, 2, paxos.Message{Ballot: b22, Accepted: b11, Value: "burger"})
			return b.send(2, 3, paxos.Message{Kind: paxos.KindAccept, Ballot: b22, Value: "pizza"})
		}},
		{"the own vote passed over", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, voted(b11, "burger")))
			require.NoError(t, b.send(2, 3, paxos.Message{Kind: paxos.KindPrepare, Ballot: b22}))
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b22, Accepted: b11, Value: "burger"}))
			b.promise(3, 2, paxos.Message{Ballot: b22})
			return b.send(2, 3, paxos.Message{Kind: paxos.KindAccept, Ballot: b22, Value: "pizza"})
		}},
	})
}

func TestOracleFindsWrongUsesOfRound0(t *testing.T) {
	find(t, []sabotage{
		{"where nobody owns", "I7", func(t *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindAccept, Ballot: b01, Value: "burger"})
		}},
		{"of another's", "I7", func(t *testing.T, b *bench) error { return b.askOwned(2, "$1/x", true) }},
		{"of another's, minted", "I7", func(t *testing.T, b *bench) error { return b.askOwned(2, "$1.2.2/x", true) }},
		{"of a server that does not vote", "I7", func(t *testing.T, b *bench) error { return b.askOwned(4, "$4.2.1/x", false) }},
		{"of another start", "I7", func(t *testing.T, b *bench) error { return b.askOwned(1, "$1.1.1/x", true) }},
		{"before the save", "I5", func(t *testing.T, b *bench) error { return b.askOwned(1, "$1/x", false) }},
		{"with two values", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.askOwned(1, "$1.2.1/x", false))
			return b.askInRound0(1, "$1.2.1/x", "pizza")
		}},
		{"in two lives", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.askOwned(1, "$1/x", true))
			b.restart(1)
			return b.askInRound0(1, "$1/x", "burger")
		}},
		{"for a phase 1", "I7", func(t *testing.T, b *bench) error {
			return b.sendAt(1, 2, paxos.Message{Kind: paxos.KindPrepare, Instance: "$1/x", Ballot: b01})
		}},
	})
}
