package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/lines"
)

// A stream gives the events of instances that each take some time, to a ring and as the ring asks for them.
type stream struct {
	ring
	now  time.Duration
	seq  uint64
	made int
}

func newStream() *stream {
	s := &stream{}
	s.want(true)
	s.turn()
	return s
}

// run lets n instances happen, with ten events each.
func (s *stream) run(n int, each time.Duration) {
	for range n {
		s.made++
		s.now += each
		name := fmt.Sprintf("job/%d", s.made)
		if !s.traced().Has(name) {
			continue
		}
		var events []paxos.Event
		for range 10 {
			s.seq++
			events = append(events, paxos.Event{Seq: s.seq, At: s.now, Message: paxos.Message{Instance: name}})
		}
		s.add(events)
	}
}

func (s *stream) kept() (n int, first, last paxos.Event) {
	all := s.read(0, make([]paxos.Event, 0, 2*maxKept))
	return len(all), all[0], all[len(all)-1]
}

// The ring has the latest events, in order, and never more than maxKept.
func TestRingKeepsTheLatest(t *testing.T) {
	s := newStream()
	s.run(30_000, 10*time.Millisecond) // 1,000 events a second
	n, first, last := s.kept()
	assert.Equal(t, maxKept, n)
	assert.Equal(t, []uint64{300_000 - maxKept + 1, 300_000}, []uint64{first.Seq, last.Seq})
	assert.Equal(t, "job/30000", last.Message.Instance)
	assert.LessOrEqual(t, s.traced().OneIn, uint64(1))
	assert.Len(t, s.pages, maxKept/pageSize)

	s.want(false)
	require.True(t, s.turn())
	require.False(t, s.turn())
	s.run(1, 0)
	s.want(true)
	s.turn()
	assert.Empty(t, s.read(0, make([]paxos.Event, 0, 10)), "it begins anew")
}

// When much happens, the ring holds fewer instances for longer. When less happens, all come back.
func TestRingThins(t *testing.T) {
	s := newStream()
	s.run(1_000_000, 10*time.Microsecond) // 1,000,000 events a second
	require.Greater(t, s.traced().OneIn, uint64(32))
	_, first, last := s.kept()
	assert.Greater(t, last.At-first.At, 5*time.Second)
	assert.Less(t, s.seq, uint64(200_000), "so few were made")
	thinned := s.traced().OneIn
	s.run(800, 10*time.Millisecond)
	assert.LessOrEqual(t, s.traced().OneIn, thinned/4, "step by step, within seconds")
	s.run(20_000, 10*time.Millisecond)
	assert.LessOrEqual(t, s.traced().OneIn, uint64(1))
	_, first, last = s.kept()
	assert.Greater(t, last.At-first.At, keepFor)
}

// A server that has been idle traces everything again.
func TestRingForgetsALoad(t *testing.T) {
	s := newStream()
	s.run(100_000, 10*time.Microsecond)
	require.Greater(t, s.traced().OneIn, uint64(1))
	s.now += keepFor
	for s.made = 0; s.traced().OneIn > 1 && s.made < 10_000; {
		s.run(1, time.Millisecond)
	}
	assert.Less(t, s.made, 5_000)
}

// Events that were lost are missing in the numbers of the others.
func TestLostEventsLeaveAGap(t *testing.T) {
	var o outlet
	o.wake, o.ended = make(chan struct{}, 1), make(chan struct{})
	none := func(uint64) context.Context { return context.Background() }
	add := func(from, to uint64) {
		for seq := from; seq <= to; seq++ {
			o.add([]paxos.Event{{Seq: seq}}, none)
		}
	}
	add(1, maxEvents+5) // five find no room
	var seqs []uint64
	got := make(chan struct{})
	go o.run(func(_ context.Context, e paxos.Event) {
		if seqs = append(seqs, e.Seq); len(seqs) == maxEvents {
			close(got)
		}
	}, lines.New(nil))
	<-got
	add(maxEvents+6, maxEvents+6)
	o.close()
	<-o.ended
	assert.Equal(t, []uint64{maxEvents, maxEvents + 6}, seqs[len(seqs)-2:])
}
