package node_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// holdLoop has the loop of server 1 stand still until release, in a Send that blocks, as none may.
func holdLoop(c *testCluster) (release func()) {
	synctest.Wait() // else the loop may stand still before it has taken the call below
	gate := make(chan struct{})
	c.ends[1].gate.Store(&gate)
	waiting(context.Background(), c.nodes[1], "another")
	synctest.Wait()
	return sync.OnceFunc(func() { c.ends[1].gate.Store(nil); close(gate) })
}

// A storageCall is one call of a testStorage.
type storageCall struct {
	op       string // "server", "load", "save", "undecided", "decided"
	instance string // of load
	batch    paxos.Batch
	n, total int // which call of that op, which call of all, from 1
}

// A testStorage hands its calls to hooks, which may take their time or fail them. Two Saves at once fail the test, and so
// does a Save after one that failed.
type testStorage struct {
	*memory.Storage
	t      *testing.T
	saving atomic.Bool
	dead   atomic.Bool

	mu            sync.Mutex
	counts        map[string]int
	before, after func(storageCall) error
}

func newTestStorage(t *testing.T) *testStorage {
	return &testStorage{Storage: memory.NewStorage(), t: t, counts: map[string]int{}}
}

// hooks sets what is called before and after each call from now on, and counts the calls anew. Either may be nil.
func (s *testStorage) hooks(before, after func(storageCall) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after, s.counts = before, after, map[string]int{}
}

// count returns how many calls of op there were since hooks was called; op "" counts all.
func (s *testStorage) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[op]
}

func (s *testStorage) call(c storageCall, f func() error) error {
	s.mu.Lock()
	s.counts[c.op]++
	s.counts[""]++
	c.n, c.total = s.counts[c.op], s.counts[""]
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		if err := before(c); err != nil {
			return err
		}
	}
	if err := f(); err != nil {
		return err
	}
	if after != nil {
		return after(c)
	}
	return nil
}

func (s *testStorage) Server() (state paxos.ServerState, err error) {
	err = s.call(storageCall{op: "server"}, func() (err error) { state, err = s.Storage.Server(); return err })
	return state, err
}

func (s *testStorage) Load(instance string) (rec paxos.Record, err error) {
	err = s.call(storageCall{op: "load", instance: instance}, func() (err error) { rec, err = s.Storage.Load(instance); return err })
	if err != nil {
		return paxos.Record{}, err
	}
	return rec, nil
}

func (s *testStorage) Save(b paxos.Batch) error {
	if !s.saving.CompareAndSwap(false, true) {
		s.t.Error("two Saves at once")
	}
	defer s.saving.Store(false)
	if s.dead.Load() {
		s.t.Error("a Save after one that failed")
	}
	err := s.call(storageCall{op: "save", batch: b}, func() error { return s.Storage.Save(b) })
	if err != nil {
		s.dead.Store(true)
	}
	return err
}

func (s *testStorage) Undecided() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.call(storageCall{op: "undecided"}, func() error { return nil }); err != nil {
			yield("", err)
			return
		}
		s.Storage.Undecided()(yield)
	}
}

func (s *testStorage) Decided(after uint64, max int) (named []paxos.Named, err error) {
	err = s.call(storageCall{op: "decided"}, func() (err error) { named, err = s.Storage.Decided(after, max); return err })
	return named, err
}

// copyOf returns a storage that holds what s holds now: s after a crash, or a copied directory.
func copyOf(t *testing.T, s paxos.Storage) *memory.Storage {
	t.Helper()
	state, err := s.Server()
	require.NoError(t, err)
	b := paxos.Batch{Server: &state}
	add := func(name string) {
		rec, err := s.Load(name)
		require.NoError(t, err)
		b.Records = append(b.Records, rec)
	}
	for name, err := range s.Undecided() {
		require.NoError(t, err)
		add(name)
	}
	decided, err := s.Decided(0, 1<<20)
	require.NoError(t, err)
	for _, d := range decided {
		add(d.Instance)
	}
	c := memory.NewStorage()
	require.NoError(t, c.Save(b))
	return c
}

// A testCluster is servers, their storages and their network. On the direct path these are MemoryStorage and MemoryNetwork,
// for which a Node has a shorter way; on the general path they are wrapped.
type testCluster struct {
	t       *testing.T
	members paxos.Members
	net     *testNet        // nil on the direct path
	memory  *memory.Network // nil on the general path
	storage map[paxos.ServerID]paxos.Storage
	ends    map[paxos.ServerID]*testEnd // the latest of each server
	nodes   map[paxos.ServerID]*node.Node
	config  func(*node.Config) // changes what start starts; may be nil
}

const testLatency = time.Millisecond

// membersOf returns n acceptors.
func membersOf(n int) paxos.Members {
	m := paxos.Members{Cluster: "test"}
	for id := range n {
		m.Acceptors = append(m.Acceptors, paxos.ServerID(id+1))
	}
	return m
}

// newTestCluster returns servers that are formatted and not started, on the general path.
func newTestCluster(t *testing.T, m paxos.Members) *testCluster {
	t.Helper()
	c := &testCluster{t: t, members: m, net: newTestNet(testLatency), storage: map[paxos.ServerID]paxos.Storage{},
		ends: map[paxos.ServerID]*testEnd{}, nodes: map[paxos.ServerID]*node.Node{}}
	for _, id := range c.ids() {
		c.storage[id] = newTestStorage(t)
		require.NoError(t, paxos.Format(c.storage[id], id, m))
	}
	return c
}

