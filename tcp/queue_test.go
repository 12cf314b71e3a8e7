package tcp

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// Little waits for a peer that is not connected, and the newest of it.
func TestQueueOfAPeerThatIsAway(t *testing.T) {
	q := queue{drops: &drops{}, maxBytes: 16 << 20, maxPackets: 1 << 20, largest: 8 << 20}
	const size = 10_000
	packet := func(seq uint64, size int) *paxos.Packet {
		return &paxos.Packet{From: 1, To: 2, Store: 1, Boot: 1, Nonce: 1, Members: 1, Seq: seq, Messages: []paxos.Message{
			{Kind: paxos.KindAccept, Instance: "lunch", Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: paxos.Value(make([]byte, size))}}}
	}
	fill := func(n int) (waiting, kept int) {
		for i := range n {
			require.True(t, q.push(packet(uint64(i+1), size)))
		}
		return len(q.buf) - q.head, q.packets
	}
	waiting, kept := fill(500)
	assert.Greater(t, waiting, awayBytes, "it is connected")
	assert.Equal(t, 500, kept)

	q.leave()
	waiting, kept = fill(500)
	assert.LessOrEqual(t, waiting, awayBytes)
	assert.InDelta(t, awayBytes/size, kept, 10)
	assert.Equal(t, uint64(1000-kept), q.drops.oldest.Load(), "the others are counted")
	buf, head, _ := q.take(nil, math.MaxInt)
	var d paxos.Decoder
	var p paxos.Packet
	require.NoError(t, d.Packet(buf[head+headerSize:head+frameSize(buf[head:])], &p))
	assert.Equal(t, uint64(500-kept+1), p.Seq, "the newest stay")

	require.True(t, q.push(packet(1, 2*awayBytes)))
	assert.Equal(t, 1, q.packets+len(q.long), "one packet always may wait")
	require.True(t, q.push(packet(2, size)))
	assert.Equal(t, 1, q.packets+len(q.long))

	q.accept(8 << 20)
	waiting, _ = fill(500)
	assert.Greater(t, waiting, 3*awayBytes, "it is connected again")
}

// So it is before a connection and after it, not during it.
func TestQueueKnowsWhetherThePeerIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		a := n.start(t, 1, knows(2))
		defer a.Close()
		away := func() bool {
			synctest.Wait()
			q := &a.peer(2).sender.queue
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.away
		}
		assert.True(t, away(), "nobody is there yet")
		b := n.start(t, 2)
		a.Send(packetOf(1, 2, 1))
		_, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.False(t, away())
		b.Close()
		assert.True(t, away(), "it is gone")
	})
}

// sized returns a packet whose value takes so many bytes.
func sized(seq uint64, size int) *paxos.Packet {
	p := packetOf(1, 2, seq)
	p.Messages[0].Value = paxos.Value(make([]byte, size))
	return &p
}

// seqs returns which packets are in whole frames.
func seqs(t *testing.T, frames []byte) (all []uint64) {
	t.Helper()
	var d paxos.Decoder
	var p paxos.Packet
	for len(frames) > 0 {
		size := frameSize(frames)
		require.NoError(t, d.Packet(frames[headerSize:size], &p))
		all, frames = append(all, p.Seq), frames[size:]
	}
	return all
}

// Long frames leave one at a time, and whatever is short goes before the next.
func TestQueueLanes(t *testing.T) {
	q := queue{drops: &drops{}, maxBytes: 16 << 20, maxPackets: 100, largest: 8 << 20}
	short := func() ([]uint64, bool) {
		buf, head, more := q.take(nil, math.MaxInt)
		return seqs(t, buf[head:]), more
	}
	for seq, size := range []int{1 << 20, 10, 2 << 20, longPacket - 100, 1 << 20} {
		require.True(t, q.push(sized(uint64(seq), size)))
	}
	waiting := q.waiting()
	assert.Equal(t, 5, waiting)
	_, _, more := q.take(nil, 1000)
	assert.True(t, more, "the short ones are more than that")
	got, more := short()
	assert.Equal(t, []uint64{1, 3}, got)
	assert.True(t, more)
	assert.Equal(t, []uint64{0}, seqs(t, q.takeLong()))
	require.True(t, q.push(sized(5, 10)))
	got, more = short()
	assert.Equal(t, []uint64{5}, got)
	assert.True(t, more)
	assert.Equal(t, []uint64{2}, seqs(t, q.takeLong()))
	assert.Equal(t, []uint64{4}, seqs(t, q.takeLong()))
	_, more = short()
	assert.False(t, more)
	assert.Nil(t, q.takeLong())
	assert.Zero(t, q.longBytes)
}

// The bound of a queue is for both lanes together. The one that holds more gives way, but never the newest packet.
func TestQueueLanesShareTheRoom(t *testing.T) {
	q := queue{drops: &drops{}, maxBytes: 4 << 20, maxPackets: 1000, largest: 8 << 20}
	for seq := range uint64(100) {
		require.True(t, q.push(sized(seq, 1000)))
	}
	for seq := range uint64(10) {
		require.True(t, q.push(sized(1000+seq, 1<<20)))
		require.LessOrEqual(t, q.shortBytes()+q.longBytes, 4<<20)
	}
	assert.Equal(t, 100, q.packets, "the long ones gave way to each other")
	assert.Equal(t, []uint64{1007}, seqs(t, q.takeLong()))
	require.True(t, q.push(sized(2000, 7<<20)))
	assert.Equal(t, 1, q.packets+len(q.long), "the newest stays, whatever its size")
	require.True(t, q.push(sized(2001, 10)))
	assert.Equal(t, 1, q.packets, "and it goes for a newer one")
	assert.Empty(t, q.long)
	assert.Equal(t, uint64(100+10+2-2), q.drops.oldest.Load())

	q.maxPackets = 3
	for seq := range uint64(3) {
		require.True(t, q.push(sized(3000+seq, 1<<17)))
	}
	assert.Len(t, q.long, 2)
	q.accept(1 << 16)
	assert.Equal(t, []uint64{2001}, seqs(t, q.buf[q.head:]))
	assert.Empty(t, q.long)
	assert.Zero(t, q.longBytes)
	assert.Equal(t, uint64(2), q.drops.tooLarge.Load())
}

// A short packet does not wait until all long ones that were sent before it have left.
func TestShortPacketsOvertakeLongOnes(t *testing.T) {
	bubble(t, func(t *testing.T, n *pipes) {
		b := n.start(t, 2)
		defer b.Close()
		a := n.start(t, 1, knows(2))
		defer a.Close()
		synctest.Wait()
		for seq := range uint64(8) {
			a.Send(*sized(seq, 1<<20))
		}
		synctest.Wait() // nobody receives: sent frames are in the two buffers of the connection, and the next is being written
		a.Send(*sized(8, 10))
		var got []uint64
		for range 9 {
			p, err := b.Receive(context.Background())
			require.NoError(t, err)
			got = append(got, p.Seq)
		}
		assert.NotEqual(t, []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8}, got)
		assert.Less(t, slices.Index(got, 8), 5, "%v", got)
	})
}
