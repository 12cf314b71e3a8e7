// Package node runs one server of a cluster. A [Node] is a Replica with the goroutines that move data between it, a
// [paxos.Storage] and a [paxos.Transport].
//
// [Start] returns a running Node, on a storage that [paxos.Format] has prepared once. [Node.Propose], [Node.Read] and
// [Node.Wait] take contexts, and any number of goroutines may call them. [Node.Decisions] yields every decision.
// [Node.Status] tells an operator how the server is. [Node.Close] stops it.
//
// A service that has a loop of its own can run a Replica itself: see [github.com/singledecree/paxos/replica].
package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// A Config says what a Node is and what it stands on. ID, Members, Storage and Transport are required; the zero value of
// every other field means its default.
type Config struct {
	// ID is this server. Its storage was formatted for it.
	ID paxos.ServerID
	// Members is the cluster, the same on every server.
	Members paxos.Members
	// Storage and Transport are used by this Node alone while it runs. The caller closes them after Close.
	Storage   paxos.Storage
	Transport paxos.Transport
	Limits    paxos.Limits
	Timing    paxos.Timing
	// Logger gets what an operator should know: start, stop, faults, refusals. Nil: nothing is logged. Its keys are
	// cluster, server, boot, peer, instance, ballot and err. It is called in a goroutine of its own. While it blocks, 1,024 lines wait;
	// those beyond are lost, the server goes on, and a line says later how many there were.
	Logger *slog.Logger
	// Trace, if not nil, gets every Event, in order, in a goroutine of its own. While it can't keep up, 65,536 events or 64 MiB of them
	// wait; those beyond are lost, the server goes on, and a log line says later how many there were. Logger and Trace must not call
	// Close, which waits for them.
	Trace func(context.Context, paxos.Event)
	// Seed is of the randomness in waits between attempts; 0: a random one.
	Seed uint64
}

// A Node is one running server: a Replica with a goroutine that moves data between it, the Storage and the Transport.
// Its methods are safe for concurrent use. Every error that they return is an *OpError.
type Node struct {
	config  Config
	replica *replica.Replica // the loop's alone
	origin  time.Time
	report  reporter

	calls   slots // the loop's alone
	queue   queue // likewise
	saving  chan *paxos.Batch
	out     replica.Output
	flushed replica.Output         // of sendWaiting
	ends    int                    // calls that the last turn has ended
	handed  int                    // inputs since the last carryOut
	held    int                    // turns since news wait to leave
	armed   time.Duration          // when the timer is due; 0: it is not set
	timer   *time.Timer            // pokes
	booted  chan struct{}          // closed when the first Save is done
	index   uint64                 // as of the last Output
	spare   inbox                  // slices for the next inbox
	instant bool                   // the Storage saves at once, and needs no goroutine for it
	expects paxos.ExpectingStorage // the Storage, if it is one; else nil
	prompt  paxos.PromptStorage    // the Storage, if it answers some reads at once; else nil
	loads   *readers               // for the Replica
	reading int                    // loads that have not been handed in
	looks   *readers               // for Peek
	peeks   peeks
	streams *readers             // for Decisions
	direct  paxos.DrainTransport // the Transport, if it is one: it needs no goroutine that receives; else nil
	packets []paxos.Packet       // drained from it
	taken   chan struct{}        // the inbox was emptied
	yield   func()               // runtime.Gosched: lets other goroutines go on

	refused  []string // by peer, what was logged last
	limits   []string // likewise, of limits that differ
	changes  uint64   // Replica.Changes then
	noQuorum bool     // the log says that no quorum answers
	hung     bool     // the log says that the storage does not answer

	wake    chan struct{} // there may be something to do
	stopped chan struct{} // closed when the loop has ended; then err and last are set
	done    chan struct{} // closed when all goroutines have ended
	err     error         // written under mu, and before stopped is closed
	hangs   error         // says what had not returned when done was closed; nil: nothing
	last    paxos.Status

	// spares holds *nodeCalls for use again. It is this Node's own: a channel made in a synctest bubble must not leave it.
	spares sync.Pool

	boot  uint64        // which start this is
	mints atomic.Uint64 // names minted

	mu     sync.Mutex // guards what follows; nothing is called and nothing waits under it
	inbox  inbox
	came   []*nodeCall // the end of the queue
	begins int         // of came, those that begin
	closed bool
	watch  chan struct{} // closed when the index rises; nil: nobody watches
	shown  uint64        // subscribers may read up to here
}

// maxInbox bounds the packets and messages that wait for the loop. Beyond it the Node receives no more, and the Transport drops.
const (
	maxInbox      = 1 << 16
	maxInboxBytes = 64 << 20 // of their names and values
)

// An inbox holds what came since the loop looked last.
type inbox struct {
	some     bool        // there is anything below
	asks     []*nodeCall // Peek and Status
	packets  []paxos.Packet
	messages []paxos.Message // of all packets, one after the other
	bytes    int             // of the names and values in messages
	saved    bool
	saveErr  error
	loaded   []paxos.Record // that readers have read
	listed   []listedPage
	readErr  error // the first of a reader
	failed   error // the transport's end
}

