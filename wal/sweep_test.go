package wal

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// quiet are options with which many instances fit into one segment. Nothing sweeps until the test says so.
func quiet(fs *disktest.FS) Options {
	return Options{fs: fs, least: 8 << 20, SegmentSize: 8 << 20, hurry: -1, eager: true, inline: true}
}

// saveJobs saves n decided instances job/…, each tenth of them as lunch/…, on l and on m.
func saveJobs(t testing.TB, l *Log, m *model, n int) {
	t.Helper()
	for i := 0; i < n; {
		var b paxos.Batch
		for ; len(b.Records) < 1000 && i < n; i++ {
			name := fmt.Sprintf("job/%06d", i)
			if i%10 == 0 {
				name = fmt.Sprintf("lunch/%06d", i)
			}
			b.Records = append(b.Records, decided(name, uint64(i+1), "pizza"))
		}
		saveBoth(t, l, m, b)
	}
}

func saveBoth(t testing.TB, l *Log, m *model, b paxos.Batch) {
	t.Helper()
	b = counted(l, b)
	require.NoError(t, l.Save(b))
	m.apply(b)
}

// above is what Decided should return.
func (m *model) above(after uint64, most int) (named []paxos.Named) {
	for _, r := range m.records {
		if r.Index > after {
			named = append(named, paxos.Named{Instance: r.Instance, Index: r.Index})
		}
	}
	slices.SortFunc(named, func(a, b paxos.Named) int { return cmp.Compare(a.Index, b.Index) })
	return named[:min(most, len(named))]
}

// checkSwept checks that nothing waits to be swept, and that all sizes are those of the model.
func checkSwept(t testing.TB, l *Log, m *model) {
	t.Helper()
	require.False(t, l.index.sweepIsDue())
	s := l.Stats()
	require.Equal(t, len(m.records), s.Undecided+s.Decided)
	require.Equal(t, countedLive(l), s.Live)
	held := (len(l.index.names.chunks) - len(l.index.names.free)) * arenaChunk
	require.LessOrEqual(t, held, 2*l.index.names.bytes+4*arenaChunk)
}

// For all methods a dropped instance is gone at once, though a sweep comes later. The sweep gives the memory back, and then all counts are
// right.
func TestDroppedIsGoneBeforeTheSweep(t *testing.T) {
	const n = 100_000
	l, err := Open(dir, quiet(created(t)))
	require.NoError(t, err)
	m := newModel()
	saveJobs(t, l, m, n)
	saveBoth(t, l, m, paxos.Batch{Drop: []paxos.NameRange{paxos.Prefix("job/")}, Records: []paxos.Record{voted("job/000005", 1, "back")}})
	require.EqualValues(t, n, l.index.n, "all are in the index")
	check := func() {
		t.Helper()
		require.NoError(t, m.differs(l))
		for _, name := range []string{"job/000001", "job/019999"} {
			r, ok := l.LoadNow(name)
			require.True(t, ok)
			require.Zero(t, r)
		}
		_, ok := l.LoadNow("lunch/000010")
		require.False(t, ok, "it is on disk")
		for after, most := range map[uint64]int{0: 1, 3000: 700, 9000: 3, n - 20: 100, n: 1} {
			named, err := l.Decided(after, most)
			require.NoError(t, err)
			require.Equal(t, m.above(after, most), named, "above %d", after)
		}
	}
	check()
	named, ok := l.DecidedNow(0, 5)
	require.True(t, ok)
	require.Len(t, named, 5)
	named, ok = l.DecidedNow(0, 1000)
	require.False(t, ok, "it would pass too many")
	require.Nil(t, named)
	l.work()
	check()
	checkSwept(t, l, m)
	require.Less(t, len(l.index.names.chunks)-len(l.index.names.free), 7, "the names that stay have moved together")
	named, ok = l.DecidedNow(0, 1000)
	require.True(t, ok)
	require.Len(t, named, 1000)
	require.NoError(t, l.Verify())
	require.NoError(t, l.Close())
}

