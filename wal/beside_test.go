package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// A counter is an instance that is saved again and again: its value is the number of the Save.
const counters = 8

// A besideLog is a Log to which one goroutine saves while others read.
type besideLog struct {
	*Log
	counted   [counters]atomic.Uint64 // the latest Save of each counter
	decisions atomic.Uint64           // the instances done/1 to done/N are decided
	written   int                     // marks; the goroutine that saves counts them
}

// save is the Save number n: of a counter, and of an instance that gets a vote in one Save, and is decided two Saves later.
func (l *besideLog) save(n uint64) error {
	i := n % counters
	b := batchOf(voted(fmt.Sprint("counter/", i), n, fmt.Sprintf("%d %s", n, strings.Repeat("v", int(n%700)))))
	done := voted(fmt.Sprint("done/", (n+2)/3), 1, fmt.Sprint((n+2)/3, strings.Repeat("d", 100)))
	switch n % 3 {
	case 1:
		b.Records = append(b.Records, done)
	case 0:
		b.Records = append(b.Records, chosen(done, n/3))
	}
	if err := l.Save(counted(l.Log, b)); err != nil {
		return err
	}
	if k := len(b.Records) - 1; k > 0 && l.marks[k].size > 0 {
		l.written++
	}
	l.counted[i].Store(n)
	if n%3 == 0 {
		l.decisions.Store(n / 3)
	}
	return nil
}

// hasCompacted reports whether the first segment was replaced.
func (l *besideLog) hasCompacted() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.segments[1] == nil
}

// Readers read while Saves, new segments and compactions go on, on the machine's file system: each sees what was saved before it began,
// or later. Close comes in the middle, and then all stops.
func TestReadersBesideEverything(t *testing.T) {
	const enough = 1500
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	opened, err := Open(path, Options{least: 16 << 10, SegmentSize: 64 << 10, hurry: -1, eager: true})
	require.NoError(t, err)
	l := &besideLog{Log: opened}
	require.False(t, l.hasCompacted())
	var wait sync.WaitGroup
	fail := make(chan error, 5)
	repeat := func(f func(n uint64) error) {
		wait.Go(func() {
			var err error
			for n := uint64(1); err == nil; n++ {
				err = f(n)
			}
			if !errors.Is(err, os.ErrClosed) {
				fail <- err
			}
		})
	}
	half := make(chan struct{})
	reached := sync.OnceFunc(func() { close(half) })
	repeat(func(n uint64) error {
		if n > enough && l.hasCompacted() {
			reached()
		}
		return l.save(n)
	})
	for r := range 4 {
		x := rand.New(rand.NewPCG(uint64(r), 15))
		repeat(func(uint64) error {
			runtime.Gosched() // a Save that has waited for the disk goes on after at most one call of each reader
			return l.read(x)
		})
	}
	select {
	case <-half:
	case err = <-fail:
	}
	require.NoError(t, l.Close())
	wait.Wait()
	close(fail)
	require.NoError(t, err)
	require.NoError(t, <-fail)
	require.Greater(t, l.written, enough/6, "of %d", enough/3)
	l.check(t, path)
}

// check opens the log again, and finds what was saved last.
func (l *besideLog) check(t *testing.T, path string) {
	again, err := Open(path, Options{})
	require.NoError(t, err)
	defer again.Close()
	for i := range uint64(counters) {
		got, err := again.Load(fmt.Sprint("counter/", i))
		require.NoError(t, err)
		require.Equal(t, l.counted[i].Load(), got.Acceptor.Promised.Round)
	}
	require.NoError(t, again.Verify())
}

// read reads something, and checks that it is not older than what was saved before.
func (l *besideLog) read(x *rand.Rand) error {
	switch x.IntN(4) {
	case 0:
		before := l.decisions.Load()
		named, err := l.Decided(before-min(before, 5), 1000)
		if err != nil {
			return err
		}
		for i, n := range named {
			if n.Index != before-min(before, 5)+uint64(i)+1 || n.Instance != fmt.Sprint("done/", n.Index) {
				return fmt.Errorf("%v is listed at %d after %d", n, i, before)
			}
		}
		if uint64(len(named)) < min(before, 5) {
			return fmt.Errorf("%d are listed, %d were saved", len(named), before)
		}
		if before == 0 {
			return nil
		}
		name := fmt.Sprint("done/", before-x.Uint64N(before))
		got, err := l.Load(name)
		if err != nil {
			return err
		}
		if want := strings.TrimPrefix(name, "done/") + strings.Repeat("d", 100); !got.Chosen || string(got.Acceptor.Value) != want {
			return fmt.Errorf("%+v, want %s", got, want)
		}
	case 1:
		n := 0
		for _, err := range l.Undecided() {
			if n++; err != nil {
				return err
			}
		}
		if n > counters+1 {
			return fmt.Errorf("%d undecided", n)
		}
	case 2:
		if s := l.Stats(); s.Undecided > counters+1 || s.Live < 0 || s.Live > s.Bytes || s.Segments < 1 {
			return fmt.Errorf("%+v", s)
		}
	default:
		i := x.Uint64N(counters)
		before := l.counted[i].Load()
		got, err := l.Load(fmt.Sprint("counter/", i))
		if err != nil {
			return err
		}
		round := got.Acceptor.Promised.Round
		if round < before || round > 0 && !strings.HasPrefix(string(got.Acceptor.Value), fmt.Sprint(round, " ")) {
			return fmt.Errorf("counter %d is %d, %q: %d was saved", i, round, got.Acceptor.Value[:min(9, len(got.Acceptor.Value))], before)
		}
	}
	return nil
}

