package memory

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/singledecree/paxos"
)

// What a receiver's queue in a MemoryNetwork holds at most. All instances that two peers may have open at once (see
// Limits.MaxOpen) find room.
const (
	memoryQueueMessages = 1 << 18
	memoryQueueBytes    = 64 << 20
	memoryMessageBytes  = 88 // of a Message, without its name and value
)

// A MemoryNetwork joins servers in one process, for tests, examples and services that are one process. It delivers every
// packet once, at once, in the order of the Sends, and invents no faults. It does lose a packet in two cases: if no server
// has joined as its receiver; and, so that nothing grows without bound, if the receiver's queue is not empty and would
// then hold more than 256 Ki messages, or more than 64 MiB of them (names, values, and 88 bytes for each). A receiver may
// have taken as much again out of its queue.
//
// It is safe for concurrent use, starts no goroutines and needs no Close.
type Network struct {
	mu        sync.Mutex // one Join at a time
	endpoints atomic.Pointer[map[paxos.ServerID]*memoryEndpoint]
}

// NewMemoryNetwork returns a network that nobody has joined.
func NewNetwork() *Network {
	n := &Network{}
	n.endpoints.Store(&map[paxos.ServerID]*memoryEndpoint{})
	return n
}

// Join returns the Transport of server id. It sends as that server, whatever a packet says. Send is safe for concurrent
// use; Receive is for one goroutine at a time. Join panics if id is zero.
//
// To join again is to restart the server: the new Transport receives what is sent from now on. What waits in the
// queue of the old one is lost, and its Receive returns an error that says so; what the old one still sends is
// delivered, as a late packet is.
func (n *Network) Join(id paxos.ServerID) paxos.Transport {
	if id == 0 {
		panic("paxos: MemoryNetwork.Join: server 0 is not a valid ServerID")
	}
	e := &memoryEndpoint{network: n, id: id, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	e.notify = e.wake
	n.mu.Lock()
	defer n.mu.Unlock()
	joined := maps.Clone(*n.endpoints.Load())
	old := joined[id]
	joined[id] = e
	n.endpoints.Store(&joined)
	if old != nil {
		old.close()
	}
	return e
}

// A memoryEndpoint is one server's Transport in a MemoryNetwork.
//
// Messages are copied into runs: long slices, of which the packets in the queue hold parts. A run that was handed out
// comes back at the next drain, so that a queue in its steady state allocates nothing.
type memoryEndpoint struct {
	network *Network
	id      paxos.ServerID
	wake    chan struct{} // holds a signal while there may be something in the queue: Receive, which takes it, must drain
	gone    chan struct{} // closed when the server has joined again: this endpoint receives nothing any more

	mu       sync.Mutex // guards what is below, to the blank line; nothing is waited for, nor woken, under it
	closed   bool
	notify   chan<- struct{} // see Wake; wake, if nobody called that
	queue    []paxos.Packet
	run      []paxos.Message // messages of packets in the queue, and room for more
	messages int             // in the queue; a packet without any counts as one
	bytes    int             // in the queue

	lent    []paxos.Message // run of the packets handed out by the last drain
	small   int             // how many times in a row a long run came back little used
	pending []paxos.Packet  // drained by Receive, and not yet returned from next on
	next    int
}

// ID returns the server that joined.
func (e *memoryEndpoint) ID() paxos.ServerID { return e.id }

// Send queues p at the server p.To, or drops it. See Transport.
func (e *memoryEndpoint) Send(p paxos.Packet) {
	to := (*e.network.endpoints.Load())[p.To]
	if to == nil {
		return
	}
	p.From = e.id
	if wake := to.push(p); wake != nil {
		signal(wake)
	}
}

// push queues a copy of p, and returns whom to wake then; nil: it did not.
func (e *memoryEndpoint) push(p paxos.Packet) chan<- struct{} {
	messages, bytes := max(1, len(p.Messages)), 0
	for i := range p.Messages {
		bytes += memoryMessageBytes + len(p.Messages[i].Instance) + len(p.Messages[i].Value)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	full := e.messages+messages > memoryQueueMessages || e.bytes+bytes > memoryQueueBytes
	if e.closed || full && len(e.queue) > 0 {
		return nil
	}
	e.messages += messages
	e.bytes += bytes
	begin := len(e.run)
	if begin+len(p.Messages) > cap(e.run) {
		// The packets in the queue keep the old run for as long as they need it.
		e.run = make([]paxos.Message, 0, max(len(p.Messages), 2*cap(e.run), 16))
		begin = 0
	}
	e.run = append(e.run, p.Messages...)
	p.Messages = e.run[begin:len(e.run):len(e.run)]
	e.queue = append(e.queue, p)
	return e.notify
}

// Wake has c be told of what comes: see DrainTransport.
func (e *memoryEndpoint) Wake(c chan<- struct{}) {
	e.mu.Lock()
	e.notify = c
	e.mu.Unlock()
	signal(c)
}

// Drain appends all queued packets to into, without waiting: see DrainTransport.
func (e *memoryEndpoint) Drain(into []paxos.Packet) ([]paxos.Packet, error) {
	into = e.drain(into)
	select {
	case <-e.gone:
		return into, e.replaced()
	default:
		return into, nil
	}
}

// replaced is the error of an endpoint in whose place another one is.
func (e *memoryEndpoint) replaced() error {
	return fmt.Errorf("paxos: memory network: server %d has joined again: this transport is replaced", e.id)
}

// drain appends all queued packets to into, without waiting. They and their Messages are the caller's until the next drain.
func (e *memoryEndpoint) drain(into []paxos.Packet) []paxos.Packet {
	run := e.lent
	clear(run) // it must not keep values alive
	trim := false
	if cap(run) > 1024 {
		if e.small++; len(run) >= cap(run)/16 {
			e.small = 0
		}
		trim = e.small == 64 // a burst is over
	}
	if trim {
		run, e.small = nil, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	into = append(into, e.queue...)
	clear(e.queue)
	e.queue = e.queue[:0]
	if trim {
		e.queue = nil
	}
	e.lent, e.run = e.run, run[:0]
	e.messages, e.bytes = 0, 0
	return into
}

// Receive waits for a packet. It returns the error of ctx when ctx has ended, even if packets wait, and an error that
// says so when the server has joined again. See Transport.
func (e *memoryEndpoint) Receive(ctx context.Context) (paxos.Packet, error) {
	for {
		if err := ctx.Err(); err != nil {
			return paxos.Packet{}, err
		}
		select {
		case <-e.gone:
			return paxos.Packet{}, e.replaced()
		default:
		}
		if e.next < len(e.pending) {
			e.next++
			return e.pending[e.next-1], nil
		}
		clear(e.pending)
		e.pending, e.next = e.drain(e.pending[:0]), 0
		if len(e.pending) > 0 {
			continue
		}
		select {
		case <-e.wake:
		case <-e.gone:
		case <-ctx.Done():
		}
	}
}

// close ends the endpoint: it takes nothing more, and what it has queued goes.
func (e *memoryEndpoint) close() {
	e.mu.Lock()
	e.closed, e.queue, e.run, e.messages, e.bytes = true, nil, nil, 0, 0
	wake := e.notify
	e.mu.Unlock()
	close(e.gone)
	signal(wake)
}

// signal leaves one signal in c, which holds one at most.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}