// Instances get the Indices of dropped ones that wait to be swept. They are the only ones that have them, also after the next Open.
func TestIndexOfADroppedInstance(t *testing.T) {
	fs := created(t)
	l, err := Open(dir, quiet(fs))
	require.NoError(t, err)
	m := newModel()
	saveJobs(t, l, m, 100)
	require.ErrorContains(t, l.check(&paxos.Batch{Records: []paxos.Record{decided("other", 5, "pizza")}}), `that of "job/000004"`)
	saveBoth(t, l, m, paxos.Batch{Drop: []paxos.NameRange{paxos.Prefix("job/")}})
	saveBoth(t, l, m, batchOf(decided("other", 5, "pizza"), decided("job/000007", 8, "again"), decided("job/000008", 7, "again")))
	require.True(t, l.index.drops.Pending())
	require.NoError(t, m.differs(l))
	saveBoth(t, l, m, paxos.Batch{Drop: []paxos.NameRange{{From: "lunch/000050", To: "lunch/000100"}}})
	fs.Kill()
	o := quiet(fs)
	o.ReadOnly = true
	looked, err := Open(dir, o)
	require.NoError(t, err)
	require.NoError(t, m.differs(looked))
	checkSwept(t, looked, m)
	require.NoError(t, looked.Close())
	again := openIn(t, fs)
	require.NoError(t, m.differs(again))
	checkSwept(t, again, m)
	require.NoError(t, again.Close())
}

// A list that is made in pieces begins anew after a Save that has changed a part of it. So it never has half of a Save.
func TestListBesideSaves(t *testing.T) {
	const n = 20_000
	for name, b := range map[string]paxos.Batch{
		"a drop of what is listed":  {Drop: []paxos.NameRange{{From: "lunch/000000", To: "lunch/000100"}}},
		"a drop of one name":        {Drop: []paxos.NameRange{paxos.OneName("lunch/000010")}},
		"an Index that was passed":  batchOf(decided("new", 2, "pizza"), decided("new too", n+5, "pizza")),
		"another Index of a record": batchOf(decided("lunch/000010", n+5, "pizza")),
		"only the end":              batchOf(decided("new", n+5, "pizza"), decided("new too", n+6, "pizza")),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(dir, quiet(created(t)))
			require.NoError(t, err)
			m := newModel()
			saveJobs(t, l, m, n)
			saveBoth(t, l, m, paxos.Batch{Drop: []paxos.NameRange{paxos.Prefix("job/")}})
			var p page
			p.begin(0, n, 0)
			require.NoError(t, l.turn(&p, 0, n))
			require.True(t, p.more)
			require.Greater(t, len(p.named), 100)
			saveBoth(t, l, m, b)
			for p.more {
				require.NoError(t, l.turn(&p, 0, n))
			}
			require.Equal(t, m.above(0, n), p.named)
			require.NoError(t, l.Close())
		})
	}
}

