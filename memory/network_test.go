package memory

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// joinTwo returns the transports of servers 1 and 2 on a new network.
func joinTwo(t *testing.T) (n *Network, one, two paxos.Transport) {
	t.Helper()
	n = NewNetwork()
	return n, n.Join(1), n.Join(2)
}

func receive(t *testing.T, from paxos.Transport) paxos.Packet {
	t.Helper()
	p, err := from.Receive(t.Context())
	require.NoError(t, err)
	return p
}

// nothingWaits checks that the queue is empty.
func nothingWaits(t *testing.T, of paxos.Transport) {
	t.Helper()
	assert.Empty(t, of.(*memoryEndpoint).drain(nil))
}

func packetOf(to paxos.ServerID, seq uint64, names ...string) paxos.Packet {
	p := paxos.Packet{To: to, Seq: seq}
	for _, name := range names {
		p.Messages = append(p.Messages, paxos.Message{Kind: paxos.KindPrepare, Instance: name, Ballot: bal(seq, 1), Value: paxos.Value(name)})
	}
	return p
}

func TestMemoryNetworkDeliversInOrder(t *testing.T) {
	_, one, two := joinTwo(t)
	want := paxos.Packet{From: 1, To: 2, Store: 3, Boot: 4, Nonce: 5, Members: 6, Index: 7, Seq: 8, Messages: []paxos.Message{
		{Kind: paxos.KindState, Instance: "x", Ballot: bal(1, 2), Promised: bal(3, 4), Accepted: bal(5, 6), Value: "v\x00"},
		{Kind: paxos.KindChosen, Instance: "y", Ballot: bal(7, 8)}}}
	one.Send(want)
	one.Send(packetOf(2, 9))
	for seq := uint64(10); seq < 100; seq++ {
		one.Send(packetOf(2, seq, "a", "b", "c"))
	}
	assert.Equal(t, want, receive(t, two))
	p := receive(t, two)
	assert.EqualValues(t, 9, p.Seq)
	assert.Empty(t, p.Messages)
	for seq := uint64(10); seq < 100; seq++ {
		p := receive(t, two)
		assert.Equal(t, seq, p.Seq)
		assert.Equal(t, packetOf(2, seq, "a", "b", "c").Messages, p.Messages)
	}
	nothingWaits(t, two)
	nothingWaits(t, one)
}

func TestMemoryNetworkStampsFrom(t *testing.T) {
	_, one, two := joinTwo(t)
	for _, lie := range []paxos.ServerID{0, 1, 2, 99} {
		one.Send(paxos.Packet{From: lie, To: 2})
		assert.EqualValues(t, 1, receive(t, two).From)
	}
	one.Send(paxos.Packet{From: 2, To: 1})
	assert.EqualValues(t, 1, receive(t, one).From, "also to oneself")
}

func TestMemoryNetworkKeepsNoSliceOfTheSender(t *testing.T) {
	_, one, two := joinTwo(t)
	p := packetOf(2, 1, "a", "b")
	one.Send(p)
	p.Messages[0] = paxos.Message{Instance: "changed"}
	one.Send(packetOf(2, 2, "c"))
	got := receive(t, two)
	require.Equal(t, packetOf(2, 1, "a", "b").Messages, got.Messages)
	_ = append(got.Messages, paxos.Message{Instance: "mine"})
	got.Messages[1].Instance = "mine"
	assert.Equal(t, "c", receive(t, two).Messages[0].Instance, "a packet is the receiver's, and ends where it ends")
}

// TestMemoryNetworkPacketStaysUntilTheNextReceive sends a lot between two Receives: nothing of that goes over the packet.
func TestMemoryNetworkPacketStaysUntilTheNextReceive(t *testing.T) {
	_, one, two := joinTwo(t)
	for seq := range uint64(50) {
		one.Send(packetOf(2, seq, "a", "b"))
		got := receive(t, two)
		for range seq {
			one.Send(packetOf(2, 1000, "x", "y", "z"))
		}
		require.Equal(t, packetOf(2, seq, "a", "b").Messages, got.Messages)
		for range seq {
			require.EqualValues(t, 1000, receive(t, two).Seq)
		}
	}
}

func TestMemoryNetworkUnknownReceiver(t *testing.T) {
	n, one, two := joinTwo(t)
	for _, to := range []paxos.ServerID{0, 3, 1 << 63} {
		one.Send(packetOf(to, 1, "lost"))
	}
	nothingWaits(t, one)
	nothingWaits(t, two)
	three := n.Join(3)
	one.Send(packetOf(3, 2, "not lost"))
	assert.EqualValues(t, 2, receive(t, three).Seq, "the first that was sent since it joined")
	assert.PanicsWithValue(t, "paxos: memory.Network.Join: server 0 is not a valid ServerID", func() { n.Join(0) })
}

func TestMemoryNetworkReceiveWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := joinTwo(t)
		got := make(chan paxos.Packet, 1)
		go func() {
			p, err := two.Receive(t.Context())
			assert.NoError(t, err)
			got <- p
		}()
		synctest.Wait()
		assert.Empty(t, got)
		one.Send(packetOf(2, 7, "x"))
		assert.EqualValues(t, 7, (<-got).Seq)
	})
}

func TestMemoryNetworkReceiveIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, two := joinTwo(t)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := two.Receive(ctx)
			failed <- err
		}()
		synctest.Wait()
		assert.Empty(t, failed, "it waits")
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		one.Send(packetOf(2, 1, "x"))
		_, err := two.Receive(ctx)
		require.ErrorIs(t, err, context.Canceled, "also when a packet waits")
		assert.EqualValues(t, 1, receive(t, two).Seq, "which is not lost")
	})
}

func TestMemoryNetworkJoinAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, one, old := joinTwo(t)
		one.Send(packetOf(2, 1, "a"))
		one.Send(packetOf(2, 2, "b"))
		require.EqualValues(t, 1, receive(t, old).Seq)
		one.Send(packetOf(2, 3, "c"))
		next := n.Join(2)
		_, err := old.Receive(t.Context())
		require.ErrorContains(t, err, "paxos: memory network: server 2 has joined again: this transport is replaced")
		nothingWaits(t, next)

		failed := make(chan error, 1)
		go func() {
			_, err := next.Receive(t.Context())
			failed <- err
		}()
		synctest.Wait()
		last := n.Join(2)
		require.ErrorContains(t, <-failed, "replaced", "one that waits is told")

		one.Send(packetOf(2, 4, "d"))
		assert.EqualValues(t, 4, receive(t, last).Seq)
		nothingWaits(t, old)
		nothingWaits(t, next)
		old.Send(packetOf(1, 5, "late"))
		p := receive(t, one)
		assert.EqualValues(t, 5, p.Seq)
		assert.EqualValues(t, 2, p.From)
	})
}

// A Send may find the old endpoint just before Join replaces it.
func TestMemoryNetworkReplacedEndpointKeepsNothing(t *testing.T) {
	n, _, two := joinTwo(t)
	old := two.(*memoryEndpoint)
	n.Join(2)
	assert.Nil(t, old.push(packetOf(2, 1, "x")), "a Send that raced with Join")
	nothingWaits(t, old)
}

func TestMemoryNetworkFullQueueDrops(t *testing.T) {
	assert.EqualValues(t, reflect.TypeFor[paxos.Message]().Size(), memoryMessageBytes)
	mebibyte := paxos.Value(strings.Repeat("v", 1<<20))
	large := paxos.Packet{To: 2, Messages: []paxos.Message{{Kind: paxos.KindAccept, Value: mebibyte}}}
	huge := paxos.Packet{To: 2, Messages: make([]paxos.Message, memoryQueueMessages+1)}
	heavy := paxos.Packet{To: 2}
	for range 65 {
		heavy.Messages = append(heavy.Messages, large.Messages...)
	}
	for _, tt := range []struct {
		name string
		p    paxos.Packet
		room int // for how many packets
	}{
		{"messages", paxos.Packet{To: 2, Messages: make([]paxos.Message, 1024)}, memoryQueueMessages / 1024},
		{"packets without messages", paxos.Packet{To: 2}, memoryQueueMessages},
		{"bytes", large, 63},
		{"a packet that is above the limit of messages by itself", huge, 1},
		{"a packet that is above the limit of bytes by itself", heavy, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, one, two := joinTwo(t)
			for round := range 2 {
				for i := range tt.room + 3 {
					tt.p.Seq = uint64(i)
					one.Send(tt.p)
				}
				packets := two.(*memoryEndpoint).drain(nil)
				require.Len(t, packets, tt.room, "round %d", round)
				assert.EqualValues(t, tt.room-1, packets[tt.room-1].Seq, "the latest are dropped")
				assert.Len(t, packets[0].Messages, len(tt.p.Messages))
			}
		})
	}
}

