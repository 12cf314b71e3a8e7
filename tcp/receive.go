package tcp

import (
	"context"
	"sync"

	"github.com/singledecree/paxos"
)

// A batch is whole and intact frames, at least one of them a packet, in the buffer that they were read into.
type batch struct {
	from       *inbound
	buf        []byte
	start, end int
}

// An inbox holds frames that were read, until Receive takes them: at most one batch of each connection.
type inbox struct {
	wake  chan struct{}
	ended chan struct{} // closed when no more batches will come

	mu    sync.Mutex
	queue []batch
	err   error
}

func (b *inbox) init() {
	b.wake, b.ended = make(chan struct{}, 1), make(chan struct{})
}

// put adds a batch. first says that it is the first of its connection: then put drops the batches of earlier connections of the peer.
// Otherwise a peer that connects again and again could fill the memory while nobody calls Receive.
func (b *inbox) put(one batch, first bool) {
	b.mu.Lock()
	if first {
		kept := b.queue[:0]
		for _, other := range b.queue {
			if other.from.from != one.from.from {
				kept = append(kept, other)
			}
		}
		clear(b.queue[len(kept):])
		b.queue = kept
	}
	b.queue = append(b.queue, one)
	b.mu.Unlock()
	signal(b.wake)
}

// take returns all batches. done is the slice that it returned before: it will be filled again.
func (b *inbox) take(done []batch) []batch {
	clear(done)
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.queue
	b.queue = done[:0]
	return all
}

// end makes Receive return err, unless it was ended before.
func (b *inbox) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		close(b.ended)
	}
}

// A receipt is the state of Receive. It belongs to the goroutine that calls Receive.
type receipt struct {
	decoder paxos.Decoder
	packet  paxos.Packet // returned last; its Messages go back to the decoder
	batches []batch      // taken from the inbox
	next    int          // the first batch that is not finished
}

// Receive waits for a packet. When ctx has ended, it returns the error of ctx, even if packets wait. When the Transport is closed, the
// error wraps [paxos.ErrClosed]. See [paxos.Transport].
func (t *Transport) Receive(ctx context.Context) (paxos.Packet, error) {
	for {
		if err := ctx.Err(); err != nil {
			return paxos.Packet{}, err
		}
		select {
		case <-t.inbox.ended:
			return paxos.Packet{}, t.inbox.err
		default:
		}
		if t.receipt.read(&t.counters) {
			return t.receipt.packet, nil
		}
		t.receipt.batches, t.receipt.next = t.inbox.take(t.receipt.batches), 0
		if len(t.receipt.batches) > 0 {
			continue
		}
		select {
		case <-t.inbox.wake:
		case <-t.inbox.ended:
		case <-ctx.Done():
		}
	}
}

// read decodes the next packet into r.packet. It returns false if there is none.
func (r *receipt) read(c *counters) bool {
	for ; r.next < len(r.batches); r.next++ {
		b := &r.batches[r.next]
		if b.from.reader.condemned.Load() != nil {
			b.start = b.end
		}
		for b.start < b.end {
			size := frameSize(b.buf[b.start:])
			f := b.buf[b.start : b.start+size]
			b.start += size
			if kind(f[5]) != kindPacket {
				continue
			}
			if why := r.decode(f[headerSize:], b.from, c); why != nil {
				b.from.reader.condemn(why)
				b.start = b.end
				break
			}
			c.received.Add(1)
			return true
		}
		b.from.free <- b.buf // there is room: a connection has two buffers
		b.buf = nil
	}
	return false
}

// decode reads a packet. It must be from the peer of the connection, and for this server.
func (r *receipt) decode(body []byte, from *inbound, c *counters) *refusal {
	if err := r.decoder.Packet(body, &r.packet); err != nil {
		c.badFrames.Add(1)
		return refuse(ReasonMalformed, "server %d sent a malformed packet: %v", from.from, err)
	}
	if own := from.transport.config.ID; r.packet.From != from.from || r.packet.To != own {
		c.refuse(ReasonSpoofed)
		return refuse(ReasonSpoofed, "server %d sent a packet from server %d to server %d, this is server %d",
			from.from, r.packet.From, r.packet.To, own)
	}
	return nil
}
