// Package node runs one server of a cluster. A [Node] is a Replica with the goroutines that move data between it, a
// [paxos.Storage] and a [paxos.Transport].
//
// [Start] returns a running Node, on a storage that [paxos.Format] has prepared once. [Node.Propose], [Node.Read] and
// [Node.Wait] take contexts, and any number of goroutines may call them. [Node.Decisions] yields every decision.
// [Node.Status] tells an operator how the server is, and [Node.Metrics] tells a monitor. [Node.Close] stops it.
//
// A service that has a loop of its own can run a Replica itself: see [github.com/singledecree/paxos/replica].
package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// Start starts the server that cfg describes, on a storage that [paxos.Format] has prepared. It returns when the first
// Save is done. After that ctx has no effect. Start never panics. It fails if:
//
//   - A field of cfg is wrong. The error names the field.
//   - The storage is not formatted, or belongs to another server, cluster or list of acceptors.
//   - The transport belongs to another server.
//   - The storage cannot be read or written.
//   - ctx ends first. A read or Save that hangs then still uses the storage until it returns.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	var misfit error
	if t, ok := cfg.Transport.(paxos.SizedTransport); ok && !isNil(t) {
		cfg.Limits, misfit = replica.LimitsFor(cfg.Limits, t.MaxPacket())
	}
	cfg.Limits, cfg.Timing = cfg.Limits.WithDefaults(), cfg.Timing.WithDefaults()
	if err := cfg.check(); err != nil {
		return nil, failure(callStart, "", err)
	}
	if misfit != nil {
		return nil, failure(callStart, "", fmt.Errorf("Config.%w", misfit))
	}
	stored, err := readStart(ctx, cfg)
	if err != nil {
		return nil, failure(callStart, "", err)
	}
	n, err := newNode(cfg, stored)
	if err != nil {
		return nil, failure(callStart, "", err)
	}
	n.run()
	select {
	case <-n.booted:
		return n, nil
	case <-n.stopped:
		<-n.done
		return nil, failure(callStart, "", n.err)
	case <-ctx.Done():
		n.Close()
		return nil, failure(callStart, "", fmt.Errorf("the storage has not saved yet: %w", ctxError(ctx)))
	}
}

// A startRead holds the data that a start reads from the storage.
type startRead struct {
	state     paxos.ServerState
	members   paxos.Members
	open      []string // undecided
	forgotten []paxos.Record
}

// readStart reads the storage for a start, and checks that it belongs to this server. If ctx ends, readStart returns,
// although a read may still hang.
func readStart(ctx context.Context, cfg Config) (startRead, error) {
	type result struct {
		startRead
		err error
	}
	results := make(chan result, 1)
	go func() {
		var r result
		r.startRead, r.err = readStorage(ctx, cfg)
		results <- r
	}()
	select {
	case r := <-results:
		return r.startRead, r.err
	case <-ctx.Done():
		return startRead{}, fmt.Errorf("the storage has not been read yet, and is in use until that returns: %w", ctxError(ctx))
	}
}

func readStorage(ctx context.Context, cfg Config) (r startRead, err error) {
	if r.state, err = cfg.Storage.Server(); err != nil {
		return r, fmt.Errorf("storage: %w", err)
	}
	members, err := knownMembers(cfg, r.state)
	if err != nil {
		return r, fmt.Errorf("storage: %w", err)
	}
	if r.state.Configuration == "" && !members.Has(cfg.ID) {
		return r, fmt.Errorf("Config.ID: server %d is not in Config.Members", cfg.ID)
	}
	if r.state.ID != cfg.ID && r.state != (paxos.ServerState{}) {
		return r, fmt.Errorf("Config.ID: %d, but the storage belongs to server %d", cfg.ID, r.state.ID)
	}
	if err := r.state.Check(cfg.ID, members); err != nil {
		return r, err
	}
	r.members = members
	if err := paxos.CheckLast(cfg.Storage, r.state.Last); err != nil {
		return r, fmt.Errorf("storage: %w", err)
	}
	if r.forgotten, err = replica.ReadForgotten(cfg.Storage, r.state); err != nil {
		return r, fmt.Errorf("storage: %w", err)
	}
	if r.open, err = undecided(ctx, cfg.Storage, replica.Backlog(cfg.Limits)); err != nil {
		return r, fmt.Errorf("storage: %w", err)
	}
	return r, nil
}

