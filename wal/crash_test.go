package wal

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/disk/disktest"
)

var crashImages = flag.Int("wal.images", 3_000, "crash images to open; CI opens 100,000")

// A moment is the content that a log may have at some point of a history: all acknowledged batches, perhaps with the one that was being
// saved.
type moment struct{ saved, begun *model }

// check says how the log differs from what it may hold; nil: it does not. It returns what it holds.
func (m moment) check(l *Log) (*model, error) {
	err := m.saved.differs(l)
	if err == nil {
		return m.saved, nil
	}
	if m.begun == nil {
		return nil, err
	}
	other := m.begun.differs(l)
	if other == nil {
		return m.begun, nil
	}
	return nil, fmt.Errorf("neither what was saved: %w; nor what was being saved, too: %w", err, other)
}

// A recording is a history of calls, with the moment after each mark.
type recording struct {
	base    *disktest.FS
	ops     []disktest.Op
	moments []moment
	marks   int // that were written
}

// record runs a script on a new storage: a few lives, some ended by Close, some by kill.
func record(t *testing.T, seed uint64, silent func(disktest.Op) bool) recording {
	fs := created(t)
	fs.Silent = silent
	r := recording{base: fs.Snapshot()}
	from := len(fs.Ops())
	x := rand.New(rand.NewPCG(seed, 2))
	l := openIn(t, fs)
	if seed%2 == 1 {
		l.holdSweeps()
	}
	s := newScript(x, 400, l)
	mark := func(begun, saved *model) {
		r.moments = append(r.moments, moment{saved, begun})
		fs.Mark(len(r.moments) - 1)
	}
	mark(nil, s.model)
	for life := range 3 {
		require.NoError(t, s.run(l, 12, mark), "seed %d", seed)
		switch {
		case life == 2:
		case x.IntN(2) == 0:
			require.NoError(t, l.Close())
			l = openIn(t, fs)
		default:
			fs.Kill()
			l = openIn(t, fs)
		}
	}
	r.ops = fs.Ops()[from:]
	r.marks = marksWritten(r.ops)
	return r
}

// each calls f at every point of the history.
func (r recording) each(f func(h *disktest.History, now moment) error) error {
	h := disktest.NewHistory(r.base, r.ops)
	now := r.moments[0]
	for n := 0; ; n++ {
		op := h.Next()
		if op == nil {
			return nil
		}
		if op.Kind == disktest.OpMark {
			now = r.moments[op.Mark]
		}
		if err := f(h, now); err != nil {
			return fmt.Errorf("after call %d, %s %s: %w", n, op.Kind, op.Name, err)
		}
	}
}

// openImage opens what a crash has left, and checks what is there.
func openImage(fs *disktest.FS, now moment) (*Log, *model, error) {
	l, err := Open(dir, small(fs))
	if err != nil {
		return nil, nil, err
	}
	held, err := now.check(l)
	if err != nil {
		return nil, nil, err
	}
	return l, held, nil
}

// checkImage opens the files that a crash has left. The content that it finds must stay, though power is lost at once, and the log must go
// on.
func checkImage(fs *disktest.FS, now moment, x *rand.Rand) error {
	l, held, err := openImage(fs, now)
	if err != nil {
		return err
	}
	again := fs.Crash(disktest.Loss(x.IntN(int(disktest.Losses))), x)
	m, _, err := openImage(again, moment{saved: held})
	if err != nil {
		return fmt.Errorf("what was there after the first Open is not after the second: %w", err)
	}
	m.Close()
	s := &script{x: x, model: held, next: 100 + x.IntN(100), index: 1 << 20, big: 3000}
	if err := s.run(l, 3, func(_, _ *model) {}); err != nil {
		return err
	}
	fs.Kill()
	l, _, err = openImage(fs.Crash(disktest.LoseAll, x), moment{saved: s.model})
	if err != nil {
		return fmt.Errorf("after more was saved: %w", err)
	}
	return l.Close()
}

// Power is lost after every call, with all kinds of loss. Acknowledged batches are there. A batch that was being saved is there as a whole
// or not at all. Nothing else is there.
func TestCrashImages(t *testing.T) {
	var images, marks atomic.Int64
	most := int64(*crashImages)
	if testing.Short() {
		most = 1000
	}
	for part := range 2 {
		t.Run(fmt.Sprint("part", part), func(t *testing.T) {
			t.Parallel()
			for seed := uint64(part); images.Load() < most; seed += 2 {
				x := rand.New(rand.NewPCG(seed, 3))
				r := record(t, seed, nil)
				marks.Add(int64(r.marks))
				err := r.each(func(h *disktest.History, now moment) error {
					for loss := range disktest.Losses {
						images.Add(1)
						if err := checkImage(h.Crash(loss, x), now, x); err != nil {
							return fmt.Errorf("loss %d: %w", loss, err)
						}
					}
					return nil
				})
				require.NoError(t, err, "seed %d", seed)
			}
		})
	}
	t.Cleanup(func() {
		t.Logf("%d images, of histories with %d marks", images.Load(), marks.Load())
		require.Greater(t, marks.Load(), images.Load()/1000)
	})
}

// Power is lost while what a crash has left is being recovered, after every call of that, too.
func TestCrashInRecovery(t *testing.T) {
	images, marks := 0, 0
	for seed := uint64(0); images < *crashImages/4; seed++ {
		x := rand.New(rand.NewPCG(seed, 4))
		r := record(t, seed, nil)
		marks += r.marks
		err := r.each(func(h *disktest.History, now moment) error {
			if x.IntN(8) > 0 {
				return nil
			}
			first := h.Crash(disktest.LoseToDirt, x)
			base := first.Snapshot()
			l, _, err := openImage(first, now)
			if err != nil {
				return err
			}
			l.Close()
			recovery := disktest.NewHistory(base, first.Ops())
			for recovery.Next() != nil {
				images++
				m, _, err := openImage(recovery.Crash(disktest.Loss(x.IntN(int(disktest.Losses))), x), now)
				if err != nil {
					return fmt.Errorf("in recovery: %w", err)
				}
				m.Close()
			}
			return nil
		})
		require.NoError(t, err, "seed %d", seed)
		if testing.Short() {
			break
		}
	}
	t.Logf("%d images, of histories with %d marks", images, marks)
	require.Positive(t, marks)
}
