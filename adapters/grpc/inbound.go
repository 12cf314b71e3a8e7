package grpc

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	rpc "google.golang.org/grpc"

	"github.com/singledecree/paxos"
)

// An inbound is a stream on which a peer sends.
type inbound struct {
	*common
	stream rpc.ServerStream
	from   paxos.ServerID
	hello  hello
	inbox  chan<- batch

	idle      *time.Timer
	stalled   atomic.Bool   // it waits for Receive
	condemned atomic.Bool   // nothing more is taken from it
	asked     chan struct{} // another process wants its place: ask for a beat
	heard     chan struct{} // a beat has come

	once sync.Once
	done chan struct{} // closed when it has failed
	err  error         // why; set before done is closed
}

// A batch is whole frames of one stream, at least one of them with a packet.
type batch struct {
	from   *inbound
	frames []byte
}

// fail ends the stream. The first reason stays.
func (in *inbound) fail(err error) {
	in.once.Do(func() {
		in.err = err
		close(in.done)
	})
}

// read reads until the stream ends. While nobody calls Receive it does not read, and flow control holds back the peer.
func (in *inbound) read() {
	var m message
	for {
		have := len(m.bytes)
		if err := in.stream.RecvMsg(&m); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.EOF
			}
			in.fail(err)
			return
		}
		if len(m.bytes)-have > maxChunk {
			in.wrong(errors.New("a message is larger than a chunk may be"))
			return
		}
		in.idle.Reset(in.config.Timing.Idle)
		whole, found, beats, err := wholeFrames(m.bytes, in.config.Limits.MaxPacket)
		if err != nil {
			in.wrong(err)
			return
		}
		if beats > 0 {
			signal(in.heard)
		}
		rest := m.bytes[whole:]
		if found > 0 {
			if !in.hand(m.bytes[:whole:whole]) {
				return
			}
			m.bytes = append([]byte(nil), rest...)
		} else {
			m.bytes = append(m.bytes[:0], rest...)
		}
	}
}

// wrong ends the stream because of what the peer sent.
func (in *inbound) wrong(err error) {
	in.counters.broken.Add(1)
	in.condemned.Store(true)
	in.fail(err)
}

// hand waits until Receive takes the frames. It returns false if the stream ends before.
func (in *inbound) hand(frames []byte) bool {
	b := batch{in, frames}
	select {
	case in.inbox <- b:
		return true
	default:
	}
	in.idle.Stop()
	in.stalled.Store(true)
	defer in.stalled.Store(false)
	select {
	case in.inbox <- b:
		in.idle.Reset(in.config.Timing.Idle)
		return true
	case <-in.done:
		return false
	}
}

// beat tells the peer that this server lives, and asks for a beat if somebody wants to know.
func (in *inbound) beat() {
	beats := time.NewTicker(in.config.Timing.KeepAlive)
	defer beats.Stop()
	for {
		m := message{}
		select {
		case <-beats.C:
		case <-in.asked:
			m.bytes = ask
		case <-in.done:
			return
		}
		if err := in.stream.SendMsg(&m); err != nil {
			in.fail(err)
			return
		}
	}
}

// A life is the state of the process on the other side, as far as it is known.
type life int

const (
	gone    life = iota // it has ended, or does not answer
	alive               // it answers
	unheard             // nobody calls Receive, so an answer would not be heard
)

// lives asks the process for a sign of life, and waits for that at most within.
func (in *inbound) lives(within time.Duration) life {
	select {
	case <-in.heard:
	default:
	}
	signal(in.asked)
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-in.heard:
		return alive
	case <-in.done:
		return gone
	case <-timer.C:
		if in.stalled.Load() {
			return unheard
		}
		return gone
	}
}

// A slot is the place for the one process that is accepted as a peer.
type slot struct {
	turn   chan struct{} // holds one token; the goroutine that takes it may enter
	mu     sync.Mutex
	now    *inbound
	closed error                     // why nobody may enter any more
	shown  atomic.Pointer[time.Time] // when the certificate expires that was shown last
}

func newSlot() *slot {
	s := &slot{turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

var (
	errDuplicate = errors.New("another process is connected as this server, and lives: one of the two must stop")
	errBusy      = errors.New("another process is connected as this server, and whether it lives is not known yet: this server reads nothing")
)

// enter puts in into the slot, unless another live process is there. A process that connects again takes its own place at once.
func (s *slot) enter(in *inbound) error {
	select {
	case <-s.turn:
		defer signal(s.turn)
	case <-in.stream.Context().Done():
		return in.stream.Context().Err()
	case <-in.ctx.Done():
		return errClosed
	}
	old := s.occupant()
	if old != nil && old.hello.instance != in.hello.instance {
		switch old.lives(in.config.Timing.Probe) {
		case alive:
			return errDuplicate
		case unheard:
			return errBusy
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return s.closed
	}
	s.now = in
	if old != nil {
		old.fail(errReplaced)
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

// end ends the stream in the slot.
func (s *slot) end(why error) {
	if in := s.occupant(); in != nil {
		in.fail(why)
	}
}

// shut lets nobody in any more. Receive returns nothing more of the stream in the slot, not even what was read.
func (s *slot) shut(why error) {
	s.mu.Lock()
	s.closed = why
	in := s.now
	s.mu.Unlock()
	if in != nil {
		in.condemned.Store(true)
		in.fail(why)
	}
}
