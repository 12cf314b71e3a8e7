package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

var errDisk = errors.New("the disk has failed")

// A failing is one run of a script on a file system whose n-th call of some kind fails.
type failing struct {
	fs    *disktest.FS
	log   *Log // nil: Open failed
	last  moment
	err   error // of the first call that failed; nil: none did
	hit   bool  // the n-th call was made
	saves int   // that were begun
}

// runFailing opens a new storage and runs a script on it. The n-th call of those that kinds allows fails, and with it, if more is set,
// all that come after.
func runFailing(t *testing.T, seed uint64, n int, more bool, why error, kinds func(disktest.Op) bool) *failing {
	t.Helper()
	f := &failing{fs: created(t)}
	l, err := Open(dir, small(f.fs)) // Create is not tested here
	require.NoError(t, err)
	x := rand.New(rand.NewPCG(seed, 8))
	s := newScript(x, 900, l)
	f.last = moment{saved: s.model}
	mark := func(begun, saved *model) {
		if f.last = (moment{saved, begun}); begun != nil {
			f.saves++
		}
	}
	f.log = l
	f.fs.Fail = func(op disktest.Op, _ int) error {
		if !kinds(op) {
			return nil
		}
		if n--; n == 0 || more && n < 0 {
			f.hit = true
			return why
		}
		return nil
	}
	for life := 0; life < 3 && f.err == nil; life++ {
		if life > 0 {
			if f.err = f.log.Close(); f.err == nil {
				f.log, f.err = Open(dir, small(f.fs))
			}
		}
		if f.err == nil {
			f.err = s.run(f.log, 25, mark)
		}
	}
	return f
}

// check checks the log after the run: nothing more is saved, though the disk is well again, and all saved records can be read. Then the
// process is killed, or power is lost, and all is there that was acknowledged.
func (f *failing) check(x *rand.Rand) error {
	if l := f.log; l != nil && f.err != nil && !l.closed {
		if err := l.Save(batchOf(voted("later", 1, "v"))); err == nil {
			return fmt.Errorf("a Save succeeded after %w", f.err)
		}
		if err := f.last.saved.differs(l); err != nil {
			return fmt.Errorf("what readers see: %w", err)
		}
	}
	f.fs.Fail = nil
	if l := f.log; l != nil && f.err != nil && !l.closed {
		if err := l.Save(batchOf(voted("later", 1, "v"))); err == nil {
			return fmt.Errorf("a Save succeeded when the disk was well again, after %w", f.err)
		}
	}
	for loss := range disktest.Losses {
		if err := checkImage(f.fs.Crash(loss, x), f.last, x); err != nil {
			return fmt.Errorf("power was lost, %d: %w", loss, err)
		}
	}
	f.fs.Kill()
	if err := checkImage(f.fs, f.last, x); err != nil {
		return fmt.Errorf("the process was killed: %w", err)
	}
	return nil
}

var failureKinds = []struct {
	name  string
	kinds func(disktest.Op) bool
}{
	{"write", func(op disktest.Op) bool { return op.Kind == disktest.OpWrite }},
	{"sync", func(op disktest.Op) bool { return op.Kind == disktest.OpSync }},
	{"start", func(op disktest.Op) bool { return op.Kind == disktest.OpStart }},
	{"await", func(op disktest.Op) bool { return op.Kind == disktest.OpAwait }},
	{"sync directory", func(op disktest.Op) bool { return op.Kind == disktest.OpSyncDir }},
	{"rename", func(op disktest.Op) bool { return op.Kind == disktest.OpRename }},
	{"create", func(op disktest.Op) bool { return op.Kind == disktest.OpCreate }},
	{"remove", func(op disktest.Op) bool { return op.Kind == disktest.OpRemove }},
}

// docs/design.md#7.3: the n-th call of each kind fails, for every n of a run with Saves, seals, segments, compactions and recoveries: once, or
// from then on. A failed write has written half, and a failed sync has dropped what was not synced (P23).
func TestEachCallFails(t *testing.T) {
	for _, k := range failureKinds {
		for _, more := range []bool{false, true} {
			for _, why := range []error{errDisk, syscall.ENOSPC} {
				name := fmt.Sprintf("%s/%s/once", k.name, why)
				if more {
					name = fmt.Sprintf("%s/%s/for good", k.name, why)
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					died := 0
					for n := 1; ; n++ {
						f := runFailing(t, 1, n, more, why, k.kinds)
						if !f.hit {
							require.Greater(t, n, 1)
							t.Logf("%d calls, %d ended the log", n-1, died)
							return
						}
						if f.err != nil {
							died++
						}
						require.NoError(t, f.check(rand.New(rand.NewPCG(uint64(n), 9))), "call %d", n)
						if testing.Short() {
							n += 30
						}
					}
				})
			}
		}
	}
}

