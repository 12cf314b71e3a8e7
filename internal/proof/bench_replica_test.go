package proof_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/replica"
)

// BenchmarkReplica measures what the Replicas of 3 servers and their storages in memory cost per decision, in one
// goroutine, without Node and network: batch instances are decided side by side. An op is a decision.
func BenchmarkReplica(b *testing.B) {
	for _, minted := range []bool{false, true} {
		for _, batch := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("batch=%d/%s", batch, nameKind(minted)), func(b *testing.B) { benchReplica(b, batch, minted) })
		}
	}
}

// nameKind says what names a benchmark uses.
func nameKind(minted bool) string {
	if minted {
		return "minted"
	}
	return "plain"
}

func benchReplica(b *testing.B, batch int, minted bool) {
	m := newMiniature(b, 3)
	b.ReportAllocs()
	b.ResetTimer()
	m.decide(b, b.N, batch, minted)
	b.StopTimer()
	require.GreaterOrEqual(b, m.decided, b.N)
}

// newMiniature returns n acceptors that have started.
func newMiniature(b testing.TB, n int) *miniature {
	members := paxos.Members{Cluster: "bench"}
	for id := range n {
		members.Acceptors = append(members.Acceptors, paxos.ServerID(id+1))
	}
	m := &miniature{storages: make([]*memory.Storage, n), replicas: make([]*replica.Replica, n)}
	for i, id := range members.Acceptors {
		m.storages[i] = memory.NewStorage()
		require.NoError(b, paxos.Format(m.storages[i], id, members))
		state, err := m.storages[i].Server()
		require.NoError(b, err)
		m.replicas[i], err = replica.New(0, replica.Config{ID: id, State: state, Nonce: uint64(id), Members: members, NoStanding: true})
		require.NoError(b, err)
	}
	m.run(b)
	return m
}

// stand lets the first server stand.
func (m *miniature) stand(b testing.TB) {
	m.replicas[0].Stand(m.now)
	m.run(b)
	require.True(b, m.replicas[0].Status(m.now).Standing.Ready)
}

// decide has n instances decided, or some more, batch of them side by side.
func (m *miniature) decide(b testing.TB, n, batch int, minted bool) {
	value := paxos.Value(make([]byte, 64))
	for last := m.begun + n; m.begun < last; {
		for range batch {
			m.begun++
			var name string
			if minted {
				name, _ = m.replicas[0].Mint("job")
			} else {
				name = benchName(m.begun)
			}
			m.replicas[0].Propose(m.now, replica.CallID(m.begun), name, value)
		}
		m.run(b)
		m.now += time.Duration(batch) * time.Millisecond // as much for each decision, whatever the batch: pulls go by time, too
	}
}

// A miniature runs replicas by turns until they have nothing left to do.
type miniature struct {
	now      time.Duration
	storages []*memory.Storage
	replicas []*replica.Replica
	out      replica.Output
	begun    int
	decided  int
	buffer   []byte // not nil: encode packets, and count their bytes
	bytes    int
}

func (m *miniature) run(b testing.TB) {
	for some := true; some; {
		some = false
		for i, r := range m.replicas {
			for r.Take(&m.out) {
				some = true
				m.carryOut(b, i)
			}
		}
	}
}

func (m *miniature) carryOut(b testing.TB, i int) {
	r, out := m.replicas[i], &m.out
	for _, p := range out.Send {
		if m.buffer != nil {
			encoded, err := p.AppendBinary(m.buffer[:0])
			require.NoError(b, err)
			m.buffer, m.bytes = encoded, m.bytes+len(encoded)
		}
		m.replicas[p.To-1].Receive(m.now, p)
	}
	for _, d := range out.Done {
		if d.Err != nil {
			b.Fatal(d.Err)
		}
		m.decided++
	}
	for _, name := range out.Load {
		rec, err := m.storages[i].Load(name)
		if err != nil {
			b.Fatal(err)
		}
		rec.Instance = name
		r.Loaded(m.now, rec.Instance, rec)
	}
	for _, ask := range out.List {
		page, err := replica.List(m.storages[i], ask)
		if err != nil {
			b.Fatal(err)
		}
		r.Listed(m.now, ask.ID, page)
	}
	if out.Save != nil {
		if err := m.storages[i].Save(*out.Save); err != nil {
			b.Fatal(err)
		}
		r.Saved(m.now)
	}
}

// BenchmarkScrape measures for how long a server stands still while it tells its numbers, with so many open instances. Metrics is for a
// monitor, and Status is for a person. An op is one of them.
//
//	go test -run '^$' -bench Scrape ./internal/proof
func BenchmarkScrape(b *testing.B) {
	for _, open := range []int{0, 60_000} {
		r := withOpen(b, open)
		b.Run(fmt.Sprintf("metrics/open=%d", open), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Metrics(0)
			}
		})
		b.Run(fmt.Sprintf("status/open=%d", open), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Status(0)
			}
		})
	}
}

// withOpen returns a server at which others have begun so many instances, and decided none.
func withOpen(b *testing.B, open int) *replica.Replica {
	m := newMiniature(b, 3)
	r, from := m.replicas[0], paxos.Packet{From: 2, To: 1, Store: 2, Boot: 1, Nonce: 2, Members: paxos.Members{Cluster: "bench",
		Acceptors: []paxos.ServerID{1, 2, 3}}.Fingerprint()}
	state, err := m.storages[1].Server()
	require.NoError(b, err)
	from.Store = state.Store
	var out replica.Output
	for i := range open {
		from.Seq++
		from.Messages = []paxos.Message{{Kind: paxos.KindAccept, Instance: benchName(i), Ballot: paxos.Ballot{Round: 1, Server: 2}, Value: "v"}}
		r.Receive(0, from)
		for r.Take(&out) {
			for _, name := range out.Load {
				r.Loaded(0, name, paxos.Record{Instance: name})
			}
			if out.Save != nil {
				r.Saved(0)
			}
		}
	}
	require.Equal(b, open, r.Metrics(0).Open)
	return r
}
