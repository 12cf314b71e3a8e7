package replica

import (
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
	"github.com/singledecree/paxos/internal/oracle"
)

// A cluster is the disks of its servers, and the Oracle that judges all that they do.
type cluster struct {
	*oracle.Oracle
	t       require.TestingT
	members paxos.Members
	servers map[paxos.ServerID]*oracle.Server
	state   map[paxos.ServerID]*paxos.ServerState      // on the disk of each
	records map[paxos.ServerID]map[string]paxos.Record // on the disk of each
}

// newCluster returns formatted disks of servers that have met.
func newCluster(t require.TestingT, m paxos.Members) *cluster {
	if m.Cluster == "" {
		m.Cluster = "pump"
	}
	c := &cluster{t: t, members: m.Clone(), servers: map[paxos.ServerID]*oracle.Server{}, state: map[paxos.ServerID]*paxos.ServerState{},
		records: map[paxos.ServerID]map[string]paxos.Record{}}
	var all []*oracle.Server
	for _, id := range c.ids() {
		c.servers[id] = &oracle.Server{ID: id}
		all = append(all, c.servers[id])
		c.format(id, 100+uint64(id))
		for _, other := range c.ids() {
			if other != id {
				*c.state[id] = c.state[id].WithStore(other, 100+uint64(other))
			}
		}
	}
	c.Oracle = oracle.New(c.members, all)
	return c
}

func (c *cluster) ids() []paxos.ServerID {
	return append(slices.Clone(c.members.Acceptors), c.members.Learners...)
}

// format gives a server a new disk, which has met no other server.
func (c *cluster) format(id paxos.ServerID, store uint64) {
	disk := &c.servers[id].Disk
	*disk = oracle.NewDisk()
	disk.State = paxos.ServerState{Cluster: c.members.Cluster, ID: id, Store: store, Members: c.members.Voters()}
	c.state[id], c.records[id] = &disk.State, disk.Records
}

// put makes b durable.
func (c *cluster) put(id paxos.ServerID, b paxos.Batch) {
	require.NoError(c.t, c.Saved(c.servers[id], b))
	require.NoError(c.t, c.servers[id].Disk.Save(b))
}

// leaves lets the Oracle look at a packet as it leaves.
func (c *cluster) leaves(p paxos.Packet) { require.NoError(c.t, c.Sent(c.servers[p.From], &p)) }

// ended lets the Oracle look at the end of a call.
func (c *cluster) ended(id paxos.ServerID, d Done) {
	if d.OK {
		require.NoError(c.t, c.Returned(c.servers[id], d.Decision))
	}
}

// record is what Storage.Load returns, with the name of the instance.
func (c *cluster) record(id paxos.ServerID, name string) paxos.Record {
	rec := c.records[id][name]
	rec.Instance = name
	return rec
}

// forgotten is what a server starts with of the names that it has forgotten.
func (c *cluster) forgotten(id paxos.ServerID) []paxos.Record {
	forgotten, err := ReadForgotten(&c.servers[id].Disk, *c.state[id])
	require.NoError(c.t, err)
	return forgotten
}

// listed is the page that List reads.
func (c *cluster) listed(id paxos.ServerID, ask ListAsk) Page {
	p, err := List(&c.servers[id].Disk, ask)
	require.NoError(c.t, err)
	return p
}

// chosen returns what is chosen, by instance.
func (c *cluster) chosen() map[string]paxos.Value {
	chosen := map[string]paxos.Value{}
	for name, fact := range c.Facts() {
		if fact.Chosen {
			chosen[name] = fact.Value
		}
	}
	return chosen
}

// Clusters of 1 to 7 servers under loss, duplicates, delay, reordering, partitions, slow disks, crashes and restarts, all
// from one seed; then faults stop, and every call that still has a caller ends (I10), every server that is asked gives the
// same answer, and the oracle has judged every save and every message. One seed again:
//
//	go test -run 'TestReplicaRandomClusters/seed=17$' ./replica
func TestReplicaRandomClusters(t *testing.T) {
	var total paxos.Counters
	crashes, lost := 0, 0
	seeds := uint64(300) // with the state spaces that CI explores
	if explore.Asked(t) == explore.Small {
		seeds = 120
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Logf("seed %d", seed)
			c := newChaos(t, seed)
			c.live()
			addCounters(&total, c.total)
			crashes += c.crashes
			lost += c.lost
			if seed%30 == 0 {
				again := newChaos(t, seed)
				again.live()
				assert.Equal(t, c.hash.Sum64(), again.hash.Sum64(), "the same seed does the same again")
			}
		})
	}
	if t.Failed() || total.Attempts < 100 {
		return // one seed was asked for
	}
	assert.Greater(t, crashes, 100)
	assert.Greater(t, lost, 1000)
	assert.Greater(t, total.Superseded, seeds/3, "sometimes they duel")
	assert.Greater(t, total.Owned, seeds/3, "sometimes in round 0")
	assert.Greater(t, total.Resends, uint64(100))
	assert.Greater(t, total.Decided, uint64(1000))
	for k := paxos.KindPrepare; k <= paxos.KindState; k++ {
		assert.NotZero(t, total.Received[k], "%v", k)
	}
}

