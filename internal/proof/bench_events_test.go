package proof_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/wal"
)

// BenchmarkEvents measures what it costs that each server keeps its events. Three servers in one process decide fresh
// instances as in BenchmarkDecide, in turns without and with the events. on/off is the median of 20 pairs of turns.
//
//	go test -run '^$' -bench Events -benchtime 2000000x ./internal/proof
//	go test -run '^$' -bench Events/disk -benchtime 40000x ./internal/proof
func BenchmarkEvents(b *testing.B) {
	for _, on := range []string{"memory", "disk"} {
		for _, callers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", on, callers), func(b *testing.B) { benchEvents(b, on == "disk", callers) })
		}
	}
}

func benchEvents(b *testing.B, onDisk bool, callers int) {
	const pairs = 20
	nodes := memoryNodes(b)
	if onDisk {
		nodes = diskNodes(b)
	}
	made := 0
	turn := func(n int, on bool) time.Duration {
		for _, node := range nodes {
			node.SetTracing(on)
		}
		decideAll(b, nodes, callers, made, made+n/4) // until the rings have thinned out what happens
		made += n / 4
		from := made
		made += n
		return decideAll(b, nodes, callers, from, made)
	}
	each := max(b.N/2/pairs, 1)
	var took [2]time.Duration
	var ratios []float64
	for pair := range pairs {
		first := pair%2 == 1 // which of the two comes first
		var times [2]time.Duration
		for _, on := range []bool{first, !first} {
			d := turn(each, on)
			if on {
				times[1] = d
			} else {
				times[0] = d
			}
		}
		took[0], took[1] = took[0]+times[0], took[1]+times[1]
		ratios = append(ratios, times[0].Seconds()/times[1].Seconds())
	}
	slices.Sort(ratios)
	b.ReportMetric(float64(each*pairs)/took[0].Seconds(), "off/s")
	b.ReportMetric(float64(each*pairs)/took[1].Seconds(), "on/s")
	b.ReportMetric(ratios[len(ratios)/2], "on/off")
}

// decideAll has the instances from number from to number to decided, by so many callers at the first server.
func decideAll(b *testing.B, nodes []*node.Node, callers, from, to int) time.Duration {
	value := paxos.Value(make([]byte, 64))
	var next atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < to; i = int(next.Add(1)) - 1 {
				if _, err := nodes[0].Propose(context.Background(), benchName(i), value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

func memoryNodes(b *testing.B) []*node.Node {
	nodes, stop, err := memory.Cluster(memory.Config{})
	require.NoError(b, err)
	b.Cleanup(stop)
	return nodes
}

// diskNodes starts three servers that each have a log in a directory.
func diskNodes(b *testing.B) (nodes []*node.Node) {
	members := paxos.Members{Cluster: "bench", Acceptors: []paxos.ServerID{1, 2, 3}}
	network := memory.NewNetwork()
	for _, id := range members.Acceptors {
		dir := b.TempDir()
		require.NoError(b, wal.Create(dir, id, members))
		log, err := wal.Open(dir, wal.Options{})
		require.NoError(b, err)
		n, err := node.Start(context.Background(), node.Config{ID: id, Members: members, Storage: log, Transport: network.Join(id)})
		require.NoError(b, err)
		b.Cleanup(func() { n.Close(); log.Close() })
		nodes = append(nodes, n)
	}
	return nodes
}
