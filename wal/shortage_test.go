package wal

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// A book is where a log writes its lines to.
type book struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *book) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *book) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// A short file system opens no files while why is set.
type short struct {
	*disktest.FS
	why atomic.Pointer[syscall.Errno]
}

func newShort(t *testing.T) *short {
	s := &short{FS: created(t)}
	s.FailOpen = func(string) error {
		if why := s.why.Load(); why != nil {
			return *why
		}
		return nil
	}
	return s
}

// The process has no descriptors, or no memory, for a while: Saves go on while there is room, then one waits, and so does compaction. Then
// all goes on. One line tells of it, and nothing is lost.
func TestShortageIsWaitedOut(t *testing.T) {
	for _, why := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		synctest.Test(t, func(t *testing.T) {
			fs, out := newShort(t), &book{}
			l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10, eager: true, sealAfter: 1000 * time.Hour, Logger: slog.New(slog.NewTextHandler(out, nil))})
			require.NoError(t, err)
			m := modelOf(l)
			synctest.Wait()
			fs.why.Store(&why)
			saved := make(chan error)
			go func() {
				for n := range uint64(100) {
					b := batchOf(voted(fmt.Sprint("a", n%7), n+1, strings.Repeat("v", 700)))
					if err := l.Save(b); err != nil {
						saved <- err
						return
					}
					m.apply(b)
				}
				close(saved)
			}()
			time.Sleep(50 * time.Second)
			synctest.Wait()
			select {
			case err := <-saved:
				require.Fail(t, "a Save does not wait", "%v", err)
			default:
			}
			require.Equal(t, 1, strings.Count(out.String(), "waiting for some"))
			require.Equal(t, 1, strings.Count(out.String(), "level="), "and no other: %s", out)
			fs.why.Store(nil)
			require.NoError(t, <-saved)
			require.NoError(t, m.differs(l))
			synctest.Wait()
			require.NoError(t, l.alive())
			require.NoError(t, l.Close())
			l = openIn(t, fs.FS)
			require.NoError(t, m.differs(l))
			require.NoError(t, l.Close())
			require.Zero(t, fs.Opened(), "all is closed")
		})
	}
}

// Close does not wait until a shortage ends, and ends a Save that does. The log is sealed all the same.
func TestCloseInShortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newShort(t)
		l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 32 << 10, sealAfter: time.Hour})
		require.NoError(t, err)
		m := modelOf(l)
		synctest.Wait()
		why := syscall.EMFILE
		fs.why.Store(&why)
		saved := make(chan error)
		go func() {
			for n := uint64(1); ; n++ {
				b := batchOf(voted("a", n, strings.Repeat("v", 700)))
				if err := l.Save(b); err != nil {
					saved <- err
					return
				}
				m.apply(b)
			}
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		began := time.Now()
		closed := make(chan error)
		go func() { closed <- l.Close() }()
		require.ErrorIs(t, <-saved, os.ErrClosed)
		require.NoError(t, <-closed)
		require.Zero(t, time.Since(began))
		require.True(t, isSealed(t, fs.FS, l))
		fs.why.Store(nil)
		l = openIn(t, fs.FS)
		require.NoError(t, m.differs(l))
	})
}

// Any one call that needs a descriptor fails, in a run with recovery and compaction: nothing is lost, nobody is told, and nothing is left open.
func TestAnyOneOpenFails(t *testing.T) {
	reached := false
	for n := 1; !reached; n += 1 + n/20 {
		fs := created(t)
		l, err := Open(dir, small(fs))
		require.NoError(t, err)
		at := 0
		fs.FailOpen = func(string) error {
			if at++; at == n {
				return syscall.EMFILE
			}
			return nil
		}
		s := newScript(rand.New(rand.NewPCG(5, 8)), 900, l)
		require.NoError(t, s.run(l, 60, func(*model, *model) {}), "call %d", n)
		require.NoError(t, s.model.differs(l), "call %d", n)
		require.NoError(t, l.Verify())
		require.NoError(t, l.Close())
		require.Zero(t, fs.Opened())
		reached = at < n
		fs.FailOpen = nil
		l = openIn(t, fs)
		require.NoError(t, s.model.differs(l), "call %d", n)
		require.NoError(t, l.Close())
	}
}