// chaos is a cluster and what goes wrong in it.
type chaos struct {
	*pump
	rand    *rand.Rand
	items   chaosItems
	seq     int
	waits   map[CallID]paxos.ServerID // calls that have a caller, and where
	calls   CallID
	names   []string
	cut     map[[2]paxos.ServerID]bool
	total   paxos.Counters
	crashes int
	lost    int
	hash    hash.Hash64

	loss, twice     float64
	delay, diskTime time.Duration
}

func newChaos(t *testing.T, seed uint64) *chaos {
	src := rand.New(rand.NewPCG(seed, 2))
	m := membersOf(1 + src.IntN(7))
	for i := range src.IntN(3) {
		m.Learners = append(m.Learners, paxos.ServerID(20+i))
	}
	c := &chaos{pump: newPump(t, m), rand: src, waits: map[CallID]paxos.ServerID{}, cut: map[[2]paxos.ServerID]bool{}, hash: fnv.New64a(),
		loss: src.Float64() * 0.6 * float64(src.IntN(2)), twice: src.Float64() * 0.5 * float64(src.IntN(2)),
		delay: time.Duration(1+src.IntN(300)) * time.Millisecond, diskTime: time.Duration(src.IntN(50)) * time.Millisecond}
	c.timing, c.pump.seed = paxos.Timing{}, 7
	c.look, c.carry, c.disk = c.lookAt, c.transmit, c.onSlowDisk
	if src.IntN(3) == 0 {
		c.limits = paxos.Limits{MaxOpen: 16, Cache: 1 + src.IntN(3), MaxHint: 1 + src.IntN(8), MaxPacket: 4 << 10, MaxBatch: 4 << 10}
	}
	for i := range 1 + src.IntN(8) {
		name := fmt.Sprint("job/", i)
		switch owner := paxos.ServerID(1 + i%3); i % 3 {
		case 1:
			name = paxos.Owned(owner, name)
		case 2:
			name = minted(owner, 1+uint64(i/3), 1, name)
		}
		c.names = append(c.names, name)
	}
	return c
}

type chaosItem struct {
	at  time.Duration
	seq int
	do  func()
}

type chaosItems []chaosItem

func (q chaosItems) Len() int { return len(q) }
func (q chaosItems) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q chaosItems) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *chaosItems) Push(x any)   { *q = append(*q, x.(chaosItem)) }
func (q *chaosItems) Pop() any {
	item := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return item
}

func (c *chaos) later(d time.Duration, do func()) {
	c.seq++
	heap.Push(&c.items, chaosItem{c.now + d, c.seq, do})
}

func (c *chaos) upTo(d time.Duration) time.Duration {
	return time.Duration(c.rand.Int64N(int64(d) + 1))
}

// live lets chaos be for some seconds, then heals, and demands that everything ends.
func (c *chaos) live() {
	for _, id := range c.ids() {
		c.begins(id)
	}
	chaosEnds := 5*time.Second + c.upTo(10*time.Second)
	for range 10 + c.rand.IntN(60) {
		c.later(c.upTo(chaosEnds), c.mischief)
	}
	c.until(chaosEnds)
	c.heal()
	c.until(c.now + 3*time.Minute)
	for i, name := range c.names {
		id := c.ids()[i%len(c.ids())]
		c.offer(id, name, "late")
	}
	c.until(c.now + 2*time.Minute) // longer than MaxSilence, for those that wait
	require.Empty(c.t, c.waits, "calls that have not ended")
	for id, r := range c.replicas {
		addCounters(&c.total, r.counters)
		checkTables(c.t, r)
		require.Zero(c.t, len(r.calls), "server %d", id)
	}
	for _, name := range c.names {
		for _, id := range c.ids() {
			c.offer(id, name, "later still")
		}
	}
	c.until(c.now + time.Minute)
	require.Empty(c.t, c.waits)
}

