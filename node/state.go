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

// A nodeCall is a caller who waits.
type nodeCall struct {
	op       string // one of those below
	instance string
	value    paxos.Value
	id       replica.CallID
	known    bool // of Peek
	status   paxos.Status
	late     bool              // it was cancelled: the loop may still hold it
	done     chan replica.Done // holds one
}

// slots gives each call that runs an ID that names its place, so that no map is needed to find it again.
type slots struct {
	calls []*nodeCall
	free  []uint32
	made  uint64
}

const slotBits = 25 // above the most that Limits.MaxCalls can be

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

// end hands d to its caller.
func (s *slots) end(d replica.Done) {
	slot := uint32(d.ID & (1<<slotBits - 1))
	c := s.calls[slot]
	s.calls[slot] = nil
	s.free = append(s.free, slot)
	c.done <- d
}

// A queue holds calls that begin, in the order in which they came. A call that stands in it again is cancelled.
type queue struct {
	calls []*nodeCall // what comes later stands in Node.came
	next  int         // those before have been handed in
}

// waits reports whether a turn has left something of the queue.
func (q *queue) waits() bool { return q.next < len(q.calls) }

// A listedPage answers a ListAsk.
type listedPage struct {
	ask   replica.ListAsk
	names []paxos.Named
}

// A look is one Load of a name, for all calls of Peek that came before it began.
type look struct {
	done chan struct{} // closed when what follows is set
	rec  paxos.Record
	err  error
}

// peeks are the names that calls of Peek look up. One Load of a name runs at a time: calls that come again and again take one reader at
// most while it hangs. A call that comes while one runs waits for the next one, as that which runs may have missed the latest Save.
type peeks struct {
	mu     sync.Mutex
	byName map[string]*look // the next one to begin of each name; nil: one runs, and nobody waits for another
}

func (n *Node) now() time.Duration { return time.Since(n.origin) }

// put copies p into the inbox; false: it is full.
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

// closedBy is ErrClosed and why the Node stopped, if it did by itself; nil: it did not.
func closedBy(own error) error {
	if own == nil {
		return paxos.ErrClosed
	}
	return fmt.Errorf("%w: %w", paxos.ErrClosed, own)
}

// ended returns why a subscriber has to end, before it touches the storage: after Close that may be gone.
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

// await waits for done. It returns an error if ctx ends before, or the Node stops.
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

// sendWaiting sends what no Output has held yet.
func (n *Node) sendWaiting() {
	n.flushed.Send = n.flushed.Send[:0]
	n.replica.Flush(&n.flushed)
	for _, p := range n.flushed.Send {
		n.config.Transport.Send(p)
	}
}
