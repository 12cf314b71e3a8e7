package memory

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/singledecree/paxos"
)

// Bounds of a receiver's queue in a Network. All instances that two peers may have open at once find room in it: see
// Limits.MaxOpen.
const (
	memoryQueueMessages = 1 << 18
	memoryQueueBytes    = 64 << 20
	memoryMessageBytes  = 88 // of a Message, without its name and value
)

// A Network joins servers in one process, for tests, examples and services that are one process. It delivers every packet
// once, at once, in the order of the Sends, and invents no faults.
//
// It loses a packet in two cases:
//
//   - No server has joined as its receiver.
//   - The receiver's queue is not empty, and would hold more than 256 Ki messages or 64 MiB with this packet. Names and
//     values count, and 88 bytes for each message. A receiver may hold as much again that it took out of its queue.
//
// A Network is safe for concurrent use, starts no goroutines and needs no Close.
type Network struct {
	mu        sync.Mutex // one Join at a time
	endpoints atomic.Pointer[map[paxos.ServerID]*memoryEndpoint]
}

// NewNetwork returns a network that no server has joined.
func NewNetwork() *Network {
	n := &Network{}
	n.endpoints.Store(&map[paxos.ServerID]*memoryEndpoint{})
	return n
}

// Join returns the Transport of server id. It sends as that server, whatever a packet says. Send is safe for concurrent use;
// Receive is for one goroutine at a time. Join panics if id is zero.
//
// A server that restarts joins again. Its new Transport receives all packets sent from then on. The packets in the queue of
// the old Transport are lost, and its Receive returns an error that says so. A packet that the old Transport still sends is
// delivered, as a late packet is on a real network.
func (n *Network) Join(id paxos.ServerID) paxos.Transport {
	if id == 0 {
		panic("paxos: memory.Network.Join: server 0 is not a valid ServerID")
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

// A memoryEndpoint is one server's Transport in a Network.
//
// Messages are copied into runs. A run is a long slice, and each packet in the queue holds a part of one. A drained run is
// used again after the next drain, so a queue in its steady state allocates nothing.
type memoryEndpoint struct {
	network *Network
	id      paxos.ServerID
	wake    chan struct{} // holds a signal while the queue may hold a packet; Receive takes the signal, and must drain
	gone    chan struct{} // closed when the server has joined again: this endpoint receives nothing any more

	mu       sync.Mutex // guards the fields below, to the blank line; no holder of it waits, or wakes another
	closed   bool
	notify   chan<- struct{} // see Wake; it is wake until Wake is called
	queue    []paxos.Packet
	run      []paxos.Message // messages of packets in the queue, and room for more
	messages int             // in the queue; a packet without any counts as one
	bytes    int             // in the queue

	lent    []paxos.Message // run of the packets handed out by the last drain
	small   int             // how many times in a row a long run came back little used
	pending []paxos.Packet  // drained by Receive; those from next on are not yet returned
	next    int
}

// ID returns the server that joined.
func (e *memoryEndpoint) ID() paxos.ServerID { return e.id }

// Send queues p at the server p.To, or drops it: see [paxos.Transport].
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

// push queues a copy of p, and returns the channel to signal then. It returns nil if it drops p.
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

// Wake sets the channel that is signalled when packets come: see [paxos.DrainTransport].
func (e *memoryEndpoint) Wake(c chan<- struct{}) {
	e.mu.Lock()
	e.notify = c
	e.mu.Unlock()
	signal(c)
}

// Drain appends all queued packets to into, without waiting: see [paxos.DrainTransport].
func (e *memoryEndpoint) Drain(into []paxos.Packet) ([]paxos.Packet, error) {
	into = e.drain(into)
	select {
	case <-e.gone:
		return into, e.replaced()
	default:
		return into, nil
	}
}

// replaced is the error of an endpoint whose server has joined again.
func (e *memoryEndpoint) replaced() error {
	return fmt.Errorf("paxos: memory network: server %d has joined again: this transport is replaced", e.id)
}

// drain appends all queued packets to into, without waiting. The caller owns them and their Messages until the next drain.
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

// Receive waits for a packet. When ctx has ended, it returns the error of ctx, even if packets wait. When the server has
// joined again, it returns an error that says so. See [paxos.Transport].
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

// close ends the endpoint. It queues no more packets, and the queued ones are dropped.
func (e *memoryEndpoint) close() {
	e.mu.Lock()
	e.closed, e.queue, e.run, e.messages, e.bytes = true, nil, nil, 0, 0
	wake := e.notify
	e.mu.Unlock()
	close(e.gone)
	signal(wake)
}

// signal leaves a signal in c, which has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}
