package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/replica"
)

// A crew is the servers of one cluster, each of which runs in a host of the Example or does not.
type crew struct {
	testing.TB
	members  paxos.Members
	network  *memory.Network
	storages map[paxos.ServerID]*memory.Storage
}

// newCrew returns servers 1 to 3, none of which runs.
func newCrew(t testing.TB) crew {
	c := crew{t, paxos.Members{Cluster: "crew", Acceptors: []paxos.ServerID{1, 2, 3}}, memory.NewNetwork(), map[paxos.ServerID]*memory.Storage{}}
	for _, id := range c.members.Acceptors {
		c.storages[id] = memory.NewStorage()
		require.NoError(t, paxos.Format(c.storages[id], id, c.members))
	}
	return c
}

func (c crew) start(id paxos.ServerID) *host {
	h, err := start(id, c.members, c.storages[id], c.network.Join(id))
	require.NoError(c, err)
	return h
}

func (c crew) startAll() (hosts []*host) {
	for _, id := range c.members.Acceptors {
		hosts = append(hosts, c.start(id))
	}
	return hosts
}

// record returns what server id has stored of an instance.
func (c crew) record(id paxos.ServerID, instance string) paxos.Record {
	rec, err := c.storages[id].Load(instance)
	require.NoError(c, err)
	return rec
}

func closeAll(hosts []*host) {
	for _, h := range hosts {
		h.Close()
	}
}

// A call that found no quorum is asked again when Tick is due, and one that never finds any ends with Close.
func TestHostTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t)
		first := c.start(1)
		ends := make(chan error, 1)
		go func() {
			_, err := first.Propose("lunch", "burger")
			ends <- err
		}()
		time.Sleep(time.Minute)
		assert.Empty(t, ends)
		second := c.start(2)
		require.NoError(t, <-ends)
		second.Close()
		go func() {
			_, err := first.Propose("dinner", "soup")
			ends <- err
		}()
		time.Sleep(time.Minute)
		assert.Empty(t, ends)
		first.Close()
		require.ErrorIs(t, <-ends, paxos.ErrClosed)
		_, err := first.Propose("dinner", "soup")
		assert.ErrorIs(t, err, paxos.ErrClosed)
	})
}

// A host that stops saves the decisions that it knows, tells the others, and answers from its storage when it starts again.
func TestHostStopsAndStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t)
		hosts := c.startAll()
		var last string
		for i := range 50 {
			last = fmt.Sprint("job ", i)
			_, err := hosts[0].Propose(last, "worker")
			require.NoError(t, err)
		}
		hosts[0].Close() // at once: the last decision waits for a Save that nobody else asks for
		assert.True(t, c.record(1, last).Chosen)
		synctest.Wait()
		closeAll(hosts[1:])
		for _, id := range c.members.Acceptors {
			assert.True(t, c.record(id, last).Chosen, "server %d was not told", id)
		}
		hosts = c.startAll()
		defer closeAll(hosts)
		for i := range 50 {
			d, err := hosts[i%3].Propose(fmt.Sprint("job ", i), "late")
			require.NoError(t, err)
			assert.Equal(t, paxos.Value("worker"), d.Value)
		}
	})
}

// A server that was away gets the decisions that it missed, from pages of the others.
func TestHostCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t)
		hosts := []*host{c.start(1), c.start(2)}
		for i := range 50 {
			_, err := hosts[0].Propose(fmt.Sprint("job ", i), "worker")
			require.NoError(t, err)
		}
		closeAll(hosts)
		hosts = c.startAll() // servers 1 and 2 have nothing in memory
		time.Sleep(time.Minute)
		closeAll(hosts)
		for i := range 50 {
			assert.True(t, c.record(3, fmt.Sprint("job ", i)).Chosen, "job %d", i)
		}
	})
}

// A host ends with the error of its storage, and so do its calls; nothing that rests on a failed Save leaves.
func TestHostStorageFails(t *testing.T) {
	c := newCrew(t)
	require.NoError(t, c.storages[1].Save(paxos.Batch{Records: []paxos.Record{{Instance: "lunch",
		Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 2}}}}}))
	require.Error(t, c.storages[1].Save(paxos.Batch{Records: []paxos.Record{{Instance: "lunch"}}}), "it is dead now")
	h := c.start(1)
	<-h.ended
	_, err := h.Propose("lunch", "burger")
	assert.ErrorIs(t, err, paxos.ErrClosed)
}

// BenchmarkHost measures decisions by 3 servers in one process, in memory, beside each other: the host of the Example, and package
// node. Callers of one server wait for their decision before they ask for the next. An op is a decision.
//
//	go test -run '^$' -bench Host -benchtime 2s -count 5 ./replica
func BenchmarkHost(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d/of=example", callers), func(b *testing.B) {
			hosts := newCrew(b).startAll()
			defer closeAll(hosts)
			benchHost(b, callers, hosts[0].Propose)
		})
		b.Run(fmt.Sprintf("callers=%d/of=node", callers), func(b *testing.B) {
			nodes, stop, err := memory.Cluster(memory.Config{})
			require.NoError(b, err)
			defer stop()
			benchHost(b, callers, func(name string, v paxos.Value) (paxos.Decision, error) {
				return nodes[0].Propose(context.Background(), name, v)
			})
		})
	}
}

