package wal

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// A countingFS counts the bytes that are written to the machine's file system.
type countingFS struct {
	disk.OS
	zeros, rest atomic.Int64
}

func (c *countingFS) OpenDir(name string) (disk.Dir, error) {
	d, err := c.OS.OpenDir(name)
	return countingDir{d, c}, err
}

type countingDir struct {
	disk.Dir
	fs *countingFS
}

func (c countingDir) Create(name string) (disk.File, error) {
	f, err := c.Dir.Create(name)
	return countingFile{f, c.fs}, err
}

func (c countingDir) Open(name string, write bool) (disk.File, error) {
	f, err := c.Dir.Open(name, write)
	return countingFile{f, c.fs}, err
}

type countingFile struct {
	disk.File
	fs *countingFS
}

func (f countingFile) WriteAt(b []byte, at int64) (int, error) {
	if isZero(b[:min(len(b), 64)]) && isZero(b) {
		f.fs.zeros.Add(int64(len(b)))
	} else {
		f.fs.rest.Add(int64(len(b)))
	}
	return f.File.WriteAt(b, at)
}

// BenchmarkBytes is what a decision costs in bytes: values of some size, with 16-byte names, and so many instances open at a time. It reports what
// is written for each, and how much of that is zeros ahead.
func BenchmarkBytes(b *testing.B) {
	for _, c := range []struct{ size, open, n int }{
		{64, 1, 500}, {64, 256, 100_000}, {1 << 10, 256, 25_000}, {1 << 20, 1, 100}, {1 << 20, 4, 100}, {1 << 20, 16, 128},
	} {
		b.Run(fmt.Sprintf("size=%d/open=%d", c.size, c.open), func(b *testing.B) {
			dir := b.TempDir()
			require.NoError(b, Create(dir, 1, members))
			fs := &countingFS{}
			l, err := Open(dir, Options{fs: fs})
			require.NoError(b, err)
			defer l.Close()
			fs.zeros.Store(0)
			fs.rest.Store(0)
			value, decisions := paxos.Value(strings.Repeat("v", c.size)), 0
			for range b.N {
				for range c.n / c.open {
					fillSome(b, l, decisions, c.open, max(1, 4<<20/c.size), value)
					decisions += c.open
				}
			}
			b.ReportMetric(float64(fs.rest.Load())/float64(decisions), "B/decision")
			b.ReportMetric(float64(fs.zeros.Load())/float64(decisions), "zeros/decision")
		})
	}
}
