package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// Marks of a log, by where they are.
type markCount struct{ open, closed, copied, hinted int }

// marksOf counts the marks in the files of a log.
func marksOf(t testing.TB, files still) (n markCount) {
	m, err := readManifest(files, dir)
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
		if op.Kind == disktest.OpWrite && filepath.Ext(op.Name) == ".log" && op.At >= dataStart {
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

// A decision for the value that is voted for in the active segment is a mark, whatever its ballot; anything else is a whole record. What readers see is
// the same, as is what the next Open finds, and what is left after compaction.
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
				require.NoError(t, l.Save(b))
				m.apply(b)
			}
			require.Equal(t, c.marks, marksWritten(fs.Ops()))
			checkLives(t, fs, l, m)
		})
	}
}

// checkLives checks that the log holds m, also after a kill, a loss of power, by its hints and without, and compacted. What counts is
// counted right all the time.
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
	save := func(r paxos.Record) {
		require.NoError(t, l.Save(batchOf(r)))
		m.apply(batchOf(r))
	}
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
			require.NoError(t, l.Save(b))
			m.apply(b)
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
	save := func(r paxos.Record) {
		require.NoError(t, l.Save(batchOf(r)))
		m.apply(batchOf(r))
	}
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
		require.NoError(t, l.Save(batchOf(chosen(v, n))))
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
			require.NoError(t, l.Save(b))
			m.apply(b)
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

// markedFiles are those of a log in which a mark, "lunch", and its vote lie in a closed segment that has a hint.
func markedFiles(t *testing.T) (files still, path string, of, mark spot, m *model) {
	fs := created(t)
	l := openIn(t, fs)
	m = modelOf(l)
	save := func(r paxos.Record) {
		require.NoError(t, l.Save(batchOf(r)))
		m.apply(batchOf(r))
	}
	at := func() spot {
		i, ok := l.index.findString("lunch")
		require.True(t, ok)
		return *l.index.spot(i)
	}
	saveSized(t, l, m, 900)
	v := voted("lunch", 1, strings.Repeat("v", 100))
	save(v)
	of, path = at(), l.active.path
	save(chosen(v, 500))
	mark = at()
	require.Equal(t, []uint32{of.offset, of.size}, []uint32{mark.place, mark.vote})
	for l.active.path == path {
		saveSized(t, l, m, 900)
	}
	require.NoError(t, l.Close())
	files = stillOf(fs)
	require.Equal(t, 1, hintedMarks(t, files[hintPath(path)]))
	return files, path, of, mark, m
}

// Damage to a mark, or to its vote, is told of with the file, the offset and the instance: by Load, by Verify, by an Open without the hint, and
// by compaction, which removes nothing then.
func TestDamageToMark(t *testing.T) {
	files, path, of, mark, m := markedFiles(t)
	tell := func(err error, offset uint32) {
		t.Helper()
		var damaged *CorruptionError
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, path, damaged.File)
		if offset > 0 {
			require.Equal(t, int64(offset), damaged.Offset)
		}
	}
	for _, s := range []spot{of, mark} {
		for at := s.offset; at < s.offset+s.size; at++ {
			content := slices.Clone(files[path])
			content[at] ^= 0x21
			broken := files.with(path, content)
			l, err := broken.open()
			require.NoError(t, err, "it has a hint")
			_, err = l.Load("lunch")
			tell(err, s.offset)
			require.ErrorContains(t, err, `"lunch"`)
			tell(l.Verify(), 0)
			unreadable, err := m.says(l)
			require.NoError(t, err)
			require.Equal(t, 1, unreadable, "nothing else is touched")
			_, err = broken.with(hintPath(path), nil).open()
			tell(err, 0)

			fs := broken.moving()
			moving := openIn(t, fs)
			i := slices.IndexFunc(moving.row, func(s *segment) bool { return s.path == path })
			tell(moving.compact(moving.row[i:i+1], i == 0), 0)
			require.Equal(t, content, fs.Content(path))
		}
	}
}

