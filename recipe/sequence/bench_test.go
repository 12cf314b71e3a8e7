package sequence

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

// BenchmarkAppend measures appends of 64-byte entries by 3 servers on disk and TCP, in one process. Each server has one Log, and
// callers that append one entry after another. An op is an entry. attempts/entry counts each entry each time it is proposed;
// proposals/entry counts batches.
//
//	go test -run '^$' -bench Append -benchtime 2s ./recipe/sequence
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		for _, writers := range []int{1, 3} {
			b.Run(fmt.Sprintf("writers=%d/callers=%d", writers, callers), func(b *testing.B) { benchAppend(b, writers, callers) })
		}
	}
}

// counted counts what is proposed.
type counted struct {
	*node.Node
	proposals, attempts *atomic.Int64
}

func (c counted) Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error) {
	c.proposals.Add(1)
	if batch, err := decode(paxos.Decision{Value: v}); err == nil {
		c.attempts.Add(int64(len(batch.entries)))
	}
	return c.Node.Propose(ctx, instance, v)
}

func benchAppend(b *testing.B, writers, callers int) {
	nodes := onDisk(b, 3)
	var proposals, attempts, next atomic.Int64
	var wg sync.WaitGroup
	ctx := b.Context()
	value := paxos.Value(make([]byte, 64))
	b.ResetTimer()
	for _, n := range nodes[:writers] {
		log, err := New(counted{n, &proposals, &attempts}, "log")
		require.NoError(b, err)
		for range callers {
			wg.Go(func() {
				for next.Add(1) <= int64(b.N) {
					if _, err := log.Append(ctx, value); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(attempts.Load())/n, "attempts/entry")
	b.ReportMetric(float64(proposals.Load())/n, "proposals/entry")
}

// onDisk starts servers on disk and TCP.
func onDisk(b *testing.B, servers int) (nodes []*node.Node) {
	m, peers, listeners := paxos.Members{Cluster: "bench"}, map[paxos.ServerID]string{}, map[paxos.ServerID]net.Listener{}
	for i := range servers {
		id := paxos.ServerID(i + 1)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		m.Acceptors, peers[id], listeners[id] = append(m.Acceptors, id), l.Addr().String(), l
	}
	ctx, stop := context.WithTimeout(b.Context(), 30*time.Second)
	defer stop()
	for _, id := range m.Acceptors {
		dir := filepath.Join(b.TempDir(), fmt.Sprint(id))
		require.NoError(b, wal.Create(dir, id, m))
		log, err := wal.Open(dir, wal.Options{})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, log.Close()) })
		others := map[paxos.ServerID]string{}
		for peer, addr := range peers {
			if peer != id {
				others[peer] = addr
			}
		}
		transport, err := tcp.Listen(tcp.Config{ID: id, Members: m, Listener: listeners[id], Peers: others, Plain: true})
		require.NoError(b, err)
		b.Cleanup(func() { transport.Close() })
		n, err := node.Start(ctx, node.Config{ID: id, Members: m, Storage: log, Transport: transport})
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, n.Close()) })
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		require.NoError(b, n.Ready(ctx))
	}
	return nodes
}