// newDirectCluster returns servers that are formatted and not started, on the direct path.
func newDirectCluster(t *testing.T, m paxos.Members) *testCluster {
	t.Helper()
	c := newTestCluster(t, m)
	c.net, c.memory = nil, memory.NewNetwork()
	for id, s := range c.storage {
		c.storage[id] = s.(*testStorage).Storage
	}
	return c
}

// started returns n servers that run, on the general path.
func started(t *testing.T, n int) *testCluster {
	t.Helper()
	c := newTestCluster(t, membersOf(n))
	c.startAll()
	return c
}

// onBothPaths runs f in a bubble on n servers that run, first on the direct path, then on the general one.
func onBothPaths(t *testing.T, n int, f func(t *testing.T, c *testCluster)) {
	for _, path := range []struct {
		name string
		make func(*testing.T, paxos.Members) *testCluster
	}{{"direct", newDirectCluster}, {"general", newTestCluster}} {
		t.Run(path.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := path.make(t, membersOf(n))
				c.startAll()
				f(t, c)
			})
		})
	}
}

func (c *testCluster) ids() []paxos.ServerID {
	return slices.Concat(c.members.Acceptors, c.members.Learners)
}

func (c *testCluster) startAll() {
	c.t.Helper()
	for _, id := range c.ids() {
		c.start(id)
	}
}

// start starts a server, which the test closes when it ends.
func (c *testCluster) start(id paxos.ServerID) *node.Node {
	c.t.Helper()
	n, err := c.tryStart(context.Background(), id)
	require.NoError(c.t, err)
	return n
}

func (c *testCluster) tryStart(ctx context.Context, id paxos.ServerID) (*node.Node, error) {
	cfg := node.Config{ID: id, Members: c.members, Storage: c.storage[id], Seed: uint64(id)}
	if c.memory != nil {
		cfg.Transport = c.memory.Join(id)
	} else {
		c.net.mu.Lock()
		delete(c.net.ends, id)
		c.net.mu.Unlock()
		c.ends[id] = c.net.join(id)
		cfg.Transport = c.ends[id]
	}
	if c.config != nil {
		c.config(&cfg)
	}
	n, err := node.Start(ctx, cfg)
	if err == nil {
		c.nodes[id] = n
		c.t.Cleanup(func() { n.Close() })
	}
	return n, err
}

// store returns the wrapped storage of a server on the general path.
func (c *testCluster) store(id paxos.ServerID) *testStorage { return c.storage[id].(*testStorage) }

// agreed checks that every server that runs learns one and the same value of the instance, and returns it.
func (c *testCluster) agreed(instance string) paxos.Value {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var first *paxos.Value
	for _, id := range c.ids() {
		n := c.nodes[id]
		if n == nil || isDone(n) {
			continue
		}
		d, err := n.Wait(ctx, instance)
		require.NoError(c.t, err, "server %d", id)
		require.Equal(c.t, instance, d.Instance)
		if first == nil {
			first = &d.Value
		}
		require.Equal(c.t, *first, d.Value, "server %d learned another value of %q", id, instance)
	}
	return *first
}

func isDone(n *node.Node) bool {
	select {
	case <-n.Done():
		return true
	default:
		return false
	}
}

// An outcome is what a call returned.
type outcome struct {
	d   paxos.Decision
	err error
}

// inBackground runs a call, and returns where its outcome will be.
func inBackground(f func() (paxos.Decision, error)) <-chan outcome {
	c := make(chan outcome, 1)
	go func() {
		d, err := f()
		c <- outcome{d: d, err: err}
	}()
	return c
}

func proposing(ctx context.Context, n *node.Node, instance string, v paxos.Value) <-chan outcome {
	return inBackground(func() (paxos.Decision, error) { return n.Propose(ctx, instance, v) })
}

func waiting(ctx context.Context, n *node.Node, instance string) <-chan outcome {
	return inBackground(func() (paxos.Decision, error) { return n.Wait(ctx, instance) })
}

// pending checks that the call has not ended, after all that can happen now has happened.
func pending(t *testing.T, c <-chan outcome) {
	t.Helper()
	synctest.Wait()
	require.Empty(t, c, "the call has ended")
}

// propose is a Propose that must succeed.
func propose(t *testing.T, n *node.Node, instance string, v paxos.Value) paxos.Decision {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	d, err := n.Propose(ctx, instance, v)
	require.NoError(t, err)
	assert.Equal(t, instance, d.Instance)
	return d
}

// soon is a context for a call that must end at once: that it doesn't is then an error, and no endless test.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// opError returns err as the *OpError that every error of a call must be.
func opError(t *testing.T, err error) *paxos.OpError {
	t.Helper()
	require.Error(t, err)
	var e *paxos.OpError
	require.ErrorAs(t, err, &e)
	require.Same(t, e, err, "the error is not an *OpError, but wraps one")
	return e
}

// errTest is what the hooks fail with.
var errTest = errors.New("the test fails this")
