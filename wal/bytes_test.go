package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
	"github.com/singledecree/paxos/internal/disk/disktest"
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

// A longFS notes each write, and has Reserve fail with that error.
type longFS struct {
	*disktest.FS
	reserve error

	mu              sync.Mutex
	zeros, reserved int64
	long            int    // writes of 128 KiB and more
	astray          string // such a write that does not lie in memory as in the file
}

func (f *longFS) OpenDir(name string) (disk.Dir, error) {
	d, err := f.FS.OpenDir(name)
	return longDir{d, f}, err
}

type longDir struct {
	disk.Dir
	fs *longFS
}

func (d longDir) Create(name string) (disk.File, error) {
	f, err := d.Dir.Create(name)
	return &longFile{f, d.fs, name}, err
}

func (d longDir) Open(name string, write bool) (disk.File, error) {
	f, err := d.Dir.Open(name, write)
	return &longFile{f, d.fs, name}, err
}

type longFile struct {
	disk.File
	fs   *longFS
	name string
}

func (f *longFile) Reserve(n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.reserve != nil {
		return f.fs.reserve
	}
	f.fs.reserved += n
	return f.File.Reserve(n)
}

func (f *longFile) WriteAt(b []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if len(b) > 0 && bytes.Equal(b, make([]byte, len(b))) {
		f.fs.zeros += int64(len(b))
	}
	if len(b) >= 128<<10 {
		f.fs.long++
		if in := uintptr(unsafe.Pointer(unsafe.SliceData(b))); int64(in%disk.PageSize) != at%disk.PageSize {
			f.fs.astray = fmt.Sprintf("%d bytes at %d of %s lie at %d of a page", len(b), at, f.name, in%disk.PageSize)
		}
	}
	return f.File.WriteAt(b, at)
}

// openLong opens a new log on fs. It is to be closed.
func openLong(t *testing.T, fs *longFS) *Log {
	t.Helper()
	require.NoError(t, create(fs, dir, 1, members))
	l, err := Open(dir, Options{fs: fs, inline: true})
	require.NoError(t, err)
	return l
}

// The room for long batches is reserved, and not written. Where it can't be reserved, it is written. Short batches have their room written.
func TestLongBatchesAreWrittenOnce(t *testing.T) {
	const saves = 40
	for name, c := range map[string]struct {
		value        int
		reserve      error
		zeros, least int64 // of zeros, at most; of what is reserved
	}{
		"long":        {1 << 20, nil, 4 << 20, saves << 20},
		"not offered": {1 << 20, errors.ErrUnsupported, 1 << 40, 0},
		"short":       {100 << 10, nil, 1 << 40, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fs := &longFS{FS: disktest.New(), reserve: c.reserve}
			l := openLong(t, fs)
			value := strings.Repeat("v", c.value)
			for i := range saves {
				require.NoError(t, l.Save(batchOf(voted(fmt.Sprint(i), 1, value))))
			}
			require.NoError(t, l.Close())
			require.LessOrEqual(t, fs.zeros, c.zeros)
			require.GreaterOrEqual(t, fs.reserved, c.least)
			if c.least == 0 {
				require.Zero(t, fs.reserved)
				require.Greater(t, fs.zeros, int64(1<<20))
			}
			l, err := Open(dir, Options{fs: fs, inline: true})
			require.NoError(t, err)
			for i := range saves {
				r, err := l.Load(fmt.Sprint(i))
				require.NoError(t, err)
				require.Equal(t, voted(fmt.Sprint(i), 1, value), r)
			}
			require.NoError(t, l.Close())
		})
	}
}

// A long batch lies in memory as in its file. So it can be written around the cache of the system.
func TestLongBatchesLieAsInTheFile(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	x := rand.New(rand.NewPCG(seed, 1))
	fs := &longFS{FS: disktest.New()}
	l := openLong(t, fs)
	names := 0
	for range 60 {
		var b paxos.Batch
		for range 1 + x.IntN(4) {
			names++
			b.Records = append(b.Records, voted(fmt.Sprint(names), 1, strings.Repeat("v", x.IntN(1<<20))))
		}
		require.NoError(t, l.Save(b))
		require.Empty(t, fs.astray)
		if x.IntN(3) == 0 {
			require.NoError(t, l.Save(counted(l, batchOf(chosen(b.Records[0], uint64(names))))))
		}
	}
	require.Greater(t, fs.long, 40)
	require.Greater(t, len(l.row), 3)
	require.Empty(t, fs.astray)
	require.NoError(t, l.Close())
}

// A batch is made where it is to lie in memory. Only one that goes to another segment than it was made for is moved.
func TestEncoderMakesBatchesInTheirPlace(t *testing.T) {
	var e encoder
	value := strings.Repeat("v", 1<<20)
	for _, offset := range []int64{dataStart, dataStart + 8, 1<<20 - 8, 1<<20 + 4000} {
		b := batchOf(voted("a", 1, value), voted("b", 1, value))
		require.NoError(t, e.encode(&b, nil, offset))
		place := func() int64 { return int64(uintptr(unsafe.Pointer(&e.buf[0])) % disk.PageSize) }
		require.Equal(t, offset%disk.PageSize, place())
		at, made := &e.buf[0], bytes.Clone(e.buf)
		e.move(offset)
		require.Same(t, at, &e.buf[0])
		e.move(dataStart)
		require.Zero(t, place())
		require.True(t, bytes.Equal(made, e.buf))
	}
	require.LessOrEqual(t, cap(e.room), maxKept)
}