// A mark that leads elsewhere than to its vote is told of, though all checksums are right: beyond the batches, into the middle of an entry, to itself,
// to another instance, to another vote for the same one.
func TestMarkLeadsAstray(t *testing.T) {
	value, other := strings.Repeat("v", 100), strings.Repeat("o", 100)
	var e encoder
	forged := voted("lunch", 2, other)
	require.NoError(t, e.record(&forged))
	within := string(e.buf) // what looks like a vote, but for its checksum
	for name, astray := range map[string]func(first, early, of, mark spot) vote{
		"the head":        func(_, _, of, _ spot) vote { return vote{offset: 200, size: of.size} },
		"beyond":          func(_, _, of, _ spot) vote { return vote{offset: 16383, size: of.size} },
		"itself":          func(_, _, _, mark spot) vote { return vote{offset: mark.offset, size: mark.size} },
		"what follows":    func(_, _, of, mark spot) vote { return vote{offset: mark.offset + mark.size, size: of.size} },
		"amidst":          func(_, _, of, _ spot) vote { return vote{offset: of.offset + 8, size: of.size} },
		"another name":    func(first, _, _, _ spot) vote { return vote{offset: first.offset, size: first.size} },
		"an earlier vote": func(_, early, _, _ spot) vote { return vote{offset: early.offset, size: early.size} },
		"in a value": func(first, _, _, _ spot) vote {
			return vote{offset: first.offset + first.size - uint32(len(within)) - 1}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := created(t)
			l, err := Open(dir, roomy(fs))
			require.NoError(t, err)
			save := func(r paxos.Record) spot {
				require.NoError(t, l.Save(batchOf(r)))
				i, _ := l.index.findString(r.Instance)
				return *l.index.spot(i)
			}
			first, early, of := save(voted("first", 1, within)), save(voted("lunch", 1, other)), save(voted("lunch", 2, value))
			decision := chosen(voted("lunch", 2, value), 1)
			mark := save(decision)
			save(voted("later", 1, value))
			require.NoError(t, l.Close())

			// The mark is written anew, with another place of its vote, and the batch gets its checksums.
			path := segmentPath(dir, mark.segment)
			content := fs.Content(path)
			v := astray(first, early, of, mark)
			switch name {
			case "another name", "in a value":
				v.sum = leUint32(content[v.offset:])
			default:
				v.sum = leUint32(content[of.offset:])
			}
			var e encoder
			require.NoError(t, e.mark(&decision, v))
			require.Len(t, e.buf, int(mark.size))
			copy(content[mark.offset:], e.buf)
			sumBatch(content[mark.offset-batchHead:], l.store, uint64(mark.segment), uint64(mark.offset)-batchHead)
			_, err = stillOf(fs).with(path, content).open()
			require.NoError(t, told(err))
			require.ErrorContains(t, err, `a mark says that the vote for "lunch" is at`)
		})
	}
}

// A hint that leads astray is told of by whoever reads the record.
func TestHintOfMarkLeadsAstray(t *testing.T) {
	files, path, of, mark, m := markedFiles(t)
	hint := files[hintPath(path)]
	tail := binary.AppendUvarint(binary.AppendUvarint([]byte("lunch"), uint64(mark.offset-of.offset)), uint64(of.size))
	at := strings.Index(string(hint), string(tail)) + len("lunch")
	require.Greater(t, at, len("lunch"))
	refused, unreadable := 0, 0
	for i := at; i < at+len(tail)-len("lunch"); i++ {
		for bit := range 8 {
			changed := slices.Clone(hint)
			changed[i] ^= 1 << bit
			resum(hintPath(path), changed, 0)
			l, err := files.with(hintPath(path), changed).open()
			if err != nil {
				require.NoError(t, told(err))
				refused++
				continue
			}
			n, err := m.says(l)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.NoError(t, told(l.Verify()))
			unreadable++
		}
	}
	t.Logf("%d refused, %d unreadable", refused, unreadable)
	require.Positive(t, unreadable)
}

// What is kept of votes is bounded, in number and in bytes, and the latest are there.
func TestVotesAreBounded(t *testing.T) {
	for _, size := range []int{leastMarked, 100 << 10} {
		var v votes
		value := paxos.Value(strings.Repeat("v", size))
		most := 0
		for i := range uint32(3 * maxVotes) {
			v.add(vote{offset: i}, value)
			most = max(most, v.bytes)
			if i%3 == 0 {
				_, ok := v.take(i, value)
				require.True(t, ok)
				_, ok = v.take(i, value)
				require.False(t, ok, "twice")
			}
		}
		require.LessOrEqual(t, len(v.list), maxVotes)
		require.LessOrEqual(t, most, maxVoteBytes)
		bytes := 0
		for _, k := range v.list {
			bytes += len(k.value)
		}
		require.Equal(t, bytes, v.bytes)
		_, ok := v.take(3*maxVotes-100, value)
		require.True(t, ok)
		_, ok = v.take(1, value)
		require.False(t, ok)
		v.reset()
		require.Zero(t, v.bytes)
		_, ok = v.take(3*maxVotes-200, value)
		require.False(t, ok)
		for _, k := range v.list[:cap(v.list)] {
			require.Empty(t, k.value, "it keeps nothing alive")
		}
	}
}

// A value of the most bytes that a record can have does not become a mark that could not be compacted.
func TestLongestMark(t *testing.T) {
	l, _ := openNew(t, Options{})
	for i, size := range []int{mostMarked, mostMarked + 1} {
		v := voted(strings.Repeat(fmt.Sprint(i), paxos.MaxName), paxos.MaxRound, strings.Repeat("v", size))
		require.NoError(t, l.Save(batchOf(v)))
		v.Chosen, v.Index = true, 1<<63+uint64(i)
		require.NoError(t, l.Save(batchOf(v)))
		require.Equal(t, size == mostMarked, l.marks[0].size > 0)
		var e encoder
		require.NoError(t, e.record(&v))
	}
}

// A Load of a mark tells of an error of the disk as that, and not as damage.
func TestLoadOfMarkFails(t *testing.T) {
	files, path, of, _, _ := markedFiles(t)
	for _, cut := range []uint32{of.offset + 1, of.offset + of.size - 1} {
		l, err := files.open()
		require.NoError(t, err)
		l.segments[of.segment].file = stillFile(files[path][:cut])
		_, err = l.Load("lunch")
		require.NoError(t, told(err))
		l.segments[of.segment].file = failingFile{}
		_, err = l.Load("lunch")
		require.ErrorIs(t, err, errDisk)
		var damaged *CorruptionError
		require.False(t, errors.As(err, &damaged))
		assert.NoError(t, l.Close())
	}
}

type failingFile struct{ stillFile }

func (failingFile) ReadAt([]byte, int64) (int, error) { return 0, errDisk }
