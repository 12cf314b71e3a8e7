package compare

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/bbolt"
	"github.com/singledecree/paxos/adapters/pebble"
	"github.com/singledecree/paxos/wal"
)

const (
	rounds   = 3
	duration = time.Second // of each measurement
)

var members = paxos.Members{Cluster: "compare", Acceptors: []paxos.ServerID{1, 2, 3}}

// A contestant opens something that writers can put records into, each waiting for its own. stop ends it.
type contestant struct {
	name string
	open func(t testing.TB, dir string, writers int) (put func(paxos.Record) error, stop func())
}

var contestants = []contestant{{"raw", openRaw}, {"wal", openWAL}, {"pebble", openPebble}, {"adapters/pebble", openPebbleAdapter},
	{"adapters/bbolt", openBbolt}}

// A closer is a storage that can be closed.
type closer interface {
	paxos.Storage
	Close() error
}

// gathered has writers share the Saves of a storage. A single one saves by itself, as there is nobody to share with.
func gathered(t testing.TB, s closer, writers int) (func(paxos.Record) error, func()) {
	state, err := s.Server()
	require.NoError(t, err)
	state.Last = 1 << 62 // no Index of a record is above it
	require.NoError(t, s.Save(paxos.Batch{Server: &state}))
	if writers == 1 {
		records := make([]paxos.Record, 1)
		return func(r paxos.Record) error {
			records[0] = r
			return s.Save(paxos.Batch{Records: records})
		}, func() { require.NoError(t, s.Close()) }
	}
	g := newGatherer(s.Save)
	return g.put, func() {
		g.close()
		require.NoError(t, s.Close())
	}
}

func openWAL(t testing.TB, dir string, writers int) (func(paxos.Record) error, func()) {
	require.NoError(t, wal.Create(dir, 1, members))
	s, err := wal.Open(dir, wal.Options{})
	require.NoError(t, err)
	return gathered(t, s, writers)
}

func openBbolt(t testing.TB, dir string, writers int) (func(paxos.Record) error, func()) {
	s, err := bbolt.Open(filepath.Join(dir, "paxos.db"), nil)
	require.NoError(t, err)
	require.NoError(t, paxos.Format(s, 1, members))
	return gathered(t, s, writers)
}

func openPebbleAdapter(t testing.TB, dir string, writers int) (func(paxos.Record) error, func()) {
	s, err := pebble.Open(dir, nil)
	require.NoError(t, err)
	require.NoError(t, paxos.Format(s, 1, members))
	return gathered(t, s, writers)
}

// openPebble is pebble by itself, which gathers by itself: a put of name and value, and nothing beside.
func openPebble(t testing.TB, dir string, _ int) (func(paxos.Record) error, func()) {
	db, err := pebbledb.Open(dir, &pebbledb.Options{Logger: quiet{}})
	require.NoError(t, err)
	return func(r paxos.Record) error {
		return db.Set([]byte(r.Instance), []byte(r.Acceptor.Value), pebbledb.Sync)
	}, func() { require.NoError(t, db.Close()) }
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// openRaw is what one writer can have of the disk: 128 bytes appended to a file of zeros, and synced. More writers gather.
func openRaw(t testing.TB, dir string, writers int) (func(paxos.Record) error, func()) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	require.NoError(t, err)
	const size, record = 64 << 20, 128
	zero := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zero)) {
		_, err := f.WriteAt(zero, at)
		require.NoError(t, err)
	}
	require.NoError(t, f.Sync())
	at := int64(0)
	buf := make([]byte, record*max(writers, 1))
	for i := range buf {
		buf[i] = byte(i)
	}
	save := func(b paxos.Batch) error {
		n := int64(len(b.Records) * record)
		if at+n > size {
			at = 0
		}
		if _, err := f.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += n
		return datasync(f)
	}
	stop := func() { require.NoError(t, f.Close()) }
	if writers == 1 {
		b := paxos.Batch{Records: make([]paxos.Record, 1)}
		return func(paxos.Record) error { return save(b) }, stop
	}
	g := newGatherer(save)
	return g.put, func() { g.close(); stop() }
}

// measure has writers put records for a while, and returns how many a second were put, and how long the puts took.
func measure(t testing.TB, c contestant, writers int) (rate float64, took []time.Duration) {
	dir := t.TempDir()
	defer func() {
		if err := os.RemoveAll(dir); !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
	}()
	put, stop := c.open(t, dir, writers)
	value := paxos.Value(strings.Repeat("v", 64))
	one := paxos.Ballot{Round: 1, Server: 1}
	var next atomic.Uint64
	var failed atomic.Pointer[error]
	took2 := make([][]time.Duration, writers)
	var all sync.WaitGroup
	began := time.Now()
	for w := range writers {
		all.Go(func() {
			for time.Since(began) < duration {
				i := next.Add(1)
				from := time.Now()
				if err := put(paxos.Record{Instance: fmt.Sprintf("%016x", i*0x9e3779b97f4a7c15), Chosen: true, Index: i,
					Acceptor: paxos.Acceptor{Promised: one, Accepted: one, Value: value}}); err != nil {
					failed.Store(&err)
					return
				}
				took2[w] = append(took2[w], time.Since(from))
			}
		})
	}
	all.Wait()
	elapsed := time.Since(began)
	stop()
	if err := failed.Load(); err != nil {
		t.Fatalf("%s: %v", c.name, *err)
	}
	took = slices.Concat(took2...)
	return float64(len(took)) / elapsed.Seconds(), took
}

// BenchmarkSave measures 1, 16 and 256 writers, which save records of 16-byte names and 64-byte values. The storages take turns, for
// several rounds. It prints the medians, and their ratios to the others.
func BenchmarkSave(b *testing.B) {
	for range b.N {
		var table strings.Builder
		fmt.Fprintf(&table, "\n%8s  %-16s %12s %10s %10s %8s %8s\n", "writers", "storage", "records/s", "p50 us", "p99 us", "/ raw", "/ pebble")
		for _, writers := range []int{1, 16, 256} {
			rates := map[string][]float64{}
			took := map[string][]time.Duration{}
			for range rounds {
				for _, c := range contestants {
					rate, ds := measure(b, c, writers)
					rates[c.name] = append(rates[c.name], rate)
					took[c.name] = append(took[c.name], ds...)
				}
			}
			raw, peer := median(rates["raw"]), median(rates["pebble"])
			for _, c := range contestants {
				rate, ds := median(rates[c.name]), took[c.name]
				slices.Sort(ds)
				fmt.Fprintf(&table, "%8d  %-16s %12.0f %10.0f %10.0f %8.2f %8.2f\n", writers, c.name, rate, micros(ds[len(ds)/2]),
					micros(ds[len(ds)*99/100]), rate/raw, rate/peer)
				b.ReportMetric(rate, fmt.Sprintf("%s-%d/s", c.name, writers))
			}
		}
		fmt.Println(table.String())
	}
}

func median[T cmp.Ordered](of []T) T {
	slices.Sort(of)
	return of[len(of)/2]
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

// All contestants keep what is put, or fail: a benchmark of what does not work would say nothing.
func TestContestants(t *testing.T) {
	for _, c := range contestants {
		for _, writers := range []int{1, 16} {
			rate, took := measure(t, c, writers)
			require.Positive(t, rate, c.name)
			require.NotEmpty(t, took, c.name)
		}
	}
}
