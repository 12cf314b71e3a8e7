package tcp

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// An inbound is a connection on which a peer sends. One goroutine reads it, and hands over whole frames to Receive, many at a time. It
// fills one buffer while Receive empties the other.
type inbound struct {
	transport *Transport
	reader    reader
	hello     hello          // the introduction of the other side
	from      paxos.ServerID // the other side; 0: not proved
	slot      *slot          // its place; nil: not proved
	free      chan []byte    // the buffer that is not being filled, once Receive has emptied it
	handed    bool           // frames were handed over
	small     int            // how many times in a row a long buffer was little used

	stalled atomic.Bool // the reader waits for Receive
	pongs   chan struct{}
}

// A slot is the place for the one process that is accepted as a peer.
type slot struct {
	turn   chan struct{} // holds one token; the goroutine that takes it may enter
	mu     sync.Mutex
	now    *inbound
	closed *refusal // why nobody may enter any more; nil: the peer is a member
}

func newSlot() *slot {
	s := &slot{turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// enter puts in into the slot, unless another live process is there. A process that connects again takes its own place at once. Another
// process takes it if the former one has closed, or does not answer a ping: that process is gone, or hangs.
func (s *slot) enter(in *inbound, within time.Duration) *refusal {
	select {
	case <-s.turn:
		defer signal(s.turn)
	case <-in.reader.wire.dead:
		return errCrowded
	}
	in.free, in.pongs = make(chan []byte, 2), make(chan struct{}, 1)
	in.free <- nil
	old := s.occupant()
	if old != nil && old.hello.instance != in.hello.instance {
		switch old.lives(within) {
		case alive:
			return refuse(ReasonDuplicate, "another process is connected as server %d, and lives: process %x, and this is process %x. One of the two must stop",
				in.from, old.hello.instance, in.hello.instance)
		case unheard:
			return refuse(ReasonBusy, "process %x is connected as server %d, and this is process %x: whether the former lives is "+
				"not known yet, as server %d is busy and reads nothing", old.hello.instance, in.from, in.hello.instance, in.transport.config.ID)
		}
	}
	s.mu.Lock()
	closed := s.closed
	if closed == nil {
		s.now = in
	}
	s.mu.Unlock()
	if closed != nil {
		return closed
	}
	if old != nil {
		old.reader.wire.fail(errReplaced)
	}
	return nil
}

func (s *slot) occupant() *inbound {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// leave empties the slot, if in is in it.
func (s *slot) leave(in *inbound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == in {
		s.now = nil
	}
}

// end closes the connection in the slot.
func (s *slot) end(why error) {
	if in := s.occupant(); in != nil {
		in.reader.wire.fail(why)
	}
}

// shut lets nobody in any more. It ends the connection in the slot, and Receive returns nothing more of it, not even what was read.
func (s *slot) shut(why *refusal) {
	s.mu.Lock()
	s.closed = why
	in := s.now
	s.mu.Unlock()
	if in != nil {
		in.reader.wire.fail(errLeft)
		in.reader.condemned.Store(why)
	}
}

// A life is the state of the process on the other side, as far as it is known.
type life int

const (
	gone    life = iota // it has closed, or does not answer
	alive               // it answers
	unheard             // the reader waits for Receive, so it would not hear an answer; the connection is open
)

// asks is how many pings ask whether a process lives. If the process has closed, the kernel of its machine answers the first ping by a
// reset. The next ping then fails. So the end is found out even while nothing is read.
const asks = 8

// lives asks the process for a sign of life, and waits for that at most within. Only the answer to a ping counts: other data may have
// been sent long ago, by a process that is gone.
func (in *inbound) lives(within time.Duration) life {
	w := in.reader.wire
	select {
	case <-in.pongs:
	default:
	}
	timer, done := time.NewTimer(within), make(chan struct{})
	defer timer.Stop()
	defer close(done)
	in.transport.all.Go(func() {
		again := time.NewTicker(within / asks)
		defer again.Stop()
		for {
			if w.write(appendEmpty(nil, kindPing, w.version)) != nil {
				w.fail(errGone)
			}
			select {
			case <-again.C:
			case <-w.dead:
				return
			case <-done:
				return
			}
		}
	})
	select {
	case <-in.pongs:
		return alive
	case <-w.dead:
		return gone
	case <-timer.C:
		if in.stalled.Load() {
			return unheard
		}
		return gone
	}
}

// run reads until the connection ends, and returns why. If the other side is at fault, it is told.
func (in *inbound) run() error {
	w := in.reader.wire
	err := in.read()
	var r *refusal
	if errors.As(err, &r) {
		w.write(appendRefuse(nil, r, w.version)) // an error changes nothing: the connection ends anyway
	}
	return err
}

func (in *inbound) read() error {
	r := &in.reader
	for {
		found := in.look()
		if found.packets > 0 {
			if err := in.hand(found.whole); err != nil {
				return err
			}
		} else if found.whole > r.start {
			r.take(found.whole - r.start)
		}
		if found.wrong != nil {
			in.transport.counters.badFrames.Add(1)
			return found.wrong
		}
		if found.pings > 0 {
			if err := r.wire.write(appendEmpty(nil, kindPong, r.wire.version)); err != nil {
				return err
			}
		}
		if err := r.fill(found.need); err != nil {
			return err
		}
	}
}

// A finding describes the contents of a buffer.
type finding struct {
	whole          int // where the last whole frame ends
	need           int // size of the next frame, as far as it is known
	packets, pings int // among the whole frames; one pong answers all pings
	wrong          *refusal
}

// look checks the whole frames in the buffer.
func (in *inbound) look() (found finding) {
	r := &in.reader
	for found.whole = r.start; ; {
		f, size, need, err := parseFrame(r.buf[found.whole:r.end], r.maxBody)
		if err != nil {
			found.wrong = refuse(ReasonMalformed, "%v", err)
			return found
		}
		if found.need = need; size == 0 {
			return found
		}
		switch {
		case f.version != r.wire.version:
			found.wrong = refuse(ReasonMalformed, "a frame has version %d, but version %d was agreed on", f.version, r.wire.version)
			return found
		case f.kind == kindPacket:
			found.packets++
		case f.kind == kindPing:
			found.pings++
		case f.kind < kindPacket:
			found.wrong = refuse(ReasonMalformed, "a frame of kind %d is not allowed here", f.kind)
			return found
		case f.kind == kindPong:
			signal(in.pongs)
		default:
			in.transport.counters.unknownKinds.Add(1)
		}
		found.whole += size
	}
}

// hand gives Receive the frames up to whole, in their buffer, and goes on with the other buffer. It waits until Receive has emptied that
// one. So TCP holds back the other side while nobody calls Receive.
func (in *inbound) hand(whole int) error {
	r := &in.reader
	var next []byte
	select {
	case next = <-in.free:
	default:
		in.stalled.Store(true)
		select {
		case next = <-in.free:
		case <-r.wire.dead:
			return r.wire.err
		}
		in.stalled.Store(false)
	}
	rest := r.buf[whole:r.end]
	// As large as the last buffer. Twice as large if that was filled: more seems to be on its way.
	size := min(len(r.buf), freeBuffer)
	if r.end == len(r.buf) {
		size = min(2*size, freeBuffer)
	}
	if len(next) > freeBuffer && len(rest) <= freeBuffer {
		if in.small++; whole-r.start > len(next)/16 {
			in.small = 0
		}
		if in.small == 64 { // no large frame has come for a while
			next, in.small = nil, 0
		}
	}
	if len(next) < max(size, len(rest)) {
		next = make([]byte, max(size, len(rest), smallBuffer))
	}
	copy(next, rest)
	in.transport.inbox.put(batch{from: in, buf: r.buf, start: r.start, end: whole}, !in.handed)
	in.handed = true
	r.buf, r.start, r.end, r.need = next, 0, len(rest), 0
	return nil
}

// dismissed says why a connection that was let in has ended.
func (t *Transport) dismissed(in *inbound, err error) {
	switch {
	case t.ctx.Err() != nil:
	case err == io.EOF, err == errReplaced, err == errRenewed, err == errGone, err == errLeft:
		t.report.debug("peer's connection ended", "peer", uint64(in.from), "err", err)
	default:
		r := asRefusal(err)
		t.report.refused(about{in.from, "ended", r.reason}, "peer's connection ended", "peer", uint64(in.from),
			"addr", in.reader.wire.raw.RemoteAddr().String(), "err", err)
	}
}