func TestMemoryNetworkConcurrentUse(t *testing.T) {
	const senders, each = 4, 2000
	n := NewNetwork()
	to := n.Join(100)
	var sending sync.WaitGroup
	for i := range senders {
		from := n.Join(paxos.ServerID(i + 1))
		sending.Go(func() {
			own := packetOf(100, 0, "a", "b", "c")
			for seq := range uint64(each) {
				own.Seq, own.Messages[1].Instance = seq, fmt.Sprint(i, " ", seq)
				one := own
				one.Messages = one.Messages[:1+seq%3]
				from.Send(one)
				if seq%500 == 0 {
					n.Join(paxos.ServerID(1000 + i)) // others join meanwhile
				}
			}
		})
	}
	var next [senders + 1]uint64
	for range senders * each {
		p := receive(t, to)
		if p.Seq != next[p.From] || len(p.Messages) != int(1+p.Seq%3) {
			t.Fatalf("packet %d of server %d, with %d messages, where %d should be", p.Seq, p.From, len(p.Messages), next[p.From])
		}
		if name := fmt.Sprint(int(p.From)-1, " ", p.Seq); len(p.Messages) > 1 && p.Messages[1].Instance != name {
			t.Fatalf("message %q where %q should be", p.Messages[1].Instance, name)
		}
		next[p.From]++
	}
	sending.Wait()
	nothingWaits(t, to)
}

func TestMemoryNetworkReadyAndDrain(t *testing.T) {
	_, one, two := joinTwo(t)
	e := two.(*memoryEndpoint)
	signalled := func() bool {
		select {
		case <-e.wake:
			return true
		default:
			return false
		}
	}
	assert.False(t, signalled())
	one.Send(packetOf(2, 1, "a"))
	one.Send(packetOf(2, 2, "b"))
	assert.True(t, signalled())
	assert.False(t, signalled(), "one for both")
	mine := []paxos.Packet{{Seq: 9}}
	got := e.drain(mine)
	require.Len(t, got, 3)
	assert.EqualValues(t, 9, got[0].Seq)
	assert.Equal(t, "a", got[1].Messages[0].Instance)
	assert.Equal(t, "b", got[2].Messages[0].Instance)
	one.Send(packetOf(2, 3, "c"))
	assert.Equal(t, "a", got[1].Messages[0].Instance, "valid until the next drain")
	assert.True(t, signalled(), "packets that are new since the drain")
	got = e.drain(got[:0])
	require.Len(t, got, 1)
	assert.Equal(t, "c", got[0].Messages[0].Instance)
	for _, m := range e.run[:cap(e.run)] {
		assert.Zero(t, m, "what was handed out before keeps no value alive")
	}
	assert.Empty(t, e.drain(nil))
}

func TestMemoryNetworkAllocatesNothingInItsSteadyState(t *testing.T) {
	_, one, two := joinTwo(t)
	p, e := packetOf(2, 1, "a", "b", "c"), two.(*memoryEndpoint)
	var packets []paxos.Packet
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		for range 10 {
			one.Send(p)
		}
		if packets = e.drain(packets[:0]); len(packets) != 10 {
			panic("lost")
		}
	}))
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		for range 10 {
			one.Send(p)
		}
		for range 10 {
			if _, err := two.Receive(ctx); err != nil {
				panic(err)
			}
		}
	}))
}

func TestMemoryNetworkGivesBackAfterABurst(t *testing.T) {
	_, one, two := joinTwo(t)
	e := two.(*memoryEndpoint)
	for range 3 {
		for range 100 {
			one.Send(paxos.Packet{To: 2, Messages: make([]paxos.Message, 1000)})
		}
		require.Len(t, e.drain(nil), 100)
	}
	require.Greater(t, cap(e.run), 10_000)
	for range 400 {
		one.Send(packetOf(2, 1, "a"))
		require.Len(t, e.drain(nil), 1)
	}
	assert.Less(t, cap(e.run)+cap(e.lent), 100)
	assert.Less(t, cap(e.queue), 100)
}

// TestMemoryNetworkErrorsAreNoPackets checks that a Receive that fails returns nothing else.
func TestMemoryNetworkErrorsAreNoPackets(t *testing.T) {
	_, one, two := joinTwo(t)
	one.Send(packetOf(2, 1, "a"))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	p, err := two.Receive(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, p)
}

// BenchmarkMemoryNetwork sends packets of as many messages and drains them, 16 at a time. One op is one packet.
func BenchmarkMemoryNetwork(b *testing.B) {
	for _, size := range []int{1, 32} {
		b.Run(fmt.Sprintf("messages=%d", size), func(b *testing.B) {
			n := NewNetwork()
			one, two := n.Join(1), n.Join(2).(*memoryEndpoint)
			p := paxos.Packet{To: 2}
			for range size {
				p.Messages = append(p.Messages, paxos.Message{Kind: paxos.KindAccept, Instance: "0123456789abcdef", Value: "v"})
			}
			var packets []paxos.Packet
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				one.Send(p)
				if i%16 == 15 {
					packets = two.drain(packets[:0])
				}
			}
		})
	}
}
