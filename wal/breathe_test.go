package wal

import (
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// The worker rests for as long as it has worked, unless nobody gains by it, or somebody waits.
func TestWorkerRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{}
		restedAtLeast := func(least, worked time.Duration) time.Duration {
			began := time.Now()
			l.rested = began.Add(-worked)
			l.rest(least)
			return time.Since(began)
		}
		rested := func(worked time.Duration) time.Duration { return restedAtLeast(0, worked) }
		require.Zero(t, rested(shortPiece), "it need not yet")
		require.Equal(t, 300*time.Microsecond, rested(300*time.Microsecond))
		require.Equal(t, longestRest, rested(time.Hour))
		require.Equal(t, writeRest, restedAtLeast(writeRest, shortPiece))
		require.Equal(t, 300*time.Microsecond, restedAtLeast(writeRest, 300*time.Microsecond))
		l.waited = true
		require.Zero(t, restedAtLeast(writeRest, time.Hour), "a Save waits for a segment")
		l.waited, l.rush = false, true
		require.Zero(t, rested(time.Hour), "there is too much garbage")
		l.rush = false
		l.resting.Store(true)
		require.Zero(t, rested(time.Hour), "no Saves come")
	})
}

// A segment that is needed is prepared between two pieces of other work; not again and again where there is no space for it.
func TestBreatheSeesToTheNextSegment(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	l.prepared = nil // the one that there is stays unused
	require.NoError(t, l.breathe())
	require.NotNil(t, l.prepared)

	l.prepared = nil
	fs.Limit = 1
	require.NoError(t, l.breathe(), "what was begun goes on")
	require.True(t, outOfSpace(l.failed), "whoever needs it is told")
	fs.Limit = 0
	require.NoError(t, l.breathe())
	require.Nil(t, l.prepared, "it waits until somebody asks")

	l.stopping = true
	require.ErrorIs(t, l.breathe(), errStopping)
	l.stopping = false
}

// The bytes of a Save begin their way to the disk before others go on, and before the Save waits for them: one write, one start, one sync.
func TestSaveStartsWhatItSyncs(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	before := len(fs.Ops())
	require.NoError(t, l.Save(paxos.Batch{Records: []paxos.Record{voted("a", 1, "pizza"), promised("b", 2)}}))
	ops := fs.Ops()[before:]
	require.Len(t, ops, 3)
	require.Equal(t, []disktest.OpKind{disktest.OpWrite, disktest.OpStart, disktest.OpSync}, []disktest.OpKind{ops[0].Kind, ops[1].Kind, ops[2].Kind})
	require.Equal(t, ops[0].At, ops[1].At)
	require.Equal(t, []string{ops[0].Name, ops[0].Name}, []string{ops[1].Name, ops[2].Name})
	require.NoError(t, l.Close())
}

// A rest that is several times as long as a piece has a bound, too.
func TestWorkerRestsForSomePieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openIn(t, created(t))
		l.options.inline = false
		l.resting.Store(false)
		rested := func(worked time.Duration) time.Duration {
			began := time.Now()
			l.rested = began
			require.NoError(t, l.breatheAfter(began.Add(-worked), 3))
			return time.Since(began)
		}
		require.Equal(t, 300*time.Microsecond, rested(100*time.Microsecond))
		require.Equal(t, mostRest, rested(time.Second))
		l.options.inline = true
		require.NoError(t, l.Close())
	})
}

// Goroutines that wake together with the worker go first.
func TestWorkerWakesLast(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			var woken atomic.Int32
			for range 8 {
				go func() {
					time.Sleep(time.Millisecond)
					woken.Add(1)
				}()
			}
			synctest.Wait()
			(&Log{}).rest(time.Millisecond)
			require.EqualValues(t, 8, woken.Load())
		})
	}
}

// A crowd is a directory in which each call makes a goroutine ready. It notes which calls found one that had not run.
type crowd struct {
	disk.Dir
	waits atomic.Int32
	found []string
}

func (c *crowd) call(what string) {
	if c.waits.Load() > 0 {
		c.found = append(c.found, what)
	}
	c.waits.Add(1)
	go c.waits.Add(-1)
}

