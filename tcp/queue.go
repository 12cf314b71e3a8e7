package tcp

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/singledecree/paxos"
)

// A queue holds frames that wait for one peer. They are ready to be written, but for the fields that seal sets. Long frames have a lane
// of their own. One of them leaves at a time, after all short ones: so a short frame waits for at most one long frame.
//
// The short frames lie one after the other, in two buffers: Sends fill one while the other is being written. So in the steady state
// nothing is allocated.
type queue struct {
	maxBytes, maxPackets int
	drops                *drops // shared by the queues of a Transport

	mu        sync.Mutex // held while one packet is encoded; nothing waits under it
	away      bool       // the peer is not connected
	closed    bool       // the peer is no member any more
	buf       []byte     // short frames, from head on; those before head were dropped
	head      int
	packets   int      // in buf
	long      [][]byte // long frames, the oldest first
	longBytes int
	largest   int // the largest body that the peer takes
	small     int // how many times in a row a long buffer was little used
}

// longPacket is the size of names and values from which a packet takes the lane of the long ones, in bytes.
const longPacket = 64 << 10

// drops counts packets that did not leave, by reason.
type drops struct{ oldest, tooLarge, unknown, unreachable, lost atomic.Uint64 }

// maxIdleBuffer is how large a buffer that is little used may stay.
const maxIdleBuffer = 256 << 10

// awayBytes is how much may wait for a peer that is not connected. Old packets are of little use to it when it connects again. And a
// queue that fills for minutes would cost callers of Send the time to make it grow.
const awayBytes = 1 << 20

// push encodes p behind all other packets. If the queue then holds too much, it drops the oldest. It reports whether there is something
// new to write.
func (q *queue) push(p *paxos.Packet) bool {
	// A packet is nearly all names and values. If these alone are too large, p need not be encoded.
	bytes := 0
	for i := range p.Messages {
		bytes += len(p.Messages[i].Instance) + len(p.Messages[i].Value)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.drops.unknown.Add(1)
		return false
	}
	if bytes > q.largest {
		q.drops.tooLarge.Add(1)
		return false
	}
	long := bytes >= longPacket
	if !q.encode(p, bytes, long) {
		q.drops.tooLarge.Add(1)
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

// encode puts p into its lane. It returns false if p is too large.
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

// dropOldest drops the oldest packet of the lane with more bytes, but not the newest of all. newestLong says which lane has that.
func (q *queue) dropOldest(newestLong bool) {
	q.drops.oldest.Add(1)
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

// popLong takes the oldest long frame; there must be one.
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

// take returns all short frames, as buf[head:]. done is the buffer that it returned before: it will be filled again. If the frames are
// more than most bytes, take returns nothing. more says that frames still wait.
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

// leave notes that the peer is no longer connected.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away = true
}

// accept notes that the peer is connected, and the largest body that it takes. It drops frames that are larger.
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
			q.drops.tooLarge.Add(1)
		}
		rest = rest[size:]
	}
	q.buf, q.head = kept, 0
	q.long = slices.DeleteFunc(q.long, func(f []byte) bool {
		tooLarge := len(f)-headerSize > largest
		if tooLarge {
			q.longBytes -= len(f)
			q.drops.tooLarge.Add(1)
		}
		return tooLarge
	})
}

// close drops all packets, and those that come later.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drops.unknown.Add(uint64(q.packets + len(q.long)))
	q.closed = true
	q.buf, q.head, q.packets, q.long, q.longBytes = nil, 0, 0, nil, 0
}

// waiting returns the number of packets that wait.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.packets + len(q.long)
}
