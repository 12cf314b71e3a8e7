package wal

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// saveSized saves a decided record with a value of that size on l, and on the model.
func saveSized(t testing.TB, l *Log, m *model, size int) {
	t.Helper()
	n := len(m.records)
	b := batchOf(decided(fmt.Sprintf("saved/%05d", n), uint64(n+1), strings.Repeat("s", size)))
	saveIn(t, l, m, b)
}

// saveIn saves b in the log and in its model.
func saveIn(t testing.TB, l *Log, m *model, b paxos.Batch) {
	t.Helper()
	b = counted(l, b)
	require.NoError(t, l.Save(b))
	m.apply(b)
}

// modelOf is the model of a log that was just created.
func modelOf(l *Log) *model {
	m := newModel()
	m.state = l.state
	return m
}

// killed does what f does on l, and kills the process right before its n-th call that match tells.
func killed(t testing.TB, fs *disktest.FS, n int, match func(disktest.Op) bool, f func()) *disktest.FS {
	t.Helper()
	h, from := disktest.NewHistory(fs, nil), len(fs.Ops())
	f()
	for _, op := range fs.Ops()[from:] {
		if match(op) {
			if n--; n == 0 {
				return h.Kill()
			}
		}
		h.Play(op)
	}
	t.Fatal("the process lives on")
	return nil
}

func syncOf(path string) func(disktest.Op) bool {
	return func(op disktest.Op) bool { return op.Kind == disktest.OpSync && op.Name == path }
}

func writeOf(path string) func(disktest.Op) bool {
	return func(op disktest.Op) bool { return op.Kind == disktest.OpWrite && op.Name == path }
}

// docs/design.md#4.12: a process is killed after it wrote a batch, and before the fsync. The next one finds the batch in the page cache,
// and answers a duplicate of the request by it. Then power is lost: the record that was answered with is there.
func TestBatchOfKilledProcessIsDurableWhenSeen(t *testing.T) {
	for loss := range disktest.Losses {
		for seed := range uint64(50) {
			x := rand.New(rand.NewPCG(seed, 5))
			fs := created(t)
			l := openIn(t, fs)
			m := modelOf(l)
			for range x.IntN(4) {
				saveSized(t, l, m, 600)
			}
			b := batchOf(voted("duplicate", 3, strings.Repeat("v", x.IntN(1500))))
			fs = killed(t, fs, 1, syncOf(l.active.path), func() { require.NoError(t, l.Save(b)) })

			l = openIn(t, fs)
			got, err := l.Load("duplicate")
			require.NoError(t, err)
			require.Equal(t, b.Records[0], got, "it was written, so it is in the page cache")
			m.apply(b)
			require.NoError(t, m.differs(openIn(t, fs.Crash(loss, x))), "loss %d, seed %d", loss, seed)
		}
	}
}

// The process is killed before every call, and the next one finds all that it wrote, synced or not. All that the next one shows is there
// after a loss of power.
func TestKilledAnywhereThenPowerLost(t *testing.T) {
	images, marks := 0, 0
	for seed := uint64(0); seed < 6 && (seed == 0 || !testing.Short()); seed++ {
		x := rand.New(rand.NewPCG(seed, 6))
		r := record(t, seed, nil)
		marks += r.marks
		err := r.each(func(h *disktest.History, now moment) error {
			images++
			return checkImage(h.Kill(), now, x)
		})
		require.NoError(t, err, "seed %d", seed)
	}
	t.Logf("%d images, of histories with %d marks", images, marks)
	require.Positive(t, marks)
}

// A batch that was torn goes; a shorter one is written in its place. The rest of the torn one is gone, too: it is taken neither for damage
// nor for a batch.
func TestShortBatchAfterTornLongOne(t *testing.T) {
	for seed := range uint64(200) {
		x := rand.New(rand.NewPCG(seed, 7))
		fs := created(t)
		l := openIn(t, fs)
		m := modelOf(l)
		saveSized(t, l, m, 100)
		killedFS := killed(t, fs, 1, syncOf(l.active.path), func() {
			require.NoError(t, l.Save(batchOf(voted("torn", 3, strings.Repeat("t", 3000)))))
		})
		image := killedFS.Crash(disktest.LoseToDirt, x)
		l = openIn(t, image)
		if got, err := l.Load("torn"); err == nil && got.Instance != "" {
			continue // it is there as a whole
		}
		require.NoError(t, m.differs(l))
		for range 3 {
			saveSized(t, l, m, 10)
			require.NoError(t, m.differs(openIn(t, image.Crash(disktest.LoseAll, x))), "seed %d", seed)
		}
	}
}

// A process is killed when it has begun a new segment, prepared the one after it, and written nothing: then there are two that
// nothing was written to. The log goes on for as long as it likes.
func TestTwoPreparedSegments(t *testing.T) {
	for _, size := range []int{500, 3000, 9000} {
		fs := created(t)
		l := openIn(t, fs)
		m := modelOf(l)
		for l.active.end < dataStart+3000 {
			saveSized(t, l, m, 500)
		}
		next := segmentPath(dir, l.active.number+1)
		fs = killed(t, fs, 1, writeOf(next), func() {
			require.NoError(t, l.Save(batchOf(voted("next", 3, strings.Repeat("n", 1500)))))
		})
		fs = fs.Crash(disktest.LoseAll, nil)
		l = openIn(t, fs)
		require.Len(t, l.row, 3)
		for range 40 {
			saveSized(t, l, m, size)
			require.NoError(t, m.differs(openIn(t, fs.Crash(disktest.LoseAll, nil))), "size %d", size)
		}
		require.NoError(t, l.Close())
	}
}

