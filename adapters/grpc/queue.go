package grpc

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/singledecree/paxos"
)

// awayBytes is how much may wait for a peer that is not connected.
const awayBytes = 1 << 20

// drops counts packets that did not leave, by reason.
type drops struct{ oldest, tooLarge, unknown, unreachable, lost atomic.Uint64 }

// A queue holds frames that wait for one peer, the oldest first.
type queue struct {
	maxBytes, maxPackets int
	drops                *drops

	mu      sync.Mutex
	away    bool // the peer is not connected
	closed  bool // the peer is no member any more
	largest int  // the largest packet that the peer takes
	frames  [][]byte
	bytes   int
}

// push encodes p behind all other packets, and drops the oldest if there are too many.
func (q *queue) push(p *paxos.Packet) bool {
	size := binary.MaxVarintLen64
	for i := range p.Messages {
		size += len(p.Messages[i].Instance) + len(p.Messages[i].Value)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.drops.unknown.Add(1)
		return false
	}
	if size-binary.MaxVarintLen64 > q.largest {
		q.drops.tooLarge.Add(1)
		return false
	}
	f, err := p.AppendBinary(make([]byte, binary.MaxVarintLen64, size+64+48*len(p.Messages)))
	if n := len(f) - binary.MaxVarintLen64; err != nil || n > q.largest {
		q.drops.tooLarge.Add(1)
		return false
	}
	f = sized(f)
	q.frames, q.bytes = append(q.frames, f), q.bytes+len(f)
	most := q.maxBytes
	if q.away {
		most = min(most, awayBytes)
	}
	for len(q.frames) > 1 && (len(q.frames) > q.maxPackets || q.bytes > most) {
		q.bytes -= len(q.frames[0])
		q.frames[0] = nil
		q.frames = q.frames[1:]
		q.drops.oldest.Add(1)
	}
	return true
}

// sized writes the size of a packet just before it, into the room that f has at its beginning.
func sized(f []byte) []byte {
	var size [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(size[:], uint64(len(f)-len(size)))
	f = f[len(size)-n:]
	copy(f, size[:n])
	return f
}

// take takes the oldest frames, of maxChunk bytes together or one that is longer.
func (q *queue) take() (frames [][]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.frames) && (n == 0 || bytes+len(q.frames[n]) <= maxChunk) {
		bytes += len(q.frames[n])
		n++
	}
	frames, q.frames, q.bytes = q.frames[:n:n], q.frames[n:], q.bytes-bytes
	if len(q.frames) == 0 {
		q.frames = nil
	}
	return frames
}

// connected notes the largest packet that the peer takes, and drops larger ones.
func (q *queue) connected(largest int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away, q.largest = false, largest
	var kept [][]byte
	q.bytes = 0
	for _, f := range q.frames {
		if packet, _ := nextFrame(f); len(packet) > largest {
			q.drops.tooLarge.Add(1)
			continue
		}
		kept, q.bytes = append(kept, f), q.bytes+len(f)
	}
	q.frames = kept
}

// leave notes that the peer is not connected any more.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away = true
}

// close drops all packets, and those that come later.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drops.unknown.Add(uint64(len(q.frames)))
	q.closed, q.frames, q.bytes = true, nil, 0
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.frames)
}