// Start starts the server that cfg describes, on a storage that was formatted for it. ctx bounds the start only, which
// ends when the first Save is done. Errors: a field of cfg is wrong, and the error names it; the storage or the transport belongs
// to another server, or the storage to other members; the storage can't be read or written; ctx ended. Start never panics.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	var misfit error
	if t, ok := cfg.Transport.(paxos.SizedTransport); ok {
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

// A startRead is what a start reads from the storage.
type startRead struct {
	state paxos.ServerState
	open  []string // undecided
}

// readStart reads what a start needs, and checks whose it is. A read that hangs is left when ctx ends.
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
	if r.state.ID != cfg.ID && r.state != (paxos.ServerState{}) {
		return r, fmt.Errorf("Config.ID: %d, but the storage belongs to server %d", cfg.ID, r.state.ID)
	}
	if err := r.state.Check(cfg.ID, cfg.Members); err != nil {
		return r, err
	}
	if err := checkLast(cfg.Storage, r.state.Last); err != nil {
		return r, fmt.Errorf("storage: %w", err)
	}
	if r.open, err = undecided(ctx, cfg.Storage, replica.Backlog(cfg.Limits)); err != nil {
		return r, fmt.Errorf("storage: %w", err)
	}
	return r, nil
}

// newNode returns a Node that does not run yet. The fields of cfg are right, and its defaults are filled in.
func newNode(cfg Config, stored startRead) (*Node, error) {
	var random [16]byte
	rand.Read(random[:])
	if cfg.Seed == 0 {
		cfg.Seed = binary.LittleEndian.Uint64(random[8:])
	}
	r, err := replica.New(0, replica.Config{ID: cfg.ID, State: stored.state, Nonce: binary.LittleEndian.Uint64(random[:]), Members: cfg.Members,
		Open: stored.open, Limits: cfg.Limits, Timing: cfg.Timing, Seed: cfg.Seed, Trace: cfg.Trace != nil})
	if err != nil {
		return nil, err
	}
	peers := len(r.Peers(0))
	n := &Node{config: cfg, replica: r, boot: r.Boot(), origin: time.Now(), yield: runtime.Gosched, wake: make(chan struct{}, 1), booted: make(chan struct{}),
		stopped: make(chan struct{}), done: make(chan struct{}), taken: make(chan struct{}, 1), refused: make([]string, peers), limits: make([]string, peers)}
	n.shown = stored.state.Last
	if n.prompt = promptOf(cfg.Storage); n.prompt != nil {
		_, n.instant = n.prompt.(paxos.InstantStorage)
		n.expects, _ = n.prompt.(paxos.ExpectingStorage)
	}
	n.loads = newReaders(math.MaxInt) // one for each instance in memory, and one for each peer
	n.looks, n.streams = newReaders(cfg.Limits.MaxCalls), newReaders(cfg.Limits.MaxCalls)
	n.peeks.byName = map[string]*look{}
	if n.direct, _ = cfg.Transport.(paxos.DrainTransport); n.direct != nil {
		n.direct.Wake(n.wake)
	}
	n.report.init(cfg)
	return n, nil
}

// check returns an error that names the field that is wrong; the defaults are filled in.
func (c Config) check() error {
	switch {
	case c.ID == 0:
		return errors.New("Config.ID: 0 is not a valid ServerID")
	case c.Storage == nil:
		return errors.New("Config.Storage: nil")
	case c.Transport == nil:
		return errors.New("Config.Transport: nil")
	}
	if t, ok := c.Transport.(paxos.IDTransport); ok && t.ID() != c.ID {
		return fmt.Errorf("Config.Transport: it is server %d's, but Config.ID is %d", t.ID(), c.ID)
	}
	if err := c.Members.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if !c.Members.Has(c.ID) {
		return fmt.Errorf("Config.ID: server %d is not in Config.Members", c.ID)
	}
	if err := c.Limits.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	if err := c.Timing.Check(); err != nil {
		return fmt.Errorf("Config.%w", err)
	}
	return nil
}

// undecided lists what the storage holds undecided, at most max names. It ends with ctx.
func undecided(ctx context.Context, s paxos.Storage, max int) (names []string, err error) {
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

// Close stops the server. Calls that wait end with ErrClosed. It returns when all goroutines of the Node have ended, and may be called
// more than once, also while others do. It does not close Storage and Transport.
//
// Close waits for the Save and the reads that run, for Logger and Trace, and for the Transport's Receive, but not for ever. If one of
// them has not returned after 2 s, Close returns an error that says which. Nothing comes of it any more, and the user's code is not
// called again, but what it is about is in use until it returns.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	signal(n.wake)
	<-n.done
	return n.hangs
}

// Done returns a channel that is closed when the server has stopped, by Close or by itself.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns why the server stopped by itself: its storage failed, its transport ended, or its identity was refused. It
// is nil while the server runs, and after Close.
func (n *Node) Err() error {
	select {
	case <-n.stopped:
		return n.err
	default:
		return nil
	}
}

// ctxError is why ctx ended: for errors.Is, both what the context says and the cause it was given.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