// A decision may get another Index, and its old one another instance. The record of the change in between can be compacted away. The log is
// whole nevertheless, though one Index stands in two records that were the latest once.
func TestIndexChangesHands(t *testing.T) {
	for _, marks := range []bool{false, true} {
		t.Run(fmt.Sprintf("marks %t", marks), func(t *testing.T) { indexChangesHands(t, marks) })
	}
}

// indexChangesHands has the decisions be marks, or not.
func indexChangesHands(t *testing.T, marks bool) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	save := func(b paxos.Batch) { saveIn(t, l, m, b) }
	fill := func(name string) { // the active segment
		for n, from := 0, l.active.number; l.active.number == from; n++ {
			save(batchOf(decided(fmt.Sprint(name, n), uint64(l.sequence*1000), strings.Repeat("f", 900))))
		}
	}
	decide := func(name string, index uint64) {
		v := voted(name, index, strings.Repeat("v", 60))
		if marks {
			save(batchOf(v))
		}
		save(batchOf(chosen(v, index)))
	}
	decide("first", 5)
	fill("a")
	save(batchOf(decided("first", 7, strings.Repeat("v", 3000))))
	decide("second", 5)
	fill("b")
	decide("first", 8)
	fill("c")
	require.NoError(t, m.differs(l))
	require.Equal(t, marks, marksWritten(fs.Ops()) >= 2)
	for range 2 {
		require.NoError(t, l.Close())
		l = openIn(t, fs)
		require.NoError(t, m.differs(l))
		require.NoError(t, l.Verify())
		fill("d")
	}
	for _, name := range fs.Names() { // by the segments themselves, too
		if strings.HasSuffix(name, ".hint") {
			require.NoError(t, fs.Remove(name))
		}
	}
	fs.Kill()
	require.NoError(t, m.differs(openIn(t, fs)))
}

// Power is lost after a removal of RESCUE that was not durable, and the batch in RESCUE is damaged in its segment. Open makes it durable
// there before it removes RESCUE for good.
func TestRescueThatComesBackRepairs(t *testing.T) {
	want := voted("job/2", 1, strings.Repeat("v", 100))
	check := func(t *testing.T, fs *disktest.FS) {
		l, err := Open(dir, roomy(fs))
		require.NoError(t, err)
		got, err := l.Load("job/2")
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, l.Close())
	}
	for _, more := range []int{0, 3} {
		t.Run(fmt.Sprint(more, " Saves later"), func(t *testing.T) {
			fs := created(t)
			l, err := Open(dir, roomy(fs))
			require.NoError(t, err)
			for i := range 3 {
				require.NoError(t, l.Save(batchOf(voted(fmt.Sprint("job/", i), 1, strings.Repeat("v", 100)))))
			}
			path := l.active.path
			fs.Kill() // so the next Open makes a RESCUE of the last batch
			var rescue []byte
			l = openedAs(t, fs, roomy(fs), func(h *disktest.History) {
				if b := h.Kill().Content(filepath.Join(dir, rescueName)); len(b) > 0 {
					rescue = b
				}
			})
			require.NotEmpty(t, rescue)
			began := l.latest.began
			for i := range more {
				require.NoError(t, l.Save(batchOf(voted(fmt.Sprint("later/", i), 1, "v"))))
			}
			require.NoError(t, l.Close())

			content := slices.Clone(fs.Content(path))
			content[began+batchHead+30] ^= 1
			fs.Put(path, content)
			fs.Put(filepath.Join(dir, rescueName), rescue)

			x := rand.New(rand.NewPCG(1, 2))
			l = openedAs(t, fs, roomy(fs), func(h *disktest.History) {
				for range 8 {
					check(t, h.Crash(disktest.LoseSome, x))
				}
			})
			require.NoError(t, l.Close())
			check(t, fs)
		})
	}
}

// A seal says that all batches before it are durable. So what the process before could not sync is durable before Open writes one: RESCUE
// alone would hold it else, if power was lost then.
func TestBatchIsDurableBeforeItsSeal(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	path, at := l.active.path, l.active.end
	b := batchOf(voted("lunch", 1, strings.Repeat("v", 100)))
	fs = killed(t, fs, 1, syncOf(path), func() { require.NoError(t, l.Save(b)) })
	seals := 0
	l = openedAs(t, fs, small(fs), func(h *disktest.History) {
		if op := h.Last(); op.Kind == disktest.OpWrite && op.Name == path && op.At < dataStart {
			seals++
			durable := h.Crash(disktest.LoseAll, nil).Content(path)
			require.Equal(t, fs.Content(path)[at:at+batchHead+100], durable[at:at+batchHead+100])
		}
	})
	require.Equal(t, 1, seals)
	require.NoError(t, l.Close())
}

// openedAs opens the log in fs, and then plays again what that did there: each is called after every call.
func openedAs(t *testing.T, fs *disktest.FS, o Options, each func(*disktest.History)) *Log {
	t.Helper()
	from, base := len(fs.Ops()), fs.Snapshot()
	l, err := Open(dir, o)
	require.NoError(t, err)
	h := disktest.NewHistory(base, fs.Ops()[from:])
	for op := h.Next(); op != nil; op = h.Next() {
		each(h)
	}
	return l
}
