package wal

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// Marks of a log, by where they are.
type markCount struct{ open, closed, copied, hinted int }

// marksOf counts the marks in the files of a log.
func marksOf(t testing.TB, files still) (n markCount) {
	m, err := readManifest(disktest.At(files, dir))
	require.NoError(t, err)
	for _, s := range m.segments {
		path := segmentPath(dir, s.number)
		count := marksIn(files[path][dataStart:])
		switch {
		case s.copy:
			n.copied += count
		case s.closed:
			n.closed += count
		default:
			n.open += count
		}
		n.hinted += hintedMarks(t, files[hintPath(path)])
	}
	return n
}

// marksIn counts the marks in the batches at the beginning of b.
func marksIn(b []byte) (n int) {
	for {
		h, ok := parseBatch(b)
		if !ok || len(b) < batchHead+h.length {
			return n
		}
		for rest := b[batchHead:][:h.length]; len(rest) > 0; {
			e, next, err := nextEntry(rest, 0)
			if err != nil {
				return n
			}
			if rest = next; e.kind == kindMark {
				n++
			}
		}
		b = b[min(int64(len(b)), padded(int64(batchHead+h.length))):]
	}
}

// hintedMarks counts the marks in a hint.
func hintedMarks(t testing.TB, b []byte) (n int) {
	if len(b) == 0 {
		return 0
	}
	varint := func() uint64 {
		v, k := binary.Uvarint(b)
		b = b[k:]
		return v
	}
	for b = b[hintHead : len(b)-4]; len(b) > 0; {
		kind := b[0]
		b = b[1:]
		varint()
		size := varint()
		if kind != kindRecord && kind != kindMark {
			b = b[size:]
			continue
		}
		varint()
		b = b[1+int(b[0]):]
		if kind == kindMark {
			n++
			varint()
			varint()
		}
	}
	return n
}

// marksWritten counts the marks in the batches that were written by calls.
func marksWritten(ops []disktest.Op) (n int) {
	for _, op := range ops {
		if op.Kind == disktest.OpWrite && filepath.Ext(op.Name) == segmentSuffix && op.At >= dataStart {
			n += marksIn(op.Data)
		}
	}
	return n
}

// roomy are options by which all of a test fits into one segment.
func roomy(fs *disktest.FS) Options {
	o := small(fs)
	o.least, o.SegmentSize = 32<<10, 32<<10
	return o
}

// A decision for the value that is voted for in the active segment is a mark, whatever its ballot; anything else is a whole record. Readers
// see the same, the next Open finds the same, and compaction leaves the same.
func TestWhenMarks(t *testing.T) {
	value, other := strings.Repeat("v", 100), strings.Repeat("o", 100)
	decide := func(v string) paxos.Record { return decided("lunch", 7, v) }
	cases := []struct {
		name  string
		saves []paxos.Batch
		marks int
	}{
		{"the same value", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value))}, 1},
		{"an equal value", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(strings.Clone(value)))}, 1},
		{"another ballot", []paxos.Batch{batchOf(voted("lunch", 5, value)), batchOf(decide(value))}, 1},
		{"another value", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(other))}, 0},
		{"another value at the end", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value[1:] + "w"))}, 0},
		{"a longer value", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value + "v"))}, 0},
		{"another instance", []paxos.Batch{batchOf(voted("dinner", 1, value)), batchOf(decide(value))}, 0},
		{"no vote", []paxos.Batch{batchOf(promised("lunch", 1)), batchOf(decide(value))}, 0},
		{"the latest vote", []paxos.Batch{batchOf(voted("lunch", 1, other)), batchOf(voted("lunch", 2, value)), batchOf(decide(value))}, 1},
		{"an earlier vote", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(voted("lunch", 2, other)), batchOf(decide(value))}, 0},
		{"a promise after the vote", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(func() paxos.Record {
			r := voted("lunch", 1, value)
			r.Acceptor.Promised = ballot(9)
			return r
		}()), batchOf(decide(value))}, 1},
		{"decided again", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value)), batchOf(decided("lunch", 8, value))}, 1},
		{"decided again as before", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value)), batchOf(decide(value))}, 1},
		{"voted on again", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value)), batchOf(voted("lunch", 3, value))}, 1},
		{"in one batch", []paxos.Batch{batchOf(voted("lunch", 1, value), decide(value))}, 0},
		{"replaced in the batch", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(voted("lunch", 2, other), decide(value))}, 1},
		{"twice in the batch", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value), decided("lunch", 8, value))}, 1},
		{"dropped before", []paxos.Batch{batchOf(voted("lunch", 1, value)), {Drop: []paxos.NameRange{{From: "l", To: "m"}}}, batchOf(decide(value))}, 0},
		{"dropped in the batch", []paxos.Batch{batchOf(voted("lunch", 1, value)),
			{Drop: []paxos.NameRange{{From: "l", To: "m"}}, Records: []paxos.Record{decide(value)}}}, 1},
		{"dropped after", []paxos.Batch{batchOf(voted("lunch", 1, value)), batchOf(decide(value)), {Drop: []paxos.NameRange{{From: "l", To: "m"}}}}, 1},
		{"a short value", []paxos.Batch{batchOf(voted("lunch", 1, value[:leastMarked-1])), batchOf(decide(value[:leastMarked-1]))}, 0},
		{"the shortest", []paxos.Batch{batchOf(voted("lunch", 1, value[:leastMarked])), batchOf(decide(value[:leastMarked]))}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fs := created(t)
			l, err := Open(dir, roomy(fs))
			require.NoError(t, err)
			m := modelOf(l)
			for _, b := range c.saves {
				saveIn(t, l, m, b)
			}
			require.Equal(t, c.marks, marksWritten(fs.Ops()))
			checkLives(t, fs, l, m)
		})
	}
}

