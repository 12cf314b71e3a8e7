package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// floor makes a promise of a standing ballot durable.
func (b *bench) floor(id paxos.ServerID, f paxos.Ballot) error {
	s := b.servers[id-1]
	state := s.Disk.State
	state.Floor = f
	err := b.Saved(s, paxos.Batch{Server: &state})
	s.Disk.State = state
	return err
}

func (b *bench) stand(from, to paxos.ServerID, ballot paxos.Ballot) error {
	return b.sendAt(from, to, paxos.Message{Kind: paxos.KindStand, Ballot: ballot})
}

// answer answers a Stand of server 1, and delivers the answer.
func (b *bench) answer(t *testing.T, from paxos.ServerID, text paxos.Value) {
	m := paxos.Message{Kind: paxos.KindStood, Ballot: b11, Value: text}
	require.NoError(t, b.sendAt(from, 1, m))
	b.arrives(from, m)
}

// arrives delivers a message to server 1.
func (b *bench) arrives(from paxos.ServerID, m paxos.Message) {
	b.Arrived(b.servers[0], &paxos.Packet{From: from, To: 1, Store: b.servers[from-1].Disk.State.Store, Messages: []paxos.Message{m}})
}

// stands has server 1 stand by ballot 1.1, which servers 1 and 2 promise.
func (b *bench) stands(t *testing.T) {
	require.NoError(t, b.stand(1, 2, b11))
	require.NoError(t, b.floor(1, b11))
	require.NoError(t, b.floor(2, b11))
	b.answer(t, 2, "3ea 0")
}

var acceptStanding = paxos.Message{Kind: paxos.KindAccept, Ballot: b11, Value: "burger"}

func TestOracleLetsStandingBallotsPass(t *testing.T) {
	b := newBench()
	require.NoError(t, b.save(3, voted(b11, "burger")), "a vote in that very ballot is not below it")
	b.Proposed("y", "burger")
	b.stands(t)
	require.NoError(t, b.stand(1, 3, b11), "the same again")
	require.NoError(t, b.floor(3, b11))
	b.answer(t, 3, "3eb 0\nx")
	require.NoError(t, b.sendAt(1, 2, paxos.Message{Kind: paxos.KindNack, Ballot: b22}), "not now")
	for _, name := range []string{"x", "y"} {
		m := acceptStanding
		m.Instance = name
		require.NoError(t, b.sendAt(1, 2, m), name)
		require.NoError(t, b.sendAt(1, 2, m), "once more")
		require.NoError(t, b.saveRecord(2, paxos.Record{Instance: name, Acceptor: voted(b11, "burger")}))
	}
	require.NoError(t, b.save(1, voted(b11, "burger")))
	require.True(t, b.Fact("x").Chosen)
}

// A disk that is lost votes no more. So its answer counts.
func TestOracleCountsTheAnswerOfALostDisk(t *testing.T) {
	b := newBench()
	b.stands(t)
	b.wipe(2)
	b.servers[1].Disk.State.Floor = paxos.Ballot{}
	require.NoError(t, b.send(1, 3, acceptStanding))
}

// An acceptor of a later configuration may take a vote over after its answer. It lists the vote if it was complete by then.
func TestOracleKnowsWhatIsTakenOver(t *testing.T) {
	before := paxos.Configuration{Members: paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1, 2, 3}}}
	next, err := before.Next(paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1, 2, 4}})
	require.NoError(t, err)
	for _, complete := range []bool{false, true} {
		b := newBench()
		s, stood := b.servers[1], paxos.Ballot{Round: paxos.Base(1).Round + 1, Server: 1}
		s.Disk.State.Configuration, s.Disk.State.Floor = next.String(), stood
		b.configurations = append(b.configurations, newConfiguration(next.Members))
		b.configurations[1].complete[2] = complete
		s.Disk.Records["x"] = paxos.Record{Instance: "x", Acceptor: paxos.Acceptor{Promised: stood, Accepted: b22, Value: "burger"}}
		err := b.sendAt(2, 1, paxos.Message{Kind: paxos.KindStood, Ballot: stood, Value: "3ea 0"})
		require.Equal(t, complete, err != nil, "%v", err)
	}
}

func TestOracleFindsWrongStands(t *testing.T) {
	find(t, []sabotage{
		{"a ballot of another server", "I6", func(_ *testing.T, b *bench) error { return b.stand(1, 2, b22) }},
		{"a round that is not reserved", "I5", func(_ *testing.T, b *bench) error {
			return b.stand(1, 2, paxos.Ballot{Round: 101, Server: 1})
		}},
		{"a ballot that an attempt has used", "I6", func(t *testing.T, b *bench) error {
			b.prepare(t)
			return b.stand(1, 2, b11)
		}},
		{"a ballot of an earlier life", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			b.restart(1)
			return b.stand(1, 2, b11)
		}},
		{"an attempt with a phase 1", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			return b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: b11})
		}},
		{"a question", "I6", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			return b.send(1, 2, paxos.Message{Kind: paxos.KindQuery, Ballot: b11})
		}},
	})
}

