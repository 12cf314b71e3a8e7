package prometheus

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/wal"
)

// BenchmarkMetrics measures what metrics cost. Three servers in one process decide instances, in turns without and with metrics at each of
// them. Each turn has new servers, and ends with a scrape. on/off is the median of 20 pairs of turns.
//
//	go test -run '^$' -bench Metrics/memory -benchtime 4000000x .
//	go test -run '^$' -bench Metrics/disk/callers=1$ -benchtime 20000x .
//	go test -run '^$' -bench Metrics/disk/callers=16 -benchtime 200000x .
//	go test -run '^$' -bench Metrics/disk/callers=256 -benchtime 1600000x .
func BenchmarkMetrics(b *testing.B) {
	for _, on := range []string{"memory", "disk"} {
		for _, callers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", on, callers), func(b *testing.B) { benchMetrics(b, on == "disk", callers) })
		}
	}
}

func benchMetrics(b *testing.B, onDisk bool, callers int) {
	const pairs = 20
	each := max(b.N/2/pairs, 1)
	turn := func(on bool) time.Duration {
		nodes, registry := start(b, onDisk, on)
		runtime.GC()
		began := time.Now()
		decide(b, nodes[0], callers, each)
		_, err := registry.Gather()
		took := time.Since(began)
		require.NoError(b, err)
		for _, n := range nodes {
			n.Close()
		}
		return took
	}
	turn(true)
	var took [2]time.Duration
	var ratios []float64
	for pair := range pairs {
		first := pair%2 == 1 // which of the two comes first
		var times [2]time.Duration
		for i, on := range []bool{first, !first} {
			times[i] = turn(on)
		}
		if first {
			times[0], times[1] = times[1], times[0]
		}
		took[0], took[1] = took[0]+times[0], took[1]+times[1]
		ratios = append(ratios, times[0].Seconds()/times[1].Seconds())
	}
	slices.Sort(ratios)
	b.ReportMetric(float64(each*pairs)/took[0].Seconds(), "off/s")
	b.ReportMetric(float64(each*pairs)/took[1].Seconds(), "on/s")
	b.ReportMetric(ratios[len(ratios)/2], "on/off")
}

// start starts three servers. If on is true, the registry has their metrics.
func start(b *testing.B, onDisk, on bool) (nodes []*node.Node, registry *prom.Registry) {
	registry = prom.NewRegistry()
	members := paxos.Members{Cluster: "bench", Acceptors: []paxos.ServerID{1, 2, 3}}
	network := memory.NewNetwork()
	for _, id := range members.Acceptors {
		cfg := node.Config{ID: id, Members: members, Storage: storage(b, id, members, onDisk), Transport: network.Join(id)}
		m := New(id)
		if on {
			registry.MustRegister(m)
			cfg.Observer = m
		}
		n, err := node.Start(context.Background(), cfg)
		require.NoError(b, err)
		b.Cleanup(func() { n.Close() })
		m.Watch(n)
		nodes = append(nodes, n)
	}
	return nodes, registry
}

func storage(b *testing.B, id paxos.ServerID, members paxos.Members, onDisk bool) paxos.Storage {
	if !onDisk {
		s := memory.NewStorage()
		require.NoError(b, paxos.Format(s, id, members))
		return s
	}
	dir := b.TempDir()
	require.NoError(b, wal.Create(dir, id, members))
	log, err := wal.Open(dir, wal.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { log.Close() })
	return log
}

// decide has n instances decided, by so many callers.
func decide(b *testing.B, at *node.Node, callers, n int) {
	value := paxos.Value(make([]byte, 64))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if _, err := at.Propose(context.Background(), fmt.Sprintf("bench/%010d", i), value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkObserver measures one observation of each kind.
func BenchmarkObserver(b *testing.B) {
	m := New(1)
	b.Run("call", func(b *testing.B) {
		c := node.Call{Op: "propose", Outcome: node.OutcomeOK, Duration: 3 * time.Millisecond}
		for b.Loop() {
			m.Call(context.Background(), c)
		}
	})
	b.Run("round trip", func(b *testing.B) {
		for b.Loop() {
			m.RoundTrip(paxos.RoundTrip{Kind: paxos.KindAccept, Duration: time.Millisecond})
		}
	})
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			m.Save(node.Save{Duration: time.Millisecond, Records: 3, Bytes: 300})
		}
	})
}