// checkLives checks that the log holds m, also after a kill, a loss of power, by its hints and without, and compacted. Its counts are right
// all the time.
func checkLives(t *testing.T, fs *disktest.FS, l *Log, m *model) {
	t.Helper()
	check := func(l *Log, what string) {
		t.Helper()
		require.NoError(t, m.differs(l), what)
		require.Equal(t, countedLive(l), l.Stats().Live, what)
	}
	check(l, "saved")
	for _, image := range []*disktest.FS{fs.Crash(disktest.LoseAll, nil), fs.Clone()} {
		again, err := Open(dir, roomy(image))
		require.NoError(t, err)
		check(again, "recovered")
	}
	for active := l.active; l.active == active; {
		b := batchOf(decided(fmt.Sprint("more/", l.sequence), 1000+l.sequence, strings.Repeat("m", 2000)))
		require.NoError(t, l.Save(b))
		m.apply(b)
	}
	check(l, "closed")
	require.NoError(t, l.Close())
	files := stillOf(fs)
	for _, name := range append(files.names(), "") {
		if name == "" || strings.HasSuffix(name, ".hint") {
			still, err := files.with(name, nil).open()
			require.NoError(t, err)
			check(still, "closed, without "+name)
			require.NoError(t, still.Verify())
		}
	}
	o := roomy(fs)
	l, err := Open(dir, o)
	require.NoError(t, err)
	require.NoError(t, l.compact(l.row[:1], true))
	check(l, "compacted")
	require.NoError(t, l.Close())
	files = stillOf(fs)
	require.Zero(t, marksOf(t, files).copied)
	still, err := files.open()
	require.NoError(t, err)
	check(still, "compacted, opened again")
	require.NoError(t, still.Verify())
}

// countedLive is how many bytes of a log count, by its index.
func countedLive(l *Log) (n int64) {
	n = int64(l.stateAt.size)
	for at := range l.index.n {
		n += l.index.spot(at).bytes()
	}
	for _, s := range l.row { // drops count
		scan, err := l.newScan(s, nil, nil)
		for err == nil {
			entries, at, ok, next := scan.next()
			if err = next; !ok {
				break
			}
			scan.eachEntry(entries, at, func(e entry) error {
				if e.kind == kindDrop {
					n += int64(len(e.bytes))
				}
				return nil
			})
		}
	}
	return n
}

// A mark is shorter than the record that it stands for by almost all of the value.
func TestMarkIsShort(t *testing.T) {
	for _, size := range []int{leastMarked, 64, 1 << 10, 1 << 20} {
		for _, name := range []string{"a", "0123456789abcdef", strings.Repeat("n", paxos.MaxName)} {
			r := decided(name, 1<<20, strings.Repeat("v", size))
			r.Acceptor.Promised = ballot(1 << 20)
			var whole, short encoder
			require.NoError(t, whole.record(&r))
			require.NoError(t, short.mark(&r, vote{offset: 30 << 20}))
			t.Logf("a value of %d bytes, a name of %d: %d as a whole, %d as a mark", size, len(name), len(whole.buf), len(short.buf))
			require.LessOrEqual(t, len(short.buf), len(whole.buf)-size+7)
		}
	}
}

