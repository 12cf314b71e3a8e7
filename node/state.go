package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// A Node is one running server. It is a [replica.Replica] with goroutines that move data between it, the [paxos.Storage]
// and the [paxos.Transport]. The methods of a Node are safe for concurrent use. Every error of a call, from
// [Node.Propose] to [Node.Decisions], is a [*paxos.OpError].
type Node struct {
	config  Config
	replica *replica.Replica // only the loop uses it
	origin  time.Time
	report  reporter
	watcher watcher
	ring    ring

	calls   slots // only the loop uses it
	queue   queue // likewise
	saving  chan *paxos.Batch
	out     replica.Output
	flushed replica.Output         // of sendWaiting
	ends    int                    // calls that the last turn has ended without an error
	handed  int                    // inputs since the last carryOut
	held    int                    // turns for which notices have waited to leave
	armed   time.Duration          // when the timer is due; 0: it is not set
	timer   *time.Timer            // wakes the loop
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
	direct  paxos.DrainTransport // the Transport, if it is one, and so needs no goroutine that receives; else nil
	packets []paxos.Packet       // drained from it
	taken   chan struct{}        // the inbox was emptied
	yield   func()               // runtime.Gosched: lets other goroutines go on

	told     map[paxos.ServerID]told   // of each peer, what the log says
	shows    view                      // the configuration that the log has
	reached  map[paxos.ServerID]uint64 // of each other server, the last configuration with it
	changes  uint64                    // the last Replica.Changes that was reported
	noQuorum bool                      // the log says that no quorum answers
	hung     bool                      // the log says that the storage does not answer

	wake    chan struct{} // there may be something to do
	stopped chan struct{} // closed when the loop has ended; then err and last are set
	done    chan struct{} // closed when all goroutines have ended
	err     error         // written under mu, and before stopped is closed
	hangs   error         // names the calls that had not returned when done was closed; nil: none
	last    paxos.Status

	lastMetrics paxos.Metrics
	lastView    view

	// spares holds *nodeCalls for use again. Each Node has its own, because a channel made in a synctest bubble must not leave it.
	spares sync.Pool

	boot  uint64        // the number of this start
	mints atomic.Uint64 // names minted

	mu     sync.Mutex // guards the fields below; a holder calls no user's code and does not wait
	inbox  inbox
	came   []*nodeCall // the end of the queue
	begins int         // calls in came that begin; the others are cancelled
	closed bool
	watch  chan struct{} // closed when shown rises; nil: nobody watches
	shown  uint64        // subscribers may read up to here
}

// maxInbox bounds the packets and messages that wait for the loop. At the bound the Node stops receiving, and the
// Transport drops packets.
const (
	maxInbox      = 1 << 16
	maxInboxBytes = 64 << 20 // of their names and values
)

// An inbox holds the inputs that came since the loop last looked.
type inbox struct {
	some     bool        // the inbox is not empty
	asks     []*nodeCall // Peek, Status, Metrics and Configuration
	packets  []paxos.Packet
	messages []paxos.Message // of all packets, one after the other
	bytes    int             // of the names and values in messages
	saved    bool
	saveErr  error
	loaded   []paxos.Record // that readers have read
	listed   []listedPage
	readErr  error // the first error of a reader
	failed   error // the error with which the transport ended
}

// told has the last lines about a peer.
type told struct{ refused, limits string }

// A view is the result of Configuration.
type view struct {
	configuration paxos.Configuration
	settled       bool
}

// A nodeCall is a call of a Node while its caller waits.
type nodeCall struct {
	op       string // callPropose, callWait and so on
	instance string
	value    paxos.Value
	names    paxos.NameRange // of a Forget
	id       replica.CallID
	known    bool            // the Replica has answered a Peek
	members  paxos.Members   // of a Change
	ctx      context.Context // for Trace; nil: there is none
	status   paxos.Status
	metrics  *paxos.Metrics // for the result of Metrics
	view     view
	late     bool              // its context ended first: the loop may still hold the nodeCall
	done     chan replica.Done // has room for one
}

