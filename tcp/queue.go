package tcp

import (
	"sync"

	"github.com/singledecree/paxos"
)

// A queue holds what waits for one peer, as frames one after the other, ready to be written but for what seal does. It has
// two buffers: one that Sends fill, one that is being written; so that in the steady state nothing is allocated.
type queue struct {
	maxBytes, maxPackets int

	mu      sync.Mutex // held while one packet is encoded; nothing waits under it
	away    bool       // the peer is not connected
	buf     []byte     // whole frames from head on; what is before head was dropped
	head    int
	packets int
	largest int // the largest body that the peer takes
	small   int // how many times in a row a long buffer was little used
	counts  queueCounts
}

// queueCounts is what became of packets that did not leave.
type queueCounts struct{ oldest, tooLarge, unreachable, lost uint64 }

// maxIdleBuffer is what a buffer that is little used may keep.
const maxIdleBuffer = 256 << 10

// awayBytes is the most that waits for a peer that is not connected. When it is again, little of what is old helps it; and a queue
// that fills for minutes costs whoever Sends the time to make it grow.
const awayBytes = 1 << 20

// push encodes p behind all that waits. If that is more than the queue may hold, the oldest goes. It reports whether there
// is something new to write.
func (q *queue) push(p *paxos.Packet) bool {
	// Names and values are nearly all there is; what is too large by them alone need not be encoded to be found out.
	bytes := 0
	for i := range p.Messages {
		bytes += len(p.Messages[i].Instance) + len(p.Messages[i].Value)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if bytes > q.largest {
		q.counts.tooLarge++
		return false
	}
	if q.head > 0 && q.head >= len(q.buf)-q.head {
		q.buf, q.head = q.buf[:copy(q.buf, q.buf[q.head:])], 0
	}
	start := len(q.buf)
	q.buf = appendPacket(q.buf, p)
	if len(q.buf)-start-headerSize > q.largest {
		q.buf = q.buf[:start]
		q.counts.tooLarge++
		return false
	}
	q.packets++
	most := q.maxBytes
	if q.away {
		most = min(most, awayBytes)
	}
	for q.packets > 1 && (q.packets > q.maxPackets || len(q.buf)-q.head > most) {
		q.head += frameSize(q.buf[q.head:])
		q.packets--
		q.counts.oldest++
	}
	return true
}

// take returns all that waits, as buf[head:], and takes done, the buffer that it returned before, to be filled again.
func (q *queue) take(done []byte) (buf []byte, head int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if cap(done) > maxIdleBuffer {
		if q.small++; len(q.buf)-q.head >= cap(done)/16 {
			q.small = 0
		}
		if q.small == 64 { // a burst is over
			done, q.small = nil, 0
		}
	}
	buf, head = q.buf, q.head
	q.buf, q.head, q.packets = done[:0], 0, 0
	return buf, head
}

// leave notes that the peer is not connected any more.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away = true
}

// accept notes that the peer is connected, sets the largest body that it takes, and drops what waits and is larger.
func (q *queue) accept(largest int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away, q.largest = false, largest
	kept := q.buf[:0]
	for rest := q.buf[q.head:]; len(rest) > 0; {
		size := frameSize(rest)
		if size-headerSize <= largest {
			kept = append(kept, rest[:size]...)
		} else {
			q.packets--
			q.counts.tooLarge++
		}
		rest = rest[size:]
	}
	q.buf, q.head = kept, 0
}

// count adds to the counts, and returns them with what waits.
func (q *queue) count(add queueCounts) (counts queueCounts, packets int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.unreachable += add.unreachable
	q.counts.lost += add.lost
	return q.counts, q.packets
}