func (c *crowd) Create(name string) (disk.File, error) {
	f, err := c.Dir.Create(name)
	c.call("create")
	return crowdFile{f, c}, err
}

func (c *crowd) Rename(from, to string) error {
	c.call("rename")
	return c.Dir.Rename(from, to)
}

func (c *crowd) Sync() error {
	c.call("sync of names")
	return c.Dir.Sync()
}

type crowdFile struct {
	disk.File
	crowd *crowd
}

func (f crowdFile) WriteAt(b []byte, at int64) (int, error) {
	f.crowd.call("write")
	return f.File.WriteAt(b, at)
}

func (f crowdFile) Sync() error {
	f.crowd.call("sync")
	return f.File.Sync()
}

// Each call for a new file may wait for the disk, and holds a processor meanwhile. So who waits for that goes first.
func TestNewFilesGiveWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	c := &crowd{Dir: disktest.At(created(t), dir)}
	require.NoError(t, writeFile(c, "file", []byte("text")))
	require.Empty(t, c.found)
}

// The worker rushes if a compaction with rests has not left less garbage, and until there is little. The garbage of a drop is no reason.
func TestCompactionRushesWhenGarbageGrows(t *testing.T) {
	s := &segment{closed: true}
	l := &Log{row: []*segment{s}}
	before := int64(math.MaxInt64)
	rushes := func(garbage int64) bool {
		s.end = dataStart + garbage
		before, l.rush = l.mustRush(before)
		return l.rush
	}
	require.False(t, rushes(100*slack))
	require.False(t, rushes(90*slack))
	require.True(t, rushes(90*slack))
	require.True(t, rushes(80*slack))
	require.False(t, rushes(2*slack))
	require.True(t, rushes(3*slack), "there is more again")
}

// A slowRemover is a directory that takes a millisecond to free a piece of a file. It frees three of each.
type slowRemover struct {
	disk.Dir
	rests []time.Duration
	names []string
	then  func() // after each piece
}

func (d *slowRemover) RemoveSlowly(name string, rest func()) error {
	for range 3 {
		time.Sleep(time.Millisecond)
		began := time.Now()
		rest()
		d.rests = append(d.rests, time.Since(began))
		d.then()
	}
	d.names = append(d.names, name)
	return d.Dir.Remove(name)
}

// The worker rests after each piece of the files that it removes. It removes all of them even if the log is being closed.
func TestWorkerRestsBesideRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := created(t)
		l := openIn(t, fs)
		l.options.inline = false
		l.resting.Store(false)
		slow := &slowRemover{Dir: l.fs, then: func() {}}
		l.fs = slow
		discard := func() error {
			s := l.newSegment(99)
			for _, name := range []string{hintName(s.name), s.name} {
				require.NoError(t, writeFile(slow.Dir, name, nil))
			}
			f, err := slow.Open(s.name, false)
			require.NoError(t, err)
			s.file = l.files.add(s.name, f, false)
			s.acquire()
			slow.rests, slow.names = nil, nil
			err = l.discard([]*segment{s})
			require.Equal(t, []string{hintName(s.name), s.name}, slow.names)
			names, listed := slow.List()
			require.NoError(t, listed)
			require.NotContains(t, names, s.name)
			return err
		}
		require.NoError(t, discard())
		for _, d := range slow.rests {
			require.Equal(t, removeRests*time.Millisecond, d)
		}
		require.Len(t, slow.rests, 6)

		l.stopping = true
		slow.then = func() { l.stopping = false }
		require.ErrorIs(t, discard(), errStopping, "the first error is kept")
		require.Equal(t, make([]time.Duration, 6), slow.rests)
		l.options.inline = true
		require.NoError(t, l.Close())
	})
}

// The next sweep rests, whatever the last compaction did.
func TestRushEndsWithCompaction(t *testing.T) {
	l := openIn(t, created(t))
	l.rush = true
	require.NoError(t, l.compactAll())
	require.False(t, l.rush)
	require.NoError(t, l.Close())
}
