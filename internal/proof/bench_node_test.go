package proof_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// BenchmarkDecide measures decisions of fresh instances by 3 servers in one process, memory storage and network, 16-byte
// names, or minted ones, 64-byte values. Callers wait for their decision before they ask for the next. An op is a decision.
//
//	go test -run '^$' -bench Decide -benchtime 2s ./internal/proof
func BenchmarkDecide(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		for _, spread := range []bool{false, true} {
			where := "one"
			if spread {
				where = "spread"
			}
			for _, minted := range []bool{false, true} {
				b.Run(fmt.Sprintf("callers=%d/at=%s/%s", callers, where, nameKind(minted)), func(b *testing.B) { benchDecide(b, callers, spread, minted) })
			}
		}
	}
}

func benchDecide(b *testing.B, callers int, spread, minted bool) {
	nodes, stop, err := memory.Cluster(memory.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	value := paxos.Value(make([]byte, 64))
	before := totals(nodes)
	latencies := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range callers {
		node := nodes[0]
		if spread {
			node = nodes[c%len(nodes)]
		}
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				began, name := time.Now(), ""
				if minted {
					name, _ = node.Mint("job")
				} else {
					name = benchName(i)
				}
				if _, err := node.Propose(context.Background(), name, value); err != nil {
					b.Error(err)
					return
				}
				latencies[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := totals(nodes)
	slices.Sort(latencies)
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(latencies[b.N/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(latencies[min(b.N*99/100, b.N-1)].Nanoseconds())/1e3, "p99-us")
	b.ReportMetric(float64(after.saves-before.saves)/n, "saves/decision")
	b.ReportMetric(float64(after.messages-before.messages)/n, "messages/decision")
	b.ReportMetric(float64(after.packets-before.packets)/n, "packets/decision")
}

// benchName returns a 16-byte name, other for each i.
func benchName(i int) string {
	const digits = "0123456789abcdef"
	var bin [8]byte
	binary.BigEndian.PutUint64(bin[:], uint64(i)*0x9E3779B97F4A7C15)
	var name [16]byte
	for j, x := range bin {
		name[2*j], name[2*j+1] = digits[x>>4], digits[x&15]
	}
	return string(name[:])
}

type total struct{ saves, messages, packets uint64 }

func totals(nodes []*node.Node) (t total) {
	for _, n := range nodes {
		c := n.Status().Counters
		t.saves += c.Saves
		t.packets += c.Packets
		for _, sent := range c.Sent {
			t.messages += sent
		}
	}
	return t
}
