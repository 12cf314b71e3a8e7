package tcp

import (
	"slices"
	"sync"

	"github.com/singledecree/paxos"
)

// A queue holds what waits for one peer, as frames that are ready to be written but for what seal does. Long frames have a lane of their
// own, out of which one goes at a time, after all short ones: so a short one never waits for more than one long frame.
//
// The short ones lie one after the other, in two buffers: one that Sends fill, one that is being written; so that in the steady state
// nothing is allocated.
type queue struct {
	maxBytes, maxPackets int

	mu        sync.Mutex // held while one packet is encoded; nothing waits under it
	away      bool       // the peer is not connected
	buf       []byte     // short frames from head on; what is before head was dropped
	head      int
	packets   int      // in buf
	long      [][]byte // long frames, the oldest first
	longBytes int
	largest   int // the largest body that the peer takes
	small     int // how many times in a row a long buffer was little used
	counts    queueCounts
}

// longPacket is from how many bytes of names and values on a packet takes the lane of the long ones.
const longPacket = 64 << 10

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
	long := bytes >= longPacket
	if !q.encode(p, bytes, long) {
		q.counts.tooLarge++
		return false
	}
	most := q.maxBytes
	if q.away {
		most = min(most, awayBytes)
	}
	for n := q.packets + len(q.long); n > 1 && (n > q.maxPackets || q.shortBytes()+q.longBytes > most); n-- {
		q.dropOldest(long)
	}
	return true
}

// encode puts p into its lane; false: it is too large.
func (q *queue) encode(p *paxos.Packet, bytes int, long bool) bool {
	if long {
		f := appendPacket(make([]byte, 0, headerSize+bytes+bytes/16+1<<10), p)
		if len(f)-headerSize > q.largest {
			return false
		}
		q.long = append(q.long, f)
		q.longBytes += len(f)
		return true
	}
	if q.head > 0 && q.head >= q.shortBytes() {
		q.buf, q.head = q.buf[:copy(q.buf, q.buf[q.head:])], 0
	}
	start := len(q.buf)
	q.buf = appendPacket(q.buf, p)
	if len(q.buf)-start-headerSize > q.largest {
		q.buf = q.buf[:start]
		return false
	}
	q.packets++
	return true
}

func (q *queue) shortBytes() int { return len(q.buf) - q.head }

// dropOldest drops the oldest of the lane that holds more bytes, but not the newest of all, which is long or not.
func (q *queue) dropOldest(newestLong bool) {
	q.counts.oldest++
	fromLong := q.longBytes > q.shortBytes()
	if newestLong && len(q.long) == 1 || !newestLong && q.packets == 1 {
		fromLong = !newestLong
	}
	if fromLong {
		q.popLong()
		return
	}
	q.head += frameSize(q.buf[q.head:])
	q.packets--
}

// popLong takes the oldest long frame, of which there is one at least.
func (q *queue) popLong() []byte {
	f := q.long[0]
	q.long[0] = nil
	if q.long = q.long[1:]; len(q.long) == 0 {
		q.long = nil
	}
	q.longBytes -= len(f)
	return f
}

// takeLong takes the oldest long frame; nil: there is none.
func (q *queue) takeLong() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.long) == 0 {
		return nil
	}
	return q.popLong()
}

// take returns all short frames, as buf[head:], and takes done, the buffer that it returned before, to be filled again. If they are more
// than most bytes, it returns nothing. more: something still waits.
func (q *queue) take(done []byte, most int) (buf []byte, head int, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shortBytes() > most {
		return done[:0], 0, true
	}
	if cap(done) > maxIdleBuffer {
		if q.small++; q.shortBytes() >= cap(done)/16 {
			q.small = 0
		}
		if q.small == 64 { // a burst is over
			done, q.small = nil, 0
		}
	}
	buf, head = q.buf, q.head
	q.buf, q.head, q.packets = done[:0], 0, 0
	return buf, head, len(q.long) > 0
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
	q.long = slices.DeleteFunc(q.long, func(f []byte) bool {
		tooLarge := len(f)-headerSize > largest
		if tooLarge {
			q.longBytes -= len(f)
			q.counts.tooLarge++
		}
		return tooLarge
	})
}

// count adds to the counts, and returns them with what waits.
func (q *queue) count(add queueCounts) (counts queueCounts, packets int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.unreachable += add.unreachable
	q.counts.lost += add.lost
	return q.counts, q.packets + len(q.long)
}
