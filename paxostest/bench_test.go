package paxostest_test

import (
	"testing"

	"github.com/singledecree/paxos/paxostest"
)

// BenchmarkChaos runs one seed after the other, on one core, all invariants checked after every event.
func BenchmarkChaos(b *testing.B) {
	steps := 0
	for seed := uint64(0); b.Loop(); seed++ {
		r := paxostest.NewChaos(seed).Run(false)
		if r.Err != nil {
			b.Fatal(r.Err)
		}
		steps += r.Steps
	}
	b.ReportMetric(float64(steps)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(steps)/float64(b.N), "events/op")
}