// Names come and go while sweeps and compactions go on in any order, in pieces of any size. The log holds what a map holds, also after it
// was killed and opened again. A compaction never leaves out a drop of which it has copied a record.
func TestSweepAgainstModel(t *testing.T) {
	compacted := 0 // with drops that wait
	for range 20 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		x := rand.New(rand.NewPCG(seed, 5))
		fs := created(t)
		l := openIn(t, fs)
		s := newScript(x, 300, l)
		for range 150 {
			l.swept = time.Time{}
			if x.IntN(30) > 0 {
				l.holdSweeps()
			}
			b := s.batch()
			if x.IntN(6) == 0 {
				from, to := x.IntN(s.next+1), x.IntN(s.next+1)
				b.Drop = append(b.Drop, paxos.NameRange{From: fmt.Sprintf("job/%05d", from), To: fmt.Sprintf("job/%05d", to)})
			}
			if x.IntN(6) == 0 {
				b.Drop = append(b.Drop, paxos.OneName(fmt.Sprintf("job/%05d", x.IntN(s.next+1))))
			}
			after := s.model.clone()
			after.apply(b)
			require.NoError(t, l.Save(b))
			s.model = after
			for range x.IntN(1 + x.IntN(30)) {
				l.index.sweepOne(l.leave)
			}
			switch x.IntN(12) {
			case 0:
				run, first := l.worthwhile()
				if len(run) == 0 {
					break
				}
				if first && l.index.drops.Pending() {
					compacted++
				}
				require.NoError(t, l.compact(run, first))
			case 1:
				for range 2 { // a pass that was under way, and another one
					l.swept = time.Time{}
					l.work()
				}
				checkSwept(t, l, s.model)
			case 2:
				fs.Kill()
				l = openIn(t, fs)
				checkSwept(t, l, s.model)
			}
			require.NoError(t, s.model.differs(l))
			require.Equal(t, countedLive(l), l.Stats().Live)
		}
		require.NoError(t, l.Verify())
		require.NoError(t, l.Close())
	}
	require.Positive(t, compacted)
}

// Power is lost at any point of a history in which names are forgotten: in one Save their Drop, the record that says which are forgotten,
// and the state. All of that is there after the next Open, or nothing of it, and no name is lost for another reason.
func TestForgettingIsOneBatch(t *testing.T) {
	fs := created(t)
	r := recording{base: fs.Snapshot()}
	from := len(fs.Ops())
	l, m := openIn(t, fs), newModel()
	m.state = l.state
	mark := func(begun, saved *model) {
		r.moments = append(r.moments, moment{saved, begun})
		fs.Mark(len(r.moments) - 1)
	}
	mark(nil, m)
	save := func(b paxos.Batch) {
		b = counted(l, b)
		after := m.clone()
		after.apply(b)
		mark(after, m)
		require.NoError(t, l.Save(b))
		m = after
		mark(nil, m)
	}
	forget := func(names paxos.NameRange) {
		state := l.state
		state.Last++
		state.Forgotten = 1
		rec := paxos.Record{Instance: "$forgotten/0", Acceptor: paxos.Acceptor{}.Forget(), Chosen: true, Index: state.Last}
		rec.Acceptor.Accepted, rec.Acceptor.Value = rec.Acceptor.Promised, paxos.Value(names.String())
		save(paxos.Batch{Server: &state, Drop: []paxos.NameRange{names}, Records: []paxos.Record{rec}})
	}
	for i := range 60 {
		value := fmt.Sprintf("%0300d", i)
		v := voted(fmt.Sprintf("job/%02d", i), 1, value)
		save(batchOf(v, voted(fmt.Sprintf("lunch/%02d", i), 2, value)))
		if i%3 > 0 {
			save(batchOf(chosen(v, uint64(i+1))))
		}
	}
	forget(paxos.NameRange{From: "job/", To: "job/3"})
	require.True(t, l.index.drops.Pending(), "Power is lost before the sweep, too")
	run := l.row[:slices.IndexFunc(l.row, func(s *segment) bool { return !s.closed })]
	require.NotEmpty(t, run)
	require.NoError(t, l.compact(slices.Clone(run), true))
	save(batchOf(promised("lunch/00", 9)))
	forget(paxos.Prefix("job/"))
	save(batchOf(voted("job/07", 1, "late"), promised("lunch/01", 9)))
	l.work()
	checkSwept(t, l, m)
	forget(paxos.Prefix("job/"))
	require.NoError(t, l.Close())
	r.ops = fs.Ops()[from:]
	checkForgetting(t, r)
}