// A Save whose write or sync failed is an error, and so is every later one: an fsync is not tried again (P23), though the second would
// succeed.
func TestFailedSyncOfBatchKills(t *testing.T) {
	for _, kind := range []disktest.OpKind{disktest.OpWrite, disktest.OpSync} {
		fs := created(t)
		l := openIn(t, fs)
		m := modelOf(l)
		saveSized(t, l, m, 100)
		calls := 0
		fs.Fail = func(op disktest.Op, _ int) error {
			if op.Kind == kind {
				if calls++; calls == 1 {
					return errDisk
				}
			}
			return nil
		}
		err := l.Save(batchOf(voted("lost", 1, "v")))
		require.ErrorIs(t, err, errDisk)
		for range 3 {
			err = l.Save(batchOf(voted("next", 1, "v")))
			require.ErrorIs(t, err, errDisk)
			require.ErrorContains(t, err, "dead")
		}
		require.Equal(t, 1, calls, "nothing is tried again")
		require.NoError(t, m.differs(l), "readers go on")
		require.NoError(t, l.Close(), "a dead log has nothing to seal")
		require.Equal(t, 1, calls)
		require.NoError(t, m.differs(openIn(t, fs.Crash(disktest.LoseAll, nil))))
	}
}

// The disk is full at every size. A batch that does not fit is refused before anything of it is written, and nothing is lost. With more
// room the log goes on after it was opened again.
func TestDiskFull(t *testing.T) {
	refused := 0
	step := int64(1000)
	if testing.Short() {
		step = 7000
	}
	for limit := int64(20 << 10); limit < 200<<10; limit += step {
		fs := created(t)
		l := openIn(t, fs)
		fs.Limit = limit
		x := rand.New(rand.NewPCG(uint64(limit), 10))
		s := newScript(x, 900, l)
		last := moment{saved: s.model}
		var err error
		for err == nil && len(s.model.records) < 150 {
			err = s.run(l, 1, func(begun, saved *model) { last = moment{saved, begun} })
		}
		if err != nil {
			refused++
			require.ErrorIs(t, err, syscall.ENOSPC, "limit %d", limit)
			require.ErrorContains(t, err, "no room for a batch of ", "limit %d", limit)
			require.Error(t, l.Save(batchOf(voted("later", 1, "v"))))
			require.NoError(t, last.saved.differs(l), "readers go on, limit %d", limit)
		}
		for loss := range disktest.Losses {
			image := fs.Crash(loss, x)
			image.Limit = limit
			if again, err := Open(dir, small(image)); err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC, "limit %d: there may be no room for the rescue", limit)
			} else {
				require.NoError(t, last.saved.differs(again), "limit %d: nothing of what was refused was written", limit)
				require.NoError(t, again.Close())
			}
			image.Kill()
			image.Limit = 0
			require.NoError(t, checkImage(image, moment{saved: last.saved}, x), "limit %d", limit)
		}
	}
	require.Greater(t, refused, 10)
	t.Logf("%d runs ended for lack of room", refused)
}

// The background work needs room, too, and can wait for it. A Save fails only if it needs the room itself.
func TestRoomIsFreedInTime(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	saveSized(t, l, m, 100)
	first := l.active
	for l.active == first { // takes what is prepared
		fs.Limit = 1 // the files stay, and none grows
		saveSized(t, l, m, 500)
	}
	require.Nil(t, l.prepared, "there is no room for the next segment")
	for l.active.size-l.active.end > 1000 {
		saveSized(t, l, m, 500)
	}
	fs.Limit = 0
	for range 30 {
		saveSized(t, l, m, 500)
	}
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Close())
	require.NoError(t, m.differs(openIn(t, fs)))
}

// A Save for which there is room finds it, although more would be prepared if there were space.
func TestRoomForOneBatchIsEnough(t *testing.T) {
	fs := created(t)
	o := small(fs)
	o.SegmentSize = 1 << 20
	l, err := Open(dir, o)
	require.NoError(t, err)
	m := modelOf(l)
	const large = 50_000
	for range 3 {
		saveSized(t, l, m, large)
	}
	require.NotNil(t, l.prepared)
	used := int64(0)
	for _, name := range fs.Names() {
		used += int64(len(fs.Content(name)))
	}
	fs.Limit = used + dataStart + large + 2*pageSize
	for segments := 0; segments < 2; { // the prepared segment, and another
		active := l.active
		saveSized(t, l, m, large)
		if l.active != active {
			segments++
		}
	}
	require.False(t, l.scarce)
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Close())
	require.NoError(t, m.differs(openIn(t, fs)))
}

