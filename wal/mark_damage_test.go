package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// markedFiles are those of a log in which a mark, "lunch", and its vote lie in a closed segment that has a hint.
func markedFiles(t *testing.T) (files still, path string, of, mark spot, m *model) {
	fs := created(t)
	l := openIn(t, fs)
	m = modelOf(l)
	save := func(r paxos.Record) { saveIn(t, l, m, batchOf(r)) }
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

// Damage to a mark, or to its vote, is reported with the file, the offset and the instance. Load, Verify, an Open without the hint and
// compaction report it. Compaction removes nothing then.
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

// A mark that does not lead to its vote is reported, though all checksums are right. It leads beyond the batches, into the middle of an
// entry, to itself, to another instance, or to another vote for the same one.
func TestMarkLeadsAstray(t *testing.T) {
	value, other := strings.Repeat("v", 100), strings.Repeat("o", 100)
	var e encoder
	forged := voted("lunch", 2, other)
	require.NoError(t, e.record(&forged))
	within := string(e.buf) // bytes that look like a vote, but for their checksum
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
				require.NoError(t, l.Save(counted(l, batchOf(r))))
				i, _ := l.index.findString(r.Instance)
				return *l.index.spot(i)
			}
			first, early, of := save(voted("first", 1, within)), save(voted("lunch", 1, other)), save(voted("lunch", 2, value))
			decision := chosen(voted("lunch", 2, value), 1)
			require.NoError(t, l.Save(counted(l, batchOf(decided("before", 2, "v"))))) // it raises Last, so that the mark is alone in its batch
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
			require.ErrorContains(t, err, `a mark says that the vote for "lunch" is at offset`)
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

// The votes that are kept in memory are bounded, in number and in bytes, and the latest are there.
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
		require.NoError(t, l.Save(counted(l, batchOf(v))))
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
