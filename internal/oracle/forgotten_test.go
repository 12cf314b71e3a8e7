package oracle

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

var (
	jobs = paxos.Prefix("job/")
	gone = paxos.OneName("x")
)

// forgottenAt is the record of the forgotten instance x.
func forgottenAt(index uint64) paxos.Record {
	return paxos.Record{Instance: "x", Acceptor: paxos.Acceptor{}.Forget(), Chosen: true, Index: index}
}

// rangeAt is the first record of a forgotten range.
func rangeAt(names paxos.NameRange, index uint64) paxos.Record {
	a := paxos.Acceptor{}.Forget()
	a.Accepted, a.Value = a.Promised, paxos.Value(names.String())
	return paxos.Record{Instance: "$forgotten/0", Acceptor: a, Chosen: true, Index: index}
}

// saveAll makes a batch durable.
func (b *bench) saveAll(id paxos.ServerID, batch paxos.Batch) error {
	err := b.Saved(b.servers[id-1], batch)
	_ = b.servers[id-1].Disk.Save(batch)
	return err
}

// forget makes servers forget instance x, as a call asked.
func (b *bench) forget(t *testing.T, ids ...paxos.ServerID) {
	b.ToForget(gone)
	for i, id := range ids {
		require.NoError(t, b.saveRecord(id, forgottenAt(uint64(10+i))))
	}
}

func TestOracleFindsWrongRecordsOfForgotten(t *testing.T) {
	find(t, []sabotage{
		{"nobody asked for it", "I2", func(_ *testing.T, b *bench) error { return b.saveRecord(1, forgottenAt(1)) }},
		{"nobody asked for the range", "I2", func(_ *testing.T, b *bench) error {
			b.ToForget(paxos.Prefix("job/1"))
			return b.saveRecord(1, rangeAt(jobs, 1))
		}},
		{"it comes back", "I13", func(t *testing.T, b *bench) error {
			b.forget(t, 1)
			return b.save(1, paxos.Acceptor{Promised: b11})
		}},
		{"a name of the range comes back", "I13", func(t *testing.T, b *bench) error {
			b.ToForget(paxos.Prefix("x"))
			require.NoError(t, b.saveRecord(1, rangeAt(paxos.Prefix("x"), 1)))
			return b.save(1, paxos.Acceptor{Promised: b11})
		}},
		{"a name of the range is saved with it", "I13", func(_ *testing.T, b *bench) error {
			b.ToForget(paxos.Prefix("x"))
			return b.saveAll(1, paxos.Batch{Records: []paxos.Record{rangeAt(paxos.Prefix("x"), 1), {Instance: "x", Acceptor: paxos.Acceptor{Promised: b11}}}})
		}},
		{"the range gets smaller", "I13", func(t *testing.T, b *bench) error {
			b.ToForget(jobs)
			require.NoError(t, b.saveRecord(1, rangeAt(jobs, 1)))
			return b.saveRecord(1, rangeAt(paxos.Prefix("job/1"), 2))
		}},
		{"a record is dropped, and nothing forgotten", "I3", func(t *testing.T, b *bench) error {
			require.NoError(t, b.save(1, paxos.Acceptor{Promised: b11}))
			return b.saveAll(1, paxos.Batch{Drop: []paxos.NameRange{gone}})
		}},
		{"its Index is an old one", "I9", func(t *testing.T, b *bench) error {
			b.forget(t, 1)
			return b.saveRecord(1, forgottenAt(9))
		}},
	})
}