// mischief is one thing that happens: a call, a caller who goes, a crash, a partition.
func (c *chaos) mischief() {
	id := c.ids()[c.rand.IntN(len(c.ids()))]
	name := c.names[c.rand.IntN(len(c.names))]
	switch c.rand.IntN(10) {
	default:
		c.offer(id, name, paxos.Value([]string{"", "v", "burger", "of " + fmt.Sprint(id)}[c.rand.IntN(4)]))
	case 0:
		c.call(id, func(r *Replica, call CallID) { r.Wait(c.now, call, name) })
	case 6:
		c.call(id, func(r *Replica, call CallID) { r.Read(c.now, call, name) })
	case 1:
		c.call(id, func(r *Replica, call CallID) { r.Ready(c.now, call) })
	case 2:
		for call := range c.calls { // one of those that run
			if at, ok := c.waits[call+1]; ok {
				delete(c.waits, call+1)
				c.replicas[at].Cancel(c.now, call+1)
				c.drain(at)
				break
			}
		}
	case 3, 4:
		c.kill(id)
		c.later(c.upTo(3*time.Second), func() {
			if c.replicas[id] == nil {
				c.begins(id)
			}
		})
	case 5:
		other := c.ids()[c.rand.IntN(len(c.ids()))]
		c.cut[[2]paxos.ServerID{id, other}] = true // one way
		c.later(c.upTo(3*time.Second), func() { delete(c.cut, [2]paxos.ServerID{id, other}) })
	}
}

func (c *chaos) heal() {
	c.loss, c.twice = 0, 0
	c.delay, c.diskTime = 5*time.Millisecond, 5*time.Millisecond
	clear(c.cut)
	for _, id := range c.ids() {
		if c.replicas[id] == nil {
			c.begins(id)
		}
	}
}

func (c *chaos) kill(id paxos.ServerID) {
	if r := c.replicas[id]; r != nil {
		addCounters(&c.total, r.counters)
		c.crashes++
	}
	c.crash(id)
	for call, at := range c.waits {
		if at == id {
			delete(c.waits, call)
		}
	}
}

func (c *chaos) begins(id paxos.ServerID) {
	c.start(id)
	c.drain(id)
}

func (c *chaos) offer(id paxos.ServerID, name string, v paxos.Value) {
	c.Proposed(name, v)
	c.call(id, func(r *Replica, call CallID) { r.Propose(c.now, call, name, v) })
}

func (c *chaos) call(id paxos.ServerID, f func(*Replica, CallID)) {
	r := c.replicas[id]
	if r == nil {
		return
	}
	c.calls++
	c.waits[c.calls] = id
	f(r, c.calls)
	c.drain(id)
}

// until lets time go by.
func (c *chaos) until(end time.Duration) {
	for events := 0; ; events++ {
		require.Less(c.t, events, 2_000_000, "it never ends")
		at := end
		if len(c.items) > 0 {
			at = min(at, c.items[0].at)
		}
		var due paxos.ServerID
		for _, id := range c.ids() {
			if r := c.replicas[id]; r != nil {
				if next, ok := r.Next(); ok && next < at {
					at, due = max(next, c.now), id
				}
			}
		}
		c.now = at
		switch {
		case due != 0:
			c.replicas[due].Tick(c.now)
			c.drain(due)
		case len(c.items) > 0 && c.items[0].at <= end:
			heap.Pop(&c.items).(chaosItem).do()
		default:
			return
		}
	}
}

// drain carries out what a server wants.
func (c *chaos) drain(id paxos.ServerID) {
	r := c.replicas[id]
	for c.take(id, r) {
	}
	if c.seq%16 == 0 {
		checkTables(c.t, r)
	}
}

// lookAt checks and sums an Output.
func (c *chaos) lookAt(_ paxos.ServerID, out *Output) {
	require.NoError(c.t, out.Stop)
	require.Empty(c.t, out.Faults)
	fmt.Fprint(c.hash, c.now, out.Send, out.Load, out.Index)
	for _, d := range out.Done {
		delete(c.waits, d.ID)
	}
}

// onSlowDisk ends a read or a Save after a while, unless the server has crashed by then.
func (c *chaos) onSlowDisk(id paxos.ServerID, write bool, end func()) {
	r, most := c.replicas[id], c.diskTime
	if !write {
		most /= 4
	}
	c.later(c.upTo(most), func() {
		if c.replicas[id] == r {
			end()
			c.drain(id)
		}
	})
}

// transmit loses, repeats and delays a packet.
func (c *chaos) transmit(p paxos.Packet) {
	p.Messages = slices.Clone(p.Messages)
	copies := 1
	if c.rand.Float64() < c.twice {
		copies = 2
	}
	for range copies {
		if c.rand.Float64() < c.loss || c.cut[[2]paxos.ServerID{p.From, p.To}] {
			c.lost++
			continue
		}
		c.later(c.upTo(c.delay), func() {
			if c.deliver(p) {
				c.drain(p.To)
			}
		})
	}
}
