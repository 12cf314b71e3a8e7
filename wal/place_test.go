package wal

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// Without a seal, too, a batch that can't be read is damage if a later one can be; only the last may go.
func TestDamageBeforeLaterBatch(t *testing.T) {
	fs := created(t)
	o := small(fs)
	o.sealEvery = defaultEvery
	l, err := Open(dir, o)
	require.NoError(t, err)
	m := modelOf(l)
	var ends []int64
	var before *model
	for range 8 {
		before = m.clone()
		saveSized(t, l, m, 50)
		ends = append(ends, l.active.end)
	}
	path, began := l.active.path, ends[len(ends)-2]
	require.Zero(t, l.active.sealed)
	fs.Kill()
	files := stillOf(fs)
	for at := int64(dataStart); at < ends[len(ends)-1]; at++ {
		content := slices.Clone(files[path])
		if content[at] ^= 0x10; isPadding(content, at) {
			continue
		}
		again, err := Open(dir, small(files.with(path, content).moving()))
		if at >= began {
			require.NoError(t, err, "byte %d", at)
			require.NoError(t, before.differs(again), "byte %d: the last batch goes as a whole", at)
			continue
		}
		require.NoError(t, told(err), "byte %d", at)
		require.ErrorContains(t, err, path)
	}
}

// isPadding reports whether the byte lies between two batches, where nothing looks.
func isPadding(b []byte, at int64) bool {
	for from := int64(dataStart); ; {
		h, ok := parseBatch(b[from:])
		if !ok {
			return false
		}
		end := from + batchHead + int64(h.length)
		if at < end {
			return false
		}
		if from = padded(end); at < from {
			return true
		}
	}
}

// P26: a batch of the same segment that lies elsewhere than where it was written is none.
func TestBatchOutOfPlace(t *testing.T) {
	s := newSpecimen(t, false)
	content := slices.Clone(s.files[s.path])
	copy(content[s.end:], content[s.began:s.end])
	l, err := Open(dir, small(s.files.with(s.path, content).moving()))
	require.NoError(t, err)
	require.NoError(t, s.last.saved.differs(l))
}

// P26: an old record of the same instance in the place of the latest is told of, though all in it is right but the place.
func TestRecordOutOfPlace(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	old, latest := strings.Repeat("o", 60), strings.Repeat("n", 60)
	save := func(records ...paxos.Record) { require.NoError(t, l.Save(batchOf(records...))) }
	save(voted("twice", 1, old))
	save(voted("twice", 2, latest))
	path := l.active.path
	for i := 0; l.active.path == path; i++ {
		save(voted(fmt.Sprint("other", i), 1, strings.Repeat("x", 800)))
	}
	require.NoError(t, l.Close())
	files := stillOf(fs)
	require.NotNil(t, files[path], "it was not compacted")
	require.NotNil(t, files[hintPath(path)], "Open need not read it")
	content := slices.Clone(files[path])
	const before = 80 // more than from the beginning of the entry to the value
	from, to := bytes.Index(content, []byte(old)), bytes.Index(content, []byte(latest))
	size := entryHead
	for content[from-size] != 5 || string(content[from-size+1:from-size+6]) != "twice" {
		require.Less(t, size, before)
		size++
	}
	size += entryHead
	copy(content[to-size:], content[from-size:from+len(old)])
	require.Equal(t, 2, bytes.Count(content, []byte(old)))
	again, err := files.with(path, content).open()
	require.NoError(t, err)
	_, err = again.Load("twice")
	require.NoError(t, told(err))
	require.NoError(t, told(again.Verify()))
}

// A batch that began a segment was torn, so that its header can be read. It goes, and a smaller one with its number is written to the segment
// before, which has room for it. Nothing of the torn one comes back by a loss of power.
func TestTornBatchLeavesNothing(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	for l.active.end < dataStart+2500 {
		saveSized(t, l, m, 500)
	}
	next, manifest := l.prepared.path, filepath.Join(dir, manifestName)
	listed := fs.Content(manifest) // both are open; the next, which is prepared meanwhile, closes the first
	fs = killed(t, fs, 1, syncOf(next), func() { require.NoError(t, l.Save(batchOf(voted("torn", 1, strings.Repeat("t", 3000))))) })
	files := stillOf(fs)
	torn := slices.Clone(files[next])
	require.False(t, isZero(torn[dataStart:]))
	clear(torn[dataStart+sectorSize:])
	fs = files.with(next, torn).with(manifest, listed).moving()
	l = openIn(t, fs)
	require.NoError(t, m.differs(l))
	require.NotEqual(t, next, l.active.path)
	for range 6 {
		saveSized(t, l, m, 10)
		require.NoError(t, m.differs(openIn(t, fs.Crash(disktest.LoseAll, nil))))
	}
}