// slots gives an ID to each call that runs. The ID contains the place of the call, so no map is needed to find it.
type slots struct {
	calls []*nodeCall
	free  []uint32
	made  uint64
}

const slotBits = 25 // enough for the highest Limits.MaxCalls

func (s *slots) add(c *nodeCall) {
	var slot uint32
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
	} else {
		slot = uint32(len(s.calls))
		s.calls = append(s.calls, nil)
	}
	s.made++
	s.calls[slot], c.id = c, replica.CallID(s.made<<slotBits|uint64(slot))
}

// has reports whether c still runs.
func (s *slots) has(c *nodeCall) bool {
	return c.id != 0 && s.calls[c.id&(1<<slotBits-1)] == c
}

// context returns the context for the Trace of an event of that call.
func (s *slots) context(id uint64) context.Context {
	if id != 0 {
		if c := s.calls[id&(1<<slotBits-1)]; c != nil && c.ctx != nil {
			return c.ctx
		}
	}
	return context.Background()
}

// end gives d to the caller of the call d.ID.
func (s *slots) end(d replica.Done) {
	slot := uint32(d.ID & (1<<slotBits - 1))
	c := s.calls[slot]
	s.calls[slot] = nil
	s.free = append(s.free, slot)
	c.done <- d
}

// A queue holds calls in the order in which they came. The first time that a call stands in it, the call begins. The
// second time, it is cancelled.
type queue struct {
	calls []*nodeCall // later calls stand in Node.came
	next  int         // the calls before it were given to the Replica
}

// waits reports whether the queue still has calls.
func (q *queue) waits() bool { return q.next < len(q.calls) }

// A listedPage answers a ListAsk.
type listedPage struct {
	ask  replica.ListAsk
	page replica.Page
}

// A look is one Load of a name. It serves all calls of Peek that came before it began.
type look struct {
	done chan struct{} // closed when rec and err are set
	rec  paxos.Record
	err  error
}

// peeks holds the names that calls of Peek look up. One Load of a name runs at a time. So many calls for one name occupy
// one reader at most, also if its Load hangs. A call that comes while a Load runs waits for the next one, because the
// running one may miss the latest Save.
type peeks struct {
	mu     sync.Mutex
	byName map[string]*look // the next look of each name; nil: one runs, and no call waits for another
}

func (n *Node) now() time.Duration { return time.Since(n.origin) }

// put copies p into the inbox. It returns false if the inbox is full.
func (n *Node) put(p paxos.Packet) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	in := &n.inbox
	if len(in.packets) > 0 && (len(in.packets)+len(in.messages)+len(p.Messages) > maxInbox || in.bytes > maxInboxBytes) {
		return false
	}
	for i := range p.Messages {
		in.bytes += len(p.Messages[i].Instance) + len(p.Messages[i].Value)
	}
	from := len(in.messages)
	in.messages = append(in.messages, p.Messages...)
	p.Messages = in.messages[from:len(in.messages):len(in.messages)]
	in.packets = append(in.packets, p)
	in.some = true
	return true
}

// closedBy returns ErrClosed. If the Node stopped by itself, own is the reason, and the error wraps it too.
func closedBy(own error) error {
	if own == nil {
		return paxos.ErrClosed
	}
	return fmt.Errorf("%w: %w", paxos.ErrClosed, own)
}

// ended returns an error if a subscriber has to end, and else nil. A subscriber calls it before it uses the storage,
// because the storage may be closed after Close.
func (n *Node) ended(ctx context.Context) error {
	select {
	case <-n.stopped:
		return closedBy(n.err)
	case <-ctx.Done():
		return ctxError(ctx)
	default:
		return nil
	}
}

// await waits for done. It returns an error if ctx ends first, or the Node stops.
func (n *Node) await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctxError(ctx)
	case <-n.stopped:
		return closedBy(n.err)
	}
}

// sendWaiting sends the packets that no Output has held yet.
func (n *Node) sendWaiting() {
	n.flushed.Send = n.flushed.Send[:0]
	n.replica.Flush(&n.flushed)
	for _, p := range n.flushed.Send {
		n.config.Transport.Send(p)
	}
}
