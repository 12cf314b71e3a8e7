package tcp

import (
	"context"
	"sync"

	"github.com/singledecree/paxos"
)

// A batch is whole frames, intact, one of them a packet at least, in the buffer that they were read into.
type batch struct {
	from       *inbound
	buf        []byte
	start, end int
}

// An inbox holds what was read, until Receive comes for it: one batch of each connection at most.
type inbox struct {
	wake  chan struct{}
	ended chan struct{} // closed when nothing will come any more

	mu    sync.Mutex
	queue []batch
	err   error
}

func (b *inbox) init() {
	b.wake, b.ended = make(chan struct{}, 1), make(chan struct{})
}

// put adds a batch. first: it is the first of its connection, and what earlier ones of its peer have left goes, or else a
// peer that connects again and again could fill the memory while nobody calls Receive.
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

// take returns all batches, and takes done, the slice that it returned before, to be filled again.
func (b *inbox) take(done []batch) []batch {
	clear(done)
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.queue
	b.queue = done[:0]
	return all
}

// end has Receive return err, unless it was ended before.
func (b *inbox) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		close(b.ended)
	}
}

// A receipt is what Receive works on. It is the goroutine's that calls Receive.
type receipt struct {
	decoder paxos.Decoder
	packet  paxos.Packet // as returned last: its Messages go back to the decoder
	batches []batch      // taken from the inbox
	next    int          // the first of them that is not done with
}

// Receive waits for a packet. It returns the error of ctx when ctx has ended, even if packets wait, and one that wraps
// paxos.ErrClosed when the Transport is closed. See paxos.Transport.
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

// read decodes the next packet into r.packet; false: there is none.
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

// decode reads a packet, which has to be from who was let in, and for this server.
func (r *receipt) decode(body []byte, from *inbound, c *counters) *refusal {
	if err := r.decoder.Packet(body, &r.packet); err != nil {
		c.badFrames.Add(1)
		return refuse(ReasonMalformed, "server %d sent what is no packet: %v", from.from, err)
	}
	if own := from.transport.config.ID; r.packet.From != from.from || r.packet.To != own {
		c.refuse(ReasonSpoofed)
		return refuse(ReasonSpoofed, "server %d sent a packet from server %d to server %d, this is server %d",
			from.from, r.packet.From, r.packet.To, own)
	}
	return nil
}