func TestOracleFindsWrongAnswersToStands(t *testing.T) {
	says := func(b *bench, text paxos.Value) error {
		return b.sendAt(2, 1, paxos.Message{Kind: paxos.KindStood, Ballot: b11, Value: text})
	}
	promised := func(text paxos.Value) func(t *testing.T, b *bench) error {
		return func(t *testing.T, b *bench) error {
			require.NoError(t, b.floor(2, b11))
			require.NoError(t, says(b, "3ea 100"))
			return says(b, text)
		}
	}
	find(t, []sabotage{
		{"no text of one", "I5", promised("3ea")},
		{"another storage", "I5", promised("3eb 0")},
		{"an Index that is not durable", "I5", promised("3ea 101")},
		{"before the promise is durable", "I5", func(_ *testing.T, b *bench) error { return says(b, "3ea 0") }},
		{"a lower promise is durable", "I5", func(t *testing.T, b *bench) error {
			require.NoError(t, b.floor(2, paxos.Ballot{Round: 1, Server: 0}))
			return says(b, "3ea 0")
		}},
		{"a vote that is not listed", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, voted(paxos.Ballot{Round: 0, Server: 3}, "burger")))
			require.NoError(t, b.floor(2, b11))
			require.NoError(t, says(b, "3ea 0\nx"))
			return says(b, "3ea 0\ny")
		}},
		{"a vote below that is saved later, and not listed", "I7", func(t *testing.T, b *bench) error {
			b.stands(t)
			return b.save(2, voted(paxos.Ballot{Round: 0, Server: 3}, "burger"))
		}},
		{"the promise goes down", "I3", func(t *testing.T, b *bench) error {
			require.NoError(t, b.floor(2, b22))
			return b.floor(2, b11)
		}},
	})
}

func TestOracleFindsWrongUsesOfStandingBallots(t *testing.T) {
	find(t, []sabotage{
		{"of another server", "I6", func(t *testing.T, b *bench) error {
			b.stands(t)
			return b.send(2, 3, acceptStanding)
		}},
		{"in a later life", "I6", func(t *testing.T, b *bench) error {
			b.stands(t)
			b.restart(1)
			return b.send(1, 3, acceptStanding)
		}},
		{"in a name with an owner", "I7", func(t *testing.T, b *bench) error {
			b.stands(t)
			m := acceptStanding
			m.Instance = "$1/x"
			return b.sendAt(1, 3, m)
		}},
		{"with two values", "I6", func(t *testing.T, b *bench) error {
			b.stands(t)
			require.NoError(t, b.send(1, 3, acceptStanding))
			m := acceptStanding
			m.Value = "pizza"
			return b.send(1, 3, m)
		}},
	})
}

func TestOracleFindsStandingBallotsWithoutAQuorum(t *testing.T) {
	vote := voted(paxos.Ballot{Round: 0, Server: 3}, "burger")
	find(t, []sabotage{
		{"nobody has answered", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			require.NoError(t, b.floor(1, b11))
			require.NoError(t, b.floor(2, b11))
			return b.send(1, 3, acceptStanding)
		}},
		{"the own promise is not durable", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			require.NoError(t, b.floor(2, b11))
			b.answer(t, 2, "3ea 0")
			return b.send(1, 3, acceptStanding)
		}},
		{"an answer of a storage that was not met", "I7", func(t *testing.T, b *bench) error {
			b.servers[0].Disk.State.Peers = "3/3eb"
			b.stands(t)
			return b.send(1, 3, acceptStanding)
		}},
		{"an answer of a server that does not vote", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			require.NoError(t, b.floor(1, b11))
			require.NoError(t, b.floor(4, b11))
			b.servers[0].Disk.State.Peers += ",4/3ec"
			b.answer(t, 4, "3ec 0")
			return b.send(1, 3, acceptStanding)
		}},
		{"an answer of a server made anew", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			require.NoError(t, b.floor(1, b11))
			b.wipe(2)
			require.NoError(t, b.floor(2, b11))
			b.answer(t, 2, "7d2 0")
			return b.send(1, 3, acceptStanding)
		}},
		{"an answer that another server was given", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			require.NoError(t, b.floor(1, b11))
			require.NoError(t, b.floor(2, b11))
			b.Arrived(b.servers[2], &paxos.Packet{From: 2, To: 3, Store: 1002, Messages: []paxos.Message{{Kind: paxos.KindStood, Ballot: b11, Value: "3ea 0"}}})
			return b.send(1, 3, acceptStanding)
		}},
		{"an answer to another ballot", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.stand(1, 2, b11))
			require.NoError(t, b.floor(1, b11))
			require.NoError(t, b.floor(2, b22))
			b.arrives(2, paxos.Message{Kind: paxos.KindStood, Ballot: b22, Value: "3ea 0"})
			return b.send(1, 3, acceptStanding)
		}},
		{"a vote below", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(2, vote))
			require.NoError(t, b.stand(1, 2, b11))
			require.NoError(t, b.floor(1, b11))
			require.NoError(t, b.floor(2, b11))
			b.answer(t, 2, "3ea 0\nx")
			return b.send(1, 3, acceptStanding)
		}},
		{"a vote below that only a message has told of", "I7", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(3, vote))
			require.NoError(t, b.save(2, paxos.Acceptor{Promised: b11, Accepted: b11, Value: "burger"}))
			require.NoError(t, b.sendAt(2, 3, paxos.Message{Kind: paxos.KindAccepted, Instance: "x", Ballot: vote.Accepted}))
			b.stands(t)
			return b.send(1, 3, acceptStanding)
		}},
	})
}

// With Unseen, a quorum of answers is not asked for. All else is.
func TestOracleOfUnseenStands(t *testing.T) {
	b := newBench()
	b.Unseen = true
	require.NoError(t, b.stand(1, 2, b11))
	require.NoError(t, b.send(1, 3, acceptStanding))
	b.restart(1)
	require.ErrorContains(t, b.send(1, 3, acceptStanding), "I6 is broken")
}
