package proof_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var acceptorCounts = []int{3, 5, 7, 9, 15, 31, 63}

// TestAcceptorsTable measures what a decision costs by how many acceptors there are, and compares the table of docs/performance.md with
// it. With -update it writes it. The times are those of BenchmarkAcceptors.
func TestAcceptorsTable(t *testing.T) {
	text := "|  | acceptors | messages | packets | bytes | packets, 16 side by side | bytes | records saved |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"
	for _, name := range []string{"classic", "standing", "minted"} {
		for _, n := range acceptorCounts {
			alone, side := decisionCost(t, n, 1, name), decisionCost(t, n, 16, name)
			phases := 2
			if name != "classic" {
				phases = 1
			}
			assert.InDelta(t, (2*phases+1)*(n-1), alone.messages, 0.5, "%s, %d acceptors: a question and an answer a phase, and the decision", name, n)
			assert.InDelta(t, alone.messages, side.messages, 0.5)
			text += fmt.Sprintf("| %s | %d | %.0f | %.0f | %.0f | %.1f | %.0f | %.0f |\n", name, n, alone.messages, alone.packets, alone.bytes, side.packets, side.bytes, alone.records)
		}
	}
	requireSection(t, "acceptors", text)
}

// costs are those of a decision, over all servers.
type costs struct{ messages, packets, bytes, records float64 }

// decisionCost returns what each of some decisions of 64 bytes costs n acceptors. So many are decided side by side.
func decisionCost(t *testing.T, n, batch int, kind string) costs {
	const decisions = 64
	m := newMiniature(t, n)
	minted := kind == "minted"
	m.decide(t, decisions, batch, minted) // until all have met
	if kind == "standing" {
		m.stand(t)
	}
	m.buffer = []byte{}
	messages, packets := m.sent()
	records := m.records()
	m.decide(t, decisions, batch, minted)
	require.Equal(t, 2*decisions, m.decided)
	moreMessages, morePackets := m.sent()
	return costs{float64(moreMessages-messages) / decisions, float64(morePackets-packets) / decisions, float64(m.bytes) / decisions,
		float64(m.records()-records) / decisions}
}

// records returns how many records all servers have saved.
func (m *miniature) records() (n uint64) {
	for _, r := range m.replicas {
		n += r.Status(m.now).Counters.Records
	}
	return n
}

// BenchmarkAcceptors measures what a decision costs that many acceptors with storages in memory, in one goroutine, without Node and
// network. An op is a decision, and 16 are decided side by side. The bytes sent are those of all packets, pulls among them.
//
//	go test -run '^$' -bench Acceptors -benchtime 20000x ./internal/proof
func BenchmarkAcceptors(b *testing.B) {
	for _, kind := range []string{"classic", "standing", "minted"} {
		for _, n := range acceptorCounts {
			b.Run(fmt.Sprintf("acceptors=%d/%s", n, kind), func(b *testing.B) {
				m, minted := newMiniature(b, n), kind == "minted"
				m.decide(b, 1024, 16, minted)
				if kind == "standing" {
					m.stand(b)
				}
				b.ReportAllocs()
				b.ResetTimer()
				m.decide(b, b.N, 16, minted)
				b.StopTimer()
				m.buffer = []byte{}
				m.decide(b, b.N, 16, minted)
				b.ReportMetric(float64(m.bytes)/float64(b.N), "sent-B/op")
			})
		}
	}
}
