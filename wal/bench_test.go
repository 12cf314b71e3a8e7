package wal

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

var members3 = paxos.Members{Cluster: "bench", Acceptors: []paxos.ServerID{1, 2, 3}}

func openNew(t testing.TB, o Options) (*Log, string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, Create(dir, 1, members3))
	l, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l, dir
}

// A gatherer has many writers share Saves, as the Node does: while one runs, the next batch gathers.
type gatherer struct {
	mu    sync.Mutex
	wait  *sync.Cond
	next  []paxos.Record
	begun uint64 // batches
	saved uint64
}

func (g *gatherer) put(r paxos.Record) {
	g.mu.Lock()
	g.next = append(g.next, r)
	mine := g.begun + 1
	g.wait.Broadcast()
	for g.saved < mine {
		g.wait.Wait()
	}
	g.mu.Unlock()
}

var benchValue = paxos.Value(strings.Repeat("v", 64))

// BenchmarkSave saves records of 16-byte names and 64-byte values, from so many writers that each wait for their own.
func BenchmarkSave(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l, _ := openNew(b, Options{})
			var latencies []time.Duration
			var mu sync.Mutex
			b.ReportAllocs()
			b.ResetTimer()
			benchSaves(b, l.Save, writers, func(d []time.Duration) {
				mu.Lock()
				latencies = append(latencies, d...)
				mu.Unlock()
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func benchSaves(b *testing.B, save func(paxos.Batch) error, writers int, report func([]time.Duration)) {
	g := &gatherer{}
	g.wait = sync.NewCond(&g.mu)
	done := make(chan error)
	left := b.N
	go func() {
		var batch []paxos.Record
		for left > 0 {
			g.mu.Lock()
			for len(g.next) == 0 {
				g.wait.Wait()
			}
			batch, g.next = g.next, batch[:0]
			g.begun++
			g.mu.Unlock()
			err := save(paxos.Batch{Records: batch})
			if err != nil {
				done <- err
				return
			}
			left -= len(batch)
			g.mu.Lock()
			g.saved++
			g.wait.Broadcast()
			g.mu.Unlock()
		}
		done <- nil
	}()
	for w := range writers {
		go func() {
			for i := w; i < b.N; i += writers {
				g.put(paxos.Record{Instance: fmt.Sprintf("%016d", i), Chosen: true, Index: uint64(i + 1),
					Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 1, Server: 1}, Accepted: paxos.Ballot{Round: 1, Server: 1}, Value: benchValue}})
			}
		}()
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRaw appends as many bytes as one record needs to a file of zeros, and syncs: what the disk can do.
func BenchmarkRaw(b *testing.B) {
	f, err := disk.OS{}.Create(b.TempDir() + "/raw")
	require.NoError(b, err)
	defer f.Close()
	const size = 64 << 20
	for at := int64(0); at < size; at += 1 << 20 {
		_, err := f.WriteAt(make([]byte, 1<<20), at)
		require.NoError(b, err)
	}
	require.NoError(b, f.Sync())
	record := []byte(strings.Repeat("r", 128))
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.WriteAt(record, int64(i)*128%size); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

var _ = os.Getpid