func benchHost(b *testing.B, callers int, propose func(string, paxos.Value) (paxos.Decision, error)) {
	value := paxos.Value(make([]byte, 64))
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if _, err := propose("instance "+strconv.FormatInt(i, 10), value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

// A host can call Flush before it has sent the packets of the last Take.
func TestReplicaFlushKeepsWhatTakeGave(t *testing.T) {
	m := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
	state, err := paxos.FirstState(1, m, 7)
	require.NoError(t, err)
	r, err := replica.New(0, replica.Config{ID: 1, State: state, Nonce: 1, Members: m, Seed: 1})
	require.NoError(t, err)
	var out replica.Output
	require.True(t, r.Take(&out))
	require.NotNil(t, out.Save)
	r.Saved(0)
	r.Propose(0, 1, "x", "v")
	require.True(t, r.Take(&out))
	require.Equal(t, []string{"x"}, out.Load)
	require.Len(t, out.Send, 2)
	require.Equal(t, paxos.KindPull, out.Send[0].Messages[0].Kind)
	r.Loaded(0, "x", paxos.Record{})
	r.Flush(&out)
	require.Len(t, out.Send, 4)
	require.Equal(t, paxos.KindPull, out.Send[0].Messages[0].Kind)
	require.Equal(t, paxos.KindPrepare, out.Send[2].Messages[0].Kind)
}

// Unknown is about one call. A retry with the same bytes that fails at once has handed them to nobody, though the first call had.
func TestReplicaRetryThatFails(t *testing.T) {
	m := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}
	state, err := paxos.FirstState(1, m, 7)
	require.NoError(t, err)
	r, err := replica.New(0, replica.Config{ID: 1, State: state, Nonce: 1, Members: m, Seed: 1, Limits: paxos.Limits{MaxOpen: 1}})
	require.NoError(t, err)
	var out replica.Output
	done := map[replica.CallID]error{}
	run := func() {
		for r.Take(&out) {
			for _, d := range out.Done {
				done[d.ID] = d.Err
			}
			for _, name := range slices.Clone(out.Load) {
				r.Loaded(0, name, paxos.Record{})
			}
			if out.Save != nil {
				r.Saved(0)
			}
		}
	}
	run()
	r.Propose(0, 1, "x", "v")
	run()
	r.Cancel(0, 1)
	run()
	require.True(t, paxos.Unknown(done[1]))
	r.Propose(0, 2, "y", "v") // takes the room
	run()
	r.Propose(0, 3, "x", "v")
	run()
	require.ErrorIs(t, done[3], paxos.ErrBusy)
	require.False(t, paxos.Unknown(done[3]))
}

// A listedStorage changes what Load returns.
type listedStorage struct {
	paxos.Storage
	load func(paxos.Record) (paxos.Record, error)
}

func (s listedStorage) Load(name string) (paxos.Record, error) {
	rec, err := s.Storage.Load(name)
	if err == nil && s.load != nil {
		return s.load(rec)
	}
	return rec, err
}

// List says which of the decisions that a storage lists are forgotten names, if it is asked for that.
func TestListSaysWhatIsForgotten(t *testing.T) {
	s := memory.NewStorage()
	m := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1}}
	require.NoError(t, paxos.Format(s, 1, m))
	state, err := s.Server()
	require.NoError(t, err)
	state.Last, state.Forgotten = 3, 1
	gone := paxos.Acceptor{}.Forget()
	range0 := gone
	range0.Accepted, range0.Value = gone.Promised, paxos.Value(paxos.Prefix("job/").String())
	vote := paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: "v"}
	require.NoError(t, s.Save(paxos.Batch{Server: &state, Records: []paxos.Record{{Instance: "a", Acceptor: vote, Chosen: true, Index: 1},
		{Instance: "b", Acceptor: gone, Chosen: true, Index: 2}, {Instance: "$forgotten/0", Acceptor: range0, Chosen: true, Index: 3}}}))
	names := func(s paxos.Storage, forgotten bool) (all []string) {
		listed, err := replica.List(s, replica.ListAsk{ID: 1, Max: 10, Forgotten: forgotten})
		require.NoError(t, err)
		for i, n := range listed.Names {
			assert.Equal(t, uint64(i+1), n.Index)
			all = append(all, n.Instance)
		}
		return all
	}
	assert.Equal(t, []string{"a", "b", "$forgotten/0"}, names(s, false))
	assert.Equal(t, []string{"a", `$forgotten "b" "b\x00"`, `$forgotten "job/" "job0"`}, names(s, true))
	since := listedStorage{s, func(rec paxos.Record) (paxos.Record, error) {
		if rec.Index == 1 {
			rec.Index = 9 // it was forgotten after it was listed
		}
		return rec, nil
	}}
	assert.Equal(t, []string{"", `$forgotten "b" "b\x00"`, `$forgotten "job/" "job0"`}, names(since, true))
	broken := listedStorage{s, func(paxos.Record) (paxos.Record, error) { return paxos.Record{}, errors.New("bad sector") }}
	_, err = replica.List(broken, replica.ListAsk{ID: 1, Max: 10, Forgotten: true})
	assert.EqualError(t, err, `load "a": bad sector`)
}