func TestOracleFindsWrongWordsOnForgotten(t *testing.T) {
	find(t, []sabotage{
		{"nobody asked what is asked of others", "I2", func(_ *testing.T, b *bench) error {
			return b.send(1, 2, paxos.Message{Kind: paxos.KindForget})
		}},
		{"it is said before it is saved", "I5", func(_ *testing.T, b *bench) error {
			b.ToForget(gone)
			return b.send(2, 1, paxos.Message{Kind: paxos.KindNack, Ballot: b11, Promised: paxos.Acceptor{}.Forget().Promised})
		}},
		{"more of it is said than is saved", "I5", func(t *testing.T, b *bench) error {
			b.forget(t, 2)
			b.ToForget(paxos.Prefix("x"))
			return b.send(2, 1, paxos.Message{Kind: paxos.KindNack, Ballot: b11, Promised: paxos.Acceptor{}.Forget().Promised,
				Value: paxos.Value(paxos.Prefix("x").String())})
		}},
		{"it is acknowledged before it is saved", "I5", func(_ *testing.T, b *bench) error {
			b.ToForget(gone)
			return b.send(2, 1, paxos.Message{Kind: paxos.KindForgotten})
		}},
		{"it is listed before it is saved", "I5", func(_ *testing.T, b *bench) error {
			return b.send(2, 1, paxos.Message{Kind: paxos.KindNames, Value: "3ea 0 1 1\n$forgotten " + paxos.Value(gone.String())})
		}},
		{"a promise after it", "I13", func(t *testing.T, b *bench) error {
			require.NoError(t, b.send(1, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: b11}))
			b.forget(t, 2)
			return b.send(2, 1, paxos.Message{Kind: paxos.KindPromise, Ballot: b11})
		}},
		{"a call is told before it is saved", "I13", func(_ *testing.T, b *bench) error { return b.ToldForgotten(b.servers[0], "x") }},
		{"a Forget ends at a server that has not", "I13", func(t *testing.T, b *bench) error {
			b.forget(t, 2, 3)
			return b.Forgot(b.servers[0], gone)
		}},
		{"a Forget ends with one acceptor", "I13", func(t *testing.T, b *bench) error {
			b.forget(t, 1, 4)
			return b.Forgot(b.servers[0], gone)
		}},
		{"a later ballot is chosen", "I13", func(t *testing.T, b *bench) error {
			b.forget(t, 1, 2)
			require.NoError(t, b.Forgot(b.servers[0], gone))
			require.NoError(t, b.send(3, 2, paxos.Message{Kind: paxos.KindPrepare, Ballot: paxos.Ballot{Round: 3, Server: 3}}))
			h := b.history("x")
			require.NoError(t, b.valued(h, paxos.Ballot{Round: 3, Server: 3}, "pizza"))
			require.NoError(t, b.vote(h, b.servers[2], paxos.Ballot{Round: 3, Server: 3}))
			return b.vote(h, b.servers[1], paxos.Ballot{Round: 3, Server: 3})
		}},
		{"a read finds nothing", "I13", func(_ *testing.T, b *bench) error { return b.ReadNothing("x", false, true) }},
		{"a pull goes past it", "I11", func(t *testing.T, b *bench) error {
			b.forget(t, 2)
			return b.pulls(1, "2/3ea/10")
		}},
	})
}

func TestOracleLetsServersForget(t *testing.T) {
	b := newBench()
	b.decide(t)
	b.forget(t, 1, 2)
	assert.False(t, b.IsForgot("x"))
	require.NoError(t, b.Forgot(b.servers[0], gone))
	assert.True(t, b.IsForgot("x"))
	require.NoError(t, b.ToldForgotten(b.servers[1], "x"))
	require.NoError(t, b.send(2, 1, paxos.Message{Kind: paxos.KindForgotten}))
	require.NoError(t, b.send(2, 1, paxos.Message{Kind: paxos.KindNames, Value: "3ea 0 1 1\n$forgotten " + paxos.Value(gone.String())}))
	require.NoError(t, b.pulls(3, "2/3ea/11", forgottenAt(5)))
	b.ToForget(jobs)
	require.NoError(t, b.saveAll(1, paxos.Batch{Drop: []paxos.NameRange{jobs}, Records: []paxos.Record{rangeAt(jobs, 20)}}))
	assert.True(t, b.servers[0].Disk.Forgets("job/1"))
	assert.False(t, b.servers[0].Disk.Forgets("jobs"))
	assert.Equal(t, []paxos.NameRange{jobs}, b.servers[0].Disk.Ranges())
	b.ToForget(paxos.Prefix("jo"))
	require.NoError(t, b.saveRecord(1, rangeAt(paxos.Prefix("jo"), 21)))
	assert.True(t, b.servers[0].Disk.Forgets("jobs"))
}