// newNode returns a Node that does not run yet. cfg must be checked, with its defaults filled in.
func newNode(cfg Config, stored startRead) (*Node, error) {
	var random [16]byte
	rand.Read(random[:])
	if cfg.Seed == 0 {
		cfg.Seed = binary.LittleEndian.Uint64(random[8:])
	}
	r, err := replica.New(0, replica.Config{ID: cfg.ID, State: stored.state, Nonce: binary.LittleEndian.Uint64(random[:]), Members: stored.members,
		Open: stored.open, Forgotten: stored.forgotten, Limits: cfg.Limits, Timing: cfg.Timing, Seed: cfg.Seed, Trace: cfg.Trace != nil,
		RoundTrips: cfg.Observer != nil, NoStanding: cfg.NoStanding})
	if err != nil {
		return nil, err
	}
	n := &Node{config: cfg, replica: r, boot: r.Boot(), origin: time.Now(), yield: runtime.Gosched, wake: make(chan struct{}, 1), booted: make(chan struct{}),
		stopped: make(chan struct{}), done: make(chan struct{}), taken: make(chan struct{}, 1), told: map[paxos.ServerID]told{}, reached: map[paxos.ServerID]uint64{}}
	n.shows = n.view()
	n.reachAtStart(stored.state)
	n.shown = stored.state.Last
	if n.prompt = promptOf(cfg.Storage); n.prompt != nil {
		_, n.instant = n.prompt.(paxos.InstantStorage)
		n.expects, _ = n.prompt.(paxos.ExpectingStorage)
	}
	n.loads = newReaders(math.MaxInt) // at most one is due for each instance in memory and for each peer
	n.looks, n.streams = newReaders(cfg.Limits.MaxCalls), newReaders(cfg.Limits.MaxCalls)
	n.peeks.byName = map[string]*look{}
	if n.direct, _ = cfg.Transport.(paxos.DrainTransport); n.direct != nil {
		n.direct.Wake(n.wake)
	}
	n.report.init(cfg)
	n.watcher.init(cfg.Observer)
	return n, nil
}

// undecided lists the undecided instances of the storage, at most max names. It fails when ctx ends.
func undecided(ctx context.Context, s paxos.Storage, max int) (names []string, err error) {
	names = []string{} // nil would say that they are not told
	for name, err := range s.Undecided() {
		if err == nil && ctx.Err() != nil {
			err = ctxError(ctx)
		}
		if err != nil {
			return nil, err
		}
		if len(names) == max {
			break
		}
		names = append(names, name)
	}
	return names, nil
}

// Close stops the server, and returns when all goroutines of the Node have ended. Calls that wait end with
// [paxos.ErrClosed]. Close may be called more than once, also at the same time. It does not close Storage and Transport.
//
// Close waits for the Save and the reads that run, for Logger, Trace and Observer, and for the Transport's Receive. It waits 2 s at
// most. If one of them has not returned by then, Close returns an error that names it. That call has no effect any more,
// and the Node calls Logger, Trace and Observer no more. But the Storage is in use until its calls return.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	signal(n.wake)
	<-n.done
	return n.hangs
}

// Done returns a channel that is closed when the server has stopped, by [Node.Close] or by itself.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns the reason why the server stopped by itself: its storage failed, its transport ended, or its identity was
// refused. Err is nil while the server runs, and after a [Node.Close] that stopped it.
func (n *Node) Err() error {
	select {
	case <-n.stopped:
		return n.err
	default:
		return nil
	}
}
