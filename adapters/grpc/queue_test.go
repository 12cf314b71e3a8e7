package grpc

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func newQueue() *queue {
	return &queue{maxBytes: 4 << 20, maxPackets: 100, largest: 1 << 20, drops: &drops{}}
}

func sizedPacket(seq uint64, bytes int) *paxos.Packet {
	return &paxos.Packet{From: 1, To: 2, Seq: seq, Messages: []paxos.Message{{Kind: paxos.KindAccept, Instance: "a", Value: paxos.Value(filler(bytes))}}}
}

func filler(n int) string { return strings.Repeat("x", n) }

// A queue holds no more than its limits, and drops the oldest. The newest always stays.
func TestQueueIsBounded(t *testing.T) {
	q := newQueue()
	for seq := range uint64(250) {
		q.push(sizedPacket(seq, 10))
	}
	assert.Equal(t, 100, q.waiting())
	assert.EqualValues(t, 150, q.drops.oldest.Load())
	var p paxos.Packet
	frames := q.take()
	body, rest := nextFrame(frames[0])
	require.Empty(t, rest)
	require.NoError(t, p.UnmarshalBinary(body))
	assert.EqualValues(t, 150, p.Seq)
	assert.Len(t, frames, 100)
	for seq := range uint64(20) {
		q.push(sizedPacket(seq, 1<<19))
	}
	assert.Equal(t, 7, q.waiting())
	q.leave()
	q.push(sizedPacket(99, 1<<20-100))
	assert.Equal(t, 1, q.waiting(), "a peer that is away gets the newest")
	q.push(sizedPacket(100, 1<<20+1))
	q.push(sizedPacket(100, 1<<20))
	assert.EqualValues(t, 2, q.drops.tooLarge.Load())
	q.connected(1 << 10)
	assert.Zero(t, q.waiting(), "the peer takes no packet of that size")
	assert.EqualValues(t, 3, q.drops.tooLarge.Load())
	q.push(sizedPacket(1, 10))
	q.close()
	q.push(sizedPacket(2, 10))
	assert.EqualValues(t, 2, q.drops.unknown.Load())
	assert.Empty(t, q.take())
}

// Frames are found whole, wherever they are cut.
func TestFramesAreCutAnywhere(t *testing.T) {
	q := newQueue()
	var all []byte
	for _, size := range []int{0, 1, 200, 20000} {
		q.push(sizedPacket(uint64(size), size))
		all = append(all, beat...)
	}
	for _, f := range q.take() {
		all = append(all, f...)
	}
	for cut := range len(all) + 1 {
		end, found, beats, err := wholeFrames(all[:cut], 1<<20)
		require.NoError(t, err)
		end2, found2, beats2, err := wholeFrames(all[end:], 1<<20)
		require.NoError(t, err)
		require.Equal(t, [3]int{len(all), 4, 4}, [3]int{end + end2, found + found2, beats + beats2}, cut)
	}
	_, _, _, err := wholeFrames(all, 1000)
	require.ErrorContains(t, err, "at most 1000 are allowed")
}

func FuzzWholeFrames(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0xff}, 10)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		most = max(0, min(most, 1<<20))
		end, found, beats, err := wholeFrames(b, most)
		if end > len(b) {
			t.Fatal(end)
		}
		for rest := b[:end]; len(rest) > 0; {
			var packet []byte
			if packet, rest = nextFrame(rest); len(packet) == 0 {
				beats--
			} else {
				found--
			}
			if len(packet) > most {
				t.Fatal(len(packet))
			}
		}
		if found != 0 || beats != 0 {
			t.Fatal(found, beats, err)
		}
		var h hello
		h.cluster = string(b[:min(len(b), 200)])
		if back, err := helloIn(h.metadata()); err != nil || back != h {
			t.Fatal(back, err)
		}
	})
}
