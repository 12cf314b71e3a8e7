package tcp

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// Little waits for a peer that is not connected, and the newest of it.
func TestQueueOfAPeerThatIsAway(t *testing.T) {
	q := queue{maxBytes: 16 << 20, maxPackets: 1 << 20, largest: 8 << 20}
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
	assert.Equal(t, uint64(1000-kept), q.counts.oldest, "the others are counted")
	buf, head := q.take(nil)
	var d paxos.Decoder
	var p paxos.Packet
	require.NoError(t, d.Packet(buf[head+headerSize:head+frameSize(buf[head:])], &p))
	assert.Equal(t, uint64(500-kept+1), p.Seq, "the newest stay")

	require.True(t, q.push(packet(1, 2*awayBytes)))
	assert.Equal(t, 1, q.packets, "one packet always may wait")
	require.True(t, q.push(packet(2, size)))
	assert.Equal(t, 1, q.packets)

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
			q := &a.senders[2].queue
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