// A lack of room while something is compacted is not the end of the log.
func TestNoRoomForCompaction(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	noRoom := 0
	fs.Fail = func(op disktest.Op, _ int) error {
		if op.Kind == disktest.OpWrite && strings.HasSuffix(op.Name, segmentSuffix+".tmp") && op.At >= dataStart && len(op.Data)%pageSize != 0 {
			noRoom++ // a batch of a copy; a prepared segment has whole pages
			return syscall.ENOSPC
		}
		return nil
	}
	round := uint64(0)
	save := func(n int) {
		for range n {
			round++
			b := batchOf(voted("again", round, strings.Repeat("v", 900)))
			require.NoError(t, l.Save(b))
			m.apply(b)
		}
	}
	save(20)
	require.Positive(t, noRoom)
	require.Greater(t, len(l.row), 3, "garbage has gathered")
	fs.Fail = nil
	save(20)
	require.LessOrEqual(t, len(l.row), 4, "it is gone")
	require.NoError(t, m.differs(l))
	fs.Kill()
	require.NoError(t, m.differs(openIn(t, fs)))
}

// A record that can't be saved ends the log, as any other error of Save; nothing of its batch is there.
func TestRefusedSaveKills(t *testing.T) {
	big := paxos.Value(strings.Repeat("x", maxPayload))
	tooMany := make([]paxos.Record, 17)
	for i := range tooMany {
		tooMany[i] = voted(fmt.Sprint("many", i), 1, string(big[:maxPayload-100]))
	}
	for name, b := range map[string]paxos.Batch{
		"a record of 16 MiB":      batchOf(voted("ok", 1, "v"), paxos.Record{Instance: "big", Acceptor: paxos.Acceptor{Promised: ballot(1), Accepted: ballot(1), Value: big}}),
		"a batch over 256 MiB":    batchOf(tooMany...),
		"a name of 256 bytes":     batchOf(voted("ok", 1, "v"), voted(strings.Repeat("n", paxos.MaxName+1), 1, "v")),
		"no name":                 batchOf(voted("ok", 1, "v"), voted("", 1, "v")),
		"chosen without an Index": batchOf(paxos.Record{Instance: "a", Chosen: true}),
		"another's Index":         batchOf(decided("other", 1, "v")),
		"one Index twice":         batchOf(decided("one", 9, "v"), decided("other", 9, "v")),
		"an Index above Last":     batchOf(decided("far", 1<<40, "v")),
		"another server":          {Server: &paxos.ServerState{Cluster: "lunch", ID: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && len(b.Records) == len(tooMany) {
				t.Skip("it takes 300 MiB")
			}
			fs := created(t)
			l := openIn(t, fs)
			m := modelOf(l)
			saveSized(t, l, m, 10)
			before := len(fs.Ops())
			err := l.Save(b)
			require.Error(t, err)
			require.Contains(t, err.Error(), "wal: data: ")
			t.Log(err)
			require.Len(t, fs.Ops(), before, "nothing was written")
			require.ErrorContains(t, l.Save(batchOf(voted("later", 1, "v"))), "dead")
			require.NoError(t, m.differs(l))
			require.NoError(t, l.Close())
			require.NoError(t, m.differs(openIn(t, fs)))
		})
	}
}

// An error that ends a compaction in the middle of a segment, after a part was copied, is reported as it is. It is no damage to the
// segment.
func TestCompactionEndsInTheMiddle(t *testing.T) {
	for _, why := range []error{syscall.ENOSPC, errStopping} {
		fs := created(t)
		o := small(fs)
		o.least, o.SegmentSize = 512<<10, 512<<10
		l, err := Open(dir, o)
		require.NoError(t, err)
		m := modelOf(l)
		copies := 0
		fs.Fail = func(op disktest.Op, _ int) error {
			if op.Kind == disktest.OpWrite && strings.HasSuffix(op.Name, segmentSuffix+".tmp") && op.At >= dataStart && len(op.Data)%pageSize != 0 {
				if copies++; copies == 1 { // there are two of each segment
					return why
				}
			}
			return nil
		}
		for n := range 1200 { // two of three are written again soon
			b := batchOf(voted(fmt.Sprintf("middle/%d", n), uint64(n+1), strings.Repeat("v", 900)), voted("again", uint64(n+1), strings.Repeat("v", 1800)))
			require.NoError(t, l.Save(b), "%v is not the end of the log", why)
			m.apply(b)
		}
		require.Greater(t, copies, 4, "compaction was tried again")
		require.NoError(t, m.differs(l))
		require.NoError(t, l.Close())
		again, err := Open(dir, o)
		require.NoError(t, err)
		require.NoError(t, m.differs(again))
		require.NoError(t, again.Close())
	}
}
