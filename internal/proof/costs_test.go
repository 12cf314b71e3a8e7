package proof_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The cost of a decision for three servers with storages in memory, without Node and network, does not depend on the machine.
// This test tells of a change without a clock. A change that makes it cheaper writes the new figures here.
func TestReplicaCosts(t *testing.T) {
	const (
		allocations = 1.139 // of a decision, on all three: the name, and now and then a table that grows, or a page of names
		bytes       = 470.0
		pulls       = 0.012 // messages of a decision by which servers find out that they know the same
	)
	for _, c := range []struct {
		batch    int
		minted   bool
		messages float64
		packets  float64 // of a decision, that hold some of those and nothing else
	}{{1, false, 10, 0.005}, {1, true, 6, 0.006}, {16, false, 10, 0.005}, {16, true, 6, 0.006}, {256, false, 10, 0.005}, {256, true, 6, 0.0065}} {
		t.Run(fmt.Sprintf("batch=%d/%s", c.batch, nameKind(c.minted)), func(t *testing.T) {
			const decisions = 8192
			m := newMiniature(t, 3)
			m.decide(t, decisions, c.batch, c.minted) // until tables and buffers have their size
			var before, after runtime.MemStats
			sent, packets := m.sent()
			runtime.GC()
			runtime.ReadMemStats(&before)
			m.decide(t, decisions, c.batch, c.minted)
			runtime.ReadMemStats(&after)
			require.Equal(t, 2*decisions, m.decided)
			moreSent, morePackets := m.sent()
			per := func(n uint64) float64 { return float64(n) / decisions }
			got := []float64{per(after.Mallocs - before.Mallocs), per(after.TotalAlloc - before.TotalAlloc), per(morePackets - packets), per(moreSent - sent)}
			t.Logf("allocations, bytes, packets, messages: %.3f", got)
			for i, want := range []float64{allocations, bytes, c.messages/float64(c.batch) + c.packets, c.messages + pulls} {
				assert.InEpsilon(t, want, got[i], 0.02, "figure %d", i)
			}
		})
	}
}

// sent returns how many messages and packets all servers have sent.
func (m *miniature) sent() (messages, packets uint64) {
	for _, r := range m.replicas {
		c := r.Status(m.now).Counters
		for _, n := range c.Sent {
			messages += n
		}
		packets += c.Packets
	}
	return messages, packets
}