// A segment that a copy has replaced stays for as long as somebody reads it, and no longer.
func TestReaderKeepsSegment(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	l, err := Open(path, Options{least: 4 << 10, SegmentSize: 32 << 10, inline: true})
	require.NoError(t, err)
	require.NoError(t, l.Save(batchOf(voted("read", 1, "v"))))
	at, ok := l.index.findString("read")
	require.True(t, ok)
	was := *l.index.spot(at)
	from := l.segments[was.segment]
	from.acquire() // as Load does
	for n := uint64(1); l.index.spot(at).segment == was.segment; n++ {
		require.NoError(t, l.Save(batchOf(voted("again", n, strings.Repeat("v", 700)))))
	}
	var buf []byte
	got, err := l.read(from, was, &buf)
	require.NoError(t, err)
	require.Equal(t, voted("read", 1, "v"), got)
	require.FileExists(t, from.path)
	from.release(l.fs)
	require.NoFileExists(t, from.path)
	require.NoError(t, l.Close())
}

// Two instances with one Index are told of, unless one of them has got another since.
func TestIndexOfTwo(t *testing.T) {
	for _, moves := range []bool{false, true} {
		fs := created(t)
		l := openIn(t, fs)
		require.NoError(t, l.Save(counted(l, batchOf(decided("first", 5, "v")))))
		at, _ := l.index.findString("first")
		l.index.remove(at) // so that nothing keeps the next from being saved
		require.NoError(t, l.Save(counted(l, batchOf(decided("second", 5, "v")))))
		if moves {
			require.NoError(t, l.Save(counted(l, batchOf(decided("first", 6, "v")))))
		}
		require.NoError(t, l.Close())
		again, err := Open(dir, small(fs))
		if !moves {
			require.NoError(t, told(err))
			require.ErrorContains(t, err, `"first" has the Index of another instance, 5`)
			continue
		}
		require.NoError(t, err)
		named, err := again.Decided(0, 9)
		require.NoError(t, err)
		require.Equal(t, []paxos.Named{{Instance: "second", Index: 5}, {Instance: "first", Index: 6}}, named)
	}
}

// A decision whose Index is above ServerState.Last was never saved so: a part of the log is older than the rest. Open says in which file, with
// the hints of closed segments and without.
func TestIndexAboveLast(t *testing.T) {
	for _, filled := range []bool{false, true} {
		fs := created(t)
		l := openIn(t, fs)
		m := modelOf(l)
		state := m.state
		state.Last = 7
		saveIn(t, l, m, paxos.Batch{Server: &state, Records: []paxos.Record{decided("at", 7, "v")}})
		saved := l.state
		l.state.Last = 8 // so that nothing keeps the next from being saved
		require.NoError(t, l.Save(batchOf(decided("above", 8, "v"))))
		l.state = saved
		in := l.active
		for n := uint64(1); filled && l.active == in; n++ {
			require.NoError(t, l.Save(batchOf(voted("again", n, strings.Repeat("v", 700)))))
		}
		require.NoError(t, l.Close())
		files := stillOf(fs)
		for _, without := range append([]string{""}, files.names()...) {
			if without != "" && !strings.HasSuffix(without, ".hint") {
				continue
			}
			_, err := files.with(without, nil).open()
			require.NoError(t, told(err))
			require.ErrorContains(t, err, `.wal, offset `)
			require.ErrorContains(t, err, `"above" has the Index 8, above ServerState.Last, 7: a part of the log is older than the rest`)
		}
		_, err := Open(dir, small(fs))
		require.NoError(t, told(err))
		require.Equal(t, files, stillOf(fs), "a refused Open changes nothing")
	}
}