// isSealed reports whether, after a loss of power, the seal of the active segment says that the last batch is durable.
func isSealed(t *testing.T, fs *disktest.FS, l *Log) bool {
	t.Helper()
	content := fs.Crash(disktest.LoseAll, nil).Content(l.active.path)
	s := scan{segment: l.active, store: l.store, data: content}
	end, _ := s.sealed()
	return end == l.active.end
}

// A log is sealed when no Save came for 5 ms, and not before; and at Close.
func TestSealedWhenQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := created(t)
		l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10})
		require.NoError(t, err)
		save := func(n uint64) { require.NoError(t, l.Save(batchOf(voted("a", n, "v")))) }
		const tick = time.Millisecond
		for n := range uint64(5) { // never quiet for 5 ms
			save(n + 1)
			time.Sleep(4 * tick)
			synctest.Wait()
			require.False(t, isSealed(t, fs, l), "Save %d", n)
		}
		time.Sleep(tick - 1)
		synctest.Wait()
		require.False(t, isSealed(t, fs, l))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.True(t, isSealed(t, fs, l))
		time.Sleep(restAfter) // the other seal says the same
		synctest.Wait()
		calls := len(fs.Ops())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, fs.Ops(), calls, "nothing more to seal")
		save(10)
		require.False(t, isSealed(t, fs, l))
		time.Sleep(5 * tick)
		synctest.Wait()
		require.True(t, isSealed(t, fs, l), "again")
		save(11)
		require.False(t, isSealed(t, fs, l))
		require.NoError(t, l.Close())
		require.True(t, isSealed(t, fs, l), "at Close")
		calls = len(fs.Ops())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, fs.Ops(), calls, "nothing is written after Close")
	})
}

// A seal that fails ends the log, though no Save is there to be told: the next one is.
func TestSealFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := created(t)
		var failing atomic.Bool
		fs.Fail = func(disktest.Op, int) error {
			if failing.Load() {
				return errDisk
			}
			return nil
		}
		l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10})
		require.NoError(t, err)
		m := modelOf(l)
		saveSized(t, l, m, 10)
		synctest.Wait()
		failing.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		failing.Store(false)
		require.ErrorIs(t, l.Save(batchOf(voted("a", 1, "v"))), errDisk)
		require.NoError(t, m.differs(l))
		require.NoError(t, l.Close())
		again := openIn(t, fs)
		require.NoError(t, m.differs(again))
		require.NoError(t, again.Close())
	})
}

// Close comes while the worker prepares or compacts, and a Save waits for it: it ends all of them, and loses nothing.
func TestCloseAtAnyTime(t *testing.T) {
	for seed := range uint64(60) {
		x := rand.New(rand.NewPCG(seed, 16))
		fs := created(t)
		o := small(fs)
		o.inline = false
		l, err := Open(dir, o)
		require.NoError(t, err)
		m := modelOf(l)
		next := make(chan paxos.Batch)
		done := make(chan struct{})
		var last *model
		go func() {
			defer close(done)
			for b := range next {
				last = m.clone()
				last.apply(b)
				if err := l.Save(b); err != nil {
					if !errors.Is(err, os.ErrClosed) {
						t.Errorf("seed %d: %v", seed, err)
					}
					return
				}
				m, last = last, nil
			}
		}()
		s := newScript(x, 2000, l)
		for range x.IntN(40) {
			b := s.batch()
			s.model.apply(b)
			select {
			case next <- b:
			case <-done:
			}
		}
		require.NoError(t, l.Close())
		close(next)
		<-done
		again, err := Open(dir, small(fs))
		require.NoError(t, err)
		require.NoError(t, m.differs(again), "seed %d", seed)
		require.NoError(t, again.Close())
	}
}