// checkForgetting checks what every crash leaves of the Saves that forget.
func checkForgetting(t *testing.T, r recording) {
	x := rand.New(rand.NewPCG(1, 6))
	var before, after int
	err := r.each(func(h *disktest.History, now moment) error {
		if now.begun != nil && now.begun.state.Forgotten == 0 && x.IntN(20) > 0 {
			return nil // the Saves before are not what is tested
		}
		for loss := range disktest.Losses {
			l, held, err := openImage(h.Crash(loss, x), now)
			if err != nil {
				return fmt.Errorf("loss %d: %w", loss, err)
			}
			if now.begun != nil && len(now.begun.records) < len(now.saved.records) {
				if held == now.saved {
					before++
				} else {
					after++
				}
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	t.Logf("%d images without the batch that forgets, %d with it", before, after)
	require.Positive(t, before)
	require.Positive(t, after)
}

// A sweep begins at once if there was none for a second, or if no Saves come. While they come, the ranges of a second are swept together,
// so that a range which grows with each Save does not keep the worker busy.
func TestSweepsWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(dir, Options{fs: created(t)})
		require.NoError(t, err)
		m := newModel()
		time.Sleep(2 * sweepEvery)
		saveJobs(t, l, m, 2000)
		pending := func() bool {
			synctest.Wait()
			l.mu.RLock()
			defer l.mu.RUnlock()
			return l.index.drops.Pending()
		}
		grown := func(i int) paxos.Batch {
			return paxos.Batch{Drop: []paxos.NameRange{{From: "job/", To: fmt.Sprintf("job/%06d", i)}}}
		}
		saveBoth(t, l, m, grown(10))
		require.False(t, pending(), "the first is swept at once")
		swept := time.Now()
		for i := 20; time.Since(swept) < sweepEvery-time.Millisecond; i++ {
			time.Sleep(time.Millisecond)
			saveBoth(t, l, m, grown(i))
			require.True(t, pending(), "after %v", time.Since(swept))
			require.NoError(t, m.lists(l))
		}
		for range 10 {
			time.Sleep(time.Millisecond)
			saveBoth(t, l, m, batchOf(promised("lunch", uint64(time.Now().UnixNano()))))
		}
		require.False(t, pending(), "Saves go on, and its time has come")
		saveBoth(t, l, m, grown(1999))
		require.True(t, pending())
		time.Sleep(2 * restAfter)
		require.False(t, pending(), "no Saves come")
		require.NoError(t, m.differs(l))
		require.NoError(t, l.Close())
		require.EqualValues(t, len(m.records), l.index.n)
	})
}

// While a range is swept, readers find all that stays, and nothing that is dropped. Saves go on.
func TestReadersBesideASweep(t *testing.T) {
	const n = 30_000
	l, err := Open(dir, Options{fs: created(t)})
	require.NoError(t, err)
	m := newModel()
	saveJobs(t, l, m, n)
	done := make(chan struct{})
	var dropped sync.WaitGroup
	dropped.Add(1)
	var readers sync.WaitGroup
	for k := range 3 {
		readers.Go(func() {
			dropped.Wait()
			for i := k; ; i += 7 {
				select {
				case <-done:
					return
				default:
				}
				name := fmt.Sprintf("job/%06d", i%n)
				r, ok := l.LoadNow(name)
				assert.True(t, ok)
				assert.Zero(t, r)
				name = fmt.Sprintf("lunch/%06d", i%n/10*10)
				r, err := l.Load(name)
				assert.NoError(t, err)
				assert.Equal(t, name, r.Instance)
				after := uint64(i % n)
				named, err := l.Decided(after, 3)
				assert.NoError(t, err)
				for _, named := range named {
					assert.EqualValues(t, (after+9)/10*10+1, named.Index, "above %d", after)
					after = named.Index
				}
			}
		})
	}
	jobs := []paxos.NameRange{paxos.Prefix("job/")}
	saveBoth(t, l, m, paxos.Batch{Drop: jobs})
	dropped.Done()
	for i := range 200 {
		saveBoth(t, l, m, batchOf(voted(fmt.Sprintf("new/%d", i), 1, "pizza")))
	}
	close(done)
	readers.Wait()
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Close())
}
