package wal

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

var benchValue = paxos.Value(strings.Repeat("v", 64))

// openNew returns a new log on the real file system, and its directory.
func openNew(t testing.TB, o Options) (*Log, string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, Create(dir, 1, members))
	l, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l, dir
}

func benchName(i int) string { return fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15) }

// fill saves n instances as a server does that votes in all of them: promise, vote, decision, in batches.
func fill(t testing.TB, l *Log, n int) {
	const batch = 500
	for from := 0; from < n; from += batch {
		fillSome(t, l, from, batch, batch, benchValue)
	}
}

// fillSome saves n instances from that number on, so many in a batch: first the promises for all, then the votes, then the decisions.
func fillSome(t testing.TB, l *Log, from, n, batch int, value paxos.Value) {
	records := make([]paxos.Record, n)
	for i := range records {
		records[i] = paxos.Record{Instance: benchName(from + i), Acceptor: paxos.Acceptor{Promised: ballot(1)}}
	}
	for phase := range 3 {
		for i := range records {
			r := &records[i]
			if phase > 0 {
				r.Acceptor.Accepted, r.Acceptor.Value = ballot(1), value
			}
			if phase == 2 {
				r.Chosen, r.Index = true, uint64(from+i+1)
			}
		}
		for i := 0; i < n; i += batch {
			require.NoError(t, l.Save(paxos.Batch{Records: records[i:min(i+batch, n)]}))
		}
	}
}

// BenchmarkSaveOne is one writer, who waits for each record: 16-byte names, 64-byte values. "raw" appends as many bytes to a file of zeros,
// and syncs. It measures the disk by itself. Saves and appends take turns, since a machine is never the same twice.
func BenchmarkSaveOne(b *testing.B) {
	l, _ := openNew(b, Options{})
	state := l.state
	state.Last = 1 << 40 // no Index is above it
	require.NoError(b, l.Save(paxos.Batch{Server: &state}))
	raw, err := l.fs.Create("raw")
	require.NoError(b, err)
	defer raw.Close()
	const size, record = 16 << 20, 176
	_, err = raw.WriteAt(make([]byte, size), 0)
	require.NoError(b, err)
	require.NoError(b, raw.Sync())
	bytes := make([]byte, record)
	var took [2][]time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	const turn = 50
	for i := 0; i < b.N; i++ {
		began := time.Now()
		which := i / turn % 2
		if which == 0 {
			r := decided(benchName(i), uint64(i+1), "")
			r.Acceptor.Value = benchValue
			if err := l.Save(batchOf(r)); err != nil {
				b.Fatal(err)
			}
		} else {
			if _, err := raw.WriteAt(bytes, int64(i)*record%(size-record)); err != nil {
				b.Fatal(err)
			}
			if err := raw.Sync(); err != nil {
				b.Fatal(err)
			}
		}
		took[which] = append(took[which], time.Since(began))
	}
	mean := func(ds []time.Duration) float64 {
		sum := time.Duration(0)
		for _, d := range ds {
			sum += d
		}
		return float64(sum) / float64(max(len(ds), 1))
	}
	b.ReportMetric(1e9/mean(took[0]), "saves/s")
	b.ReportMetric(1e9/max(mean(took[1]), 1), "raw/s")
	b.ReportMetric(mean(took[1])/mean(took[0]), "of-raw")
}

// BenchmarkReopen opens a log of a million decided instances. It reports what the index takes in memory, and how much disk there is
// for each byte of names and values.
func BenchmarkReopen(b *testing.B) {
	const n = 1_000_000
	l, dir := openNew(b, Options{})
	fill(b, l, n)
	for !settled(l) {
		runtime.Gosched()
	}
	require.NoError(b, l.Close())
	l = nil
	b.ResetTimer()
	var before, after runtime.MemStats
	for range b.N {
		b.StopTimer()
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		var err error
		l, err = Open(dir, Options{})
		require.NoError(b, err)
		b.StopTimer()
		require.Equal(b, n, l.Stats().Decided)
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		require.NoError(b, l.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-B/instance")
	b.ReportMetric(float64(diskUsage(b, dir))/n/(16+64), "disk/live")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/open")
}

// settled reports whether the worker has nothing left to do.
func settled(l *Log) bool {
	run, _ := l.worthwhile()
	l.plan.Lock()
	defer l.plan.Unlock()
	for _, s := range l.row {
		if s.closed && !s.hinted {
			return false
		}
	}
	return len(run) == 0 && l.prepared != nil
}

func diskUsage(t testing.TB, dir string) (bytes int64) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		bytes += info.Size()
	}
	return bytes
}

// BenchmarkSaveWhileCompacting compares how long Saves of 64 records take at p99.9 while the log compacts and while it does not. One of two
// logs compacts as soon as there is something to gain, and not only when no Save comes. They take turns of many Saves. Each waits until the
// other's worker is done.
func BenchmarkSaveWhileCompacting(b *testing.B) {
	busy, _ := openNew(b, Options{eager: true})
	calm, _ := openNew(b, Options{})
	records := make([]paxos.Record, 64)
	var during, without []time.Duration
	const turn = 2500
	b.ResetTimer()
	for i := range b.N {
		n := i/turn/2*turn + i%turn // of this log
		for k := range records {
			records[k] = voted(benchName(n/3*64+k), uint64(1+n%3), "")
			records[k].Acceptor.Value = benchValue
		}
		l := busy
		if i/turn%2 == 1 {
			l = calm
		}
		if i%turn == 0 {
			b.StopTimer()
			require.Eventually(b, func() bool { return settled(busy) && settled(calm) }, time.Minute, 10*time.Millisecond)
			b.StartTimer()
		}
		compacts := !settled(l)
		began := time.Now()
		if err := l.Save(paxos.Batch{Records: records}); err != nil {
			b.Fatal(err)
		}
		switch took := time.Since(began); {
		case l == calm:
			without = append(without, took)
		case compacts || !settled(l):
			during = append(during, took)
		}
	}
	report := func(name string, ds []time.Duration) float64 {
		if len(ds) == 0 {
			return 0
		}
		slices.Sort(ds)
		at := float64(ds[len(ds)*999/1000])
		b.ReportMetric(at/1e3, name+"-p99.9-us")
		b.ReportMetric(float64(ds[len(ds)-1])/1e3, name+"-max-us")
		b.ReportMetric(float64(len(ds)), name+"-n")
		return at
	}
	if w, d := report("without", without), report("during", during); w > 0 {
		b.ReportMetric(d/w, "during/without")
	}
}