// A vote of an earlier life of the process is not in its memory: it is not trusted, nor read.
func TestNoMarkOfEarlierLife(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	save := func(r paxos.Record) { saveIn(t, l, m, batchOf(r)) }
	v := voted("lunch", 1, strings.Repeat("v", 100))
	save(v)
	require.NoError(t, l.Close())
	l = openIn(t, fs)
	save(chosen(v, 1))
	require.Zero(t, marksWritten(fs.Ops()))
	require.NoError(t, m.differs(l))
}

// A mark and its vote lie in one segment: when the batch of a decision does not fit into that of the vote any more, it is a whole record.
func TestMarkStaysInSegment(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	crossed := 0
	for n := uint64(1); n < 400; n++ {
		v := voted(fmt.Sprint("job/", n), 1, strings.Repeat("v", 50+int(n%300)))
		segment := l.active
		for _, b := range []paxos.Batch{batchOf(v, voted("again", n, "")), batchOf(voted("again", n, strings.Repeat("a", int(n%200))), chosen(v, n))} {
			voting := l.active
			saveIn(t, l, m, b)
			if b.Records[1].Chosen {
				require.Equal(t, voting == l.active, l.marks[1].size > 0)
				if voting != l.active {
					crossed++
				}
			}
			segment = l.active
		}
		require.Equal(t, segment, l.active)
	}
	t.Logf("%d decisions came in the next segment", crossed)
	require.Greater(t, crossed, 5)
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Close())
	still, err := stillOf(fs).open()
	require.NoError(t, err)
	require.NoError(t, m.differs(still))
	require.NoError(t, still.Verify())
}

// A vote in an earlier segment is not taken for another one, for the same value, that lies at the same offset of the active one.
func TestNoMarkByOffsetAlone(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	save := func(r paxos.Record) { saveIn(t, l, m, batchOf(r)) }
	value := strings.Repeat("v", 100)
	a, b := voted("a", 1, value), voted("b", 1, value)
	save(a)
	for l.active.size-l.active.end >= 180 {
		saveSized(t, l, m, 10)
	}
	save(b) // the first batch of the next
	at := func(name string) *spot {
		i, _ := l.index.findString(name)
		return l.index.spot(i)
	}
	require.Equal(t, at("a").offset, at("b").offset)
	require.NotEqual(t, at("a").segment, at("b").segment)
	save(chosen(a, 5000))
	require.Zero(t, l.marks[0].size)
	require.NoError(t, m.differs(l))
	save(chosen(b, 5001))
	require.NotZero(t, l.marks[0].size)
	require.NoError(t, m.differs(l))
}

// Of large values, too, most decisions are marks: segments have room for some batches.
func TestMarksOfLargeValues(t *testing.T) {
	l, _ := openNew(t, Options{})
	marks, n := 0, uint64(0)
	for range 12 {
		v := voted(fmt.Sprint("large/", n), 1, strings.Repeat("v", 1<<20))
		require.NoError(t, l.Save(batchOf(v)))
		n++
		require.NoError(t, l.Save(counted(l, batchOf(chosen(v, n)))))
		if l.marks[0].size > 0 {
			marks++
		}
	}
	require.Greater(t, marks, 8)
	require.Less(t, l.Stats().Live, int64(13<<20))
}

// Power is lost, or the process killed, at any call of a compaction that has marks to copy.
func TestCrashWhileMarksAreCopied(t *testing.T) {
	fs := created(t)
	l, err := Open(dir, roomy(fs))
	require.NoError(t, err)
	m := modelOf(l)
	for i := range uint64(20) {
		v := voted(fmt.Sprint("job/", i), 1, strings.Repeat("v", 60))
		for _, b := range []paxos.Batch{batchOf(v), batchOf(chosen(v, i+1))} {
			saveIn(t, l, m, b)
		}
	}
	for active := l.active; l.active == active; {
		saveSized(t, l, m, 2000)
	}
	require.Equal(t, 20, marksOf(t, stillOf(fs)).closed)
	h, from := disktest.NewHistory(fs, nil), len(fs.Ops())
	require.NoError(t, l.compact(l.row[:1], true))
	require.Zero(t, marksOf(t, stillOf(fs)).closed)
	x := rand.New(rand.NewPCG(1, 20))
	for _, op := range fs.Ops()[from:] {
		h.Play(op)
		for loss := range disktest.Losses {
			require.NoError(t, checkImage(h.Crash(loss, x), moment{saved: m}, x), "%s %s", op.Kind, op.Name)
		}
		require.NoError(t, checkImage(h.Kill(), moment{saved: m}, x), "%s %s", op.Kind, op.Name)
	}
}