// An Open for which there are no descriptors fails, with that said, and can be repeated.
func TestOpenInShortage(t *testing.T) {
	fs := newShort(t)
	l := openIn(t, fs.FS)
	m := modelOf(l)
	saveSized(t, l, m, 60)
	require.NoError(t, l.Close())
	why, left := syscall.EMFILE, 0
	fs.FailOpen = func(string) error {
		if left--; left < 0 {
			return why
		}
		return nil
	}
	for n := 0; ; n++ {
		left = n
		l, err := Open(dir, small(fs.FS))
		if err == nil {
			require.NoError(t, m.differs(l))
			require.NoError(t, l.Close())
			require.Greater(t, n, 3)
			return
		}
		require.ErrorIs(t, err, why)
		require.Zero(t, fs.Opened())
	}
}

// A log has so many descriptors at most, those of the two open segments and of SEAL included, however many segments there are, and whoever reads them at a time.
func TestDescriptorsAreBounded(t *testing.T) {
	fs := created(t)
	o := small(fs)
	o.eager, o.SegmentSize, o.maxOpen, o.sealAfter = false, 4<<10, 5, time.Hour
	l, err := Open(dir, o)
	require.NoError(t, err)
	m := modelOf(l)
	for n := range uint64(120) {
		b := batchOf(decided(fmt.Sprint("i", n), n+1, strings.Repeat("v", 700)))
		saveIn(t, l, m, b)
		require.LessOrEqual(t, fs.Opened(), o.maxOpen+3)
	}
	require.Greater(t, len(l.row), 30)
	most := atomic.Int64{}
	var wg sync.WaitGroup
	for reader := range uint64(4) {
		wg.Go(func() {
			x := rand.New(rand.NewPCG(reader, 1))
			for range 2000 {
				name := fmt.Sprint("i", x.IntN(120))
				got, err := l.Load(name)
				if err != nil || got != m.records[name] {
					t.Errorf("%s: %v, %v", name, got, err)
					return
				}
				if n := int64(fs.Opened()); n > most.Load() {
					most.Store(n)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most.Load(), int64(o.maxOpen+3+2*4), "and what the readers have in hand")
	require.LessOrEqual(t, fs.Opened(), o.maxOpen+3)
	require.NoError(t, l.Close())
	require.Zero(t, fs.Opened())
	l, err = Open(dir, o)
	require.NoError(t, err)
	require.LessOrEqual(t, fs.Opened(), o.maxOpen+3)
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Close())
}

// A Load of a segment without a descriptor waits for one. Loads of other segments go on.
func TestLoadInShortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newShort(t)
		l, err := Open(dir, Options{fs: fs, least: 4 << 10, SegmentSize: 4 << 10, sealAfter: time.Hour})
		require.NoError(t, err)
		for n := range uint64(60) {
			require.NoError(t, l.Save(counted(l, batchOf(decided(fmt.Sprint("i", n), n+1, strings.Repeat("v", 700))))))
		}
		synctest.Wait()
		_, err = l.Load("i0") // its segment has a descriptor now
		require.NoError(t, err)
		require.True(t, l.files.shrink())
		why := syscall.ENFILE
		fs.why.Store(&why)
		got, err := l.Load("i59")
		require.NoError(t, err, "in the active segment")
		require.Equal(t, uint64(60), got.Index)
		loaded := make(chan paxos.Record)
		go func() {
			got, err := l.Load("i0")
			if err != nil {
				t.Error(err)
			}
			loaded <- got
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case <-loaded:
			require.Fail(t, "it does not wait")
		default:
		}
		fs.why.Store(nil)
		require.Equal(t, uint64(1), (<-loaded).Index)
		require.NoError(t, l.Close())
	})
}
