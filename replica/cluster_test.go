package replica

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// Clusters of 1 to 7 servers under loss, duplicates, delay, reordering, partitions, slow disks, crashes and restarts, all
// from one seed; then faults stop, and every call that still has a caller ends (I10), every server that is asked gives the
// same answer, and the ledger has checked every save and every message. One seed again:
//
//	go test -run 'TestReplicaRandomClusters/seed=17$' ./replica
func TestReplicaRandomClusters(t *testing.T) {
	var total paxos.Counters
	crashes, lost := 0, 0
	seeds := uint64(300) // with the state spaces that CI explores
	if *exProfile == "small" {
		seeds = 120
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Logf("seed %d", seed)
			c := newChaos(t, seed)
			c.run()
			addCounters(&total, c.total)
			crashes += c.crashes
			lost += c.lost
			if seed%30 == 0 {
				again := newChaos(t, seed)
				again.run()
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
	assert.Greater(t, total.Owned, uint64(50), "sometimes in round 0")
	assert.Greater(t, total.Resends, uint64(100))
	assert.Greater(t, total.Decided, uint64(1000))
	for k := paxos.KindPrepare; k <= paxos.KindState; k++ {
		assert.NotZero(t, total.Received[k], "%v", k)
	}
}

// chaos is a cluster and what goes wrong in it.
type chaos struct {
	*cluster
	t        *testing.T
	rand     *rand.Rand
	now      time.Duration
	items    chaosItems
	seq      int
	replicas map[paxos.ServerID]*Replica
	lives    map[paxos.ServerID]uint64
	waits    map[CallID]paxos.ServerID // calls that have a caller, and where
	done     map[CallID]Done
	calls    CallID
	names    []string
	cut      map[[2]paxos.ServerID]bool
	total    paxos.Counters
	crashes  int
	lost     int
	out      Output
	hash     interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}

	loss, twice float64
	delay, disk time.Duration
	limits      paxos.Limits
}

func newChaos(t *testing.T, seed uint64) *chaos {
	src := rand.New(rand.NewPCG(seed, 2))
	m := membersOf(1 + src.IntN(7))
	for i := range src.IntN(3) {
		m.Learners = append(m.Learners, paxos.ServerID(20+i))
	}
	c := &chaos{cluster: newCluster(t, m), t: t, rand: src, replicas: map[paxos.ServerID]*Replica{}, lives: map[paxos.ServerID]uint64{},
		waits: map[CallID]paxos.ServerID{}, done: map[CallID]Done{}, cut: map[[2]paxos.ServerID]bool{}, hash: fnv.New64a(),
		loss: src.Float64() * 0.6 * float64(src.IntN(2)), twice: src.Float64() * 0.5 * float64(src.IntN(2)),
		delay: time.Duration(1+src.IntN(300)) * time.Millisecond, disk: time.Duration(src.IntN(50)) * time.Millisecond}
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

// run lets chaos be for some seconds, then heals, and demands that everything ends.
func (c *chaos) run() {
	for _, id := range c.ids() {
		c.start(id)
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
		c.propose(id, name, "late")
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
			c.propose(id, name, "later still")
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
		c.propose(id, name, paxos.Value([]string{"", "v", "burger", "of " + fmt.Sprint(id)}[c.rand.IntN(4)]))
	case 0:
		c.begin(id, func(r *Replica, call CallID) { r.Wait(c.now, call, name) })
	case 6:
		c.begin(id, func(r *Replica, call CallID) { r.Read(c.now, call, name) })
	case 1:
		c.begin(id, func(r *Replica, call CallID) { r.Ready(c.now, call) })
	case 2:
		for call := range c.calls { // one of those that run
			if at, ok := c.waits[call+1]; ok {
				delete(c.waits, call+1)
				c.replicas[at].Cancel(c.now, call+1)
				c.take(at)
				break
			}
		}
	case 3, 4:
		c.crash(id)
		c.later(c.upTo(3*time.Second), func() {
			if c.replicas[id] == nil {
				c.start(id)
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
	c.delay, c.disk = 5*time.Millisecond, 5*time.Millisecond
	clear(c.cut)
	for _, id := range c.ids() {
		if c.replicas[id] == nil {
			c.start(id)
		}
	}
}

func (c *chaos) crash(id paxos.ServerID) {
	if r := c.replicas[id]; r != nil {
		addCounters(&c.total, r.counters)
		c.crashes++
	}
	delete(c.replicas, id)
	for call, at := range c.waits {
		if at == id {
			delete(c.waits, call)
		}
	}
}

func (c *chaos) start(id paxos.ServerID) {
	c.lives[id]++
	c.servers[id].Life = c.lives[id]
	r, err := New(c.now, Config{ID: id, State: *c.state[id], Nonce: c.lives[id], Members: c.members, Open: c.servers[id].Disk.Open(), Forgotten: c.forgotten(id), Limits: c.limits, Seed: 7})
	require.NoError(c.t, err)
	c.replicas[id] = r
	c.take(id)
}

func (c *chaos) propose(id paxos.ServerID, name string, v paxos.Value) {
	c.Proposed(name, v)
	c.begin(id, func(r *Replica, call CallID) { r.Propose(c.now, call, name, v) })
}

func (c *chaos) begin(id paxos.ServerID, f func(*Replica, CallID)) {
	r := c.replicas[id]
	if r == nil {
		return
	}
	c.calls++
	c.waits[c.calls] = id
	f(r, c.calls)
	c.take(id)
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
			c.take(due)
		case len(c.items) > 0 && c.items[0].at <= end:
			heap.Pop(&c.items).(chaosItem).do()
		default:
			return
		}
	}
}

// take carries out what a server wants.
func (c *chaos) take(id paxos.ServerID) {
	r := c.replicas[id]
	life := c.lives[id]
	alive := func() bool { return c.replicas[id] == r && c.lives[id] == life }
	out := &c.out
	for r.Take(out) {
		require.NoError(c.t, out.Stop)
		require.Empty(c.t, out.Faults)
		fmt.Fprint(c.hash, c.now, out.Send, out.Load, out.Index)
		for _, p := range out.Send {
			c.leaves(p)
			c.transmit(p)
		}
		for _, d := range out.Done {
			require.NotContains(c.t, c.done, d.ID, "ended twice")
			c.done[d.ID] = d
			delete(c.waits, d.ID)
			c.ended(id, d)
		}
		for _, name := range out.Load {
			c.later(c.upTo(c.disk/4), func() {
				if alive() {
					r.Loaded(c.now, name, c.record(id, name))
					c.take(id)
				}
			})
		}
		for _, ask := range out.List {
			c.later(c.upTo(c.disk/4), func() {
				if alive() {
					r.Listed(c.now, ask.ID, c.listed(id, ask))
					c.take(id)
				}
			})
		}
		if b := out.Save; b != nil {
			c.later(c.upTo(c.disk), func() {
				if alive() {
					c.put(id, *b)
					r.Saved(c.now)
					c.take(id)
				}
			})
		}
	}
	if c.seq%16 == 0 {
		checkTables(c.t, r)
	}
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
			if r := c.replicas[p.To]; r != nil {
				c.Arrived(c.servers[p.To], &p)
				r.Receive(c.now, p)
				c.take(p.To)
			}
		})
	}
}
