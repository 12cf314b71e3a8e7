package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/disk"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

var proofPath = filepath.Join(dir, proofName)

// reproof changes what a slot of SEAL says, and makes its checksum right.
func reproof(content []byte, turn int, change func(b []byte)) []byte {
	content = slices.Clone(content)
	b := content[turn*pageSize:]
	change(b)
	sum := checksum(b[:60])
	copy(b[60:], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
	return content
}

// An older holds what each file of a directory was before.
type older map[string][][]byte

// note keeps what differs from what the files were last.
func (o older) note(files still) {
	for name, content := range files {
		if n := len(o[name]); n == 0 || !slices.Equal(o[name][n-1], content) {
			o[name] = append(o[name], content)
		}
	}
}

// One older file among newer ones is refused, or changes nothing. Each time SEAL was just written, after a rest and at Close, each file is
// put back to each moment before. A segment that is written to is refused by its name.
func TestOlderFileAmongNewer(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 2
	}
	tried, refused, active := 0, 0, 0
	n := &refusal{}
	for seed := range seeds {
		r := record(t, seed, nil)
		before, moments := older{}, 0
		require.NoError(t, r.each(func(h *disktest.History, now moment) error {
			files := stillOf(h.Kill())
			before.note(files)
			if op := h.Last(); op.Kind != disktest.OpSync || op.Name != proofPath {
				return nil
			}
			moments++
			written := writtenTo(files)
			for name, versions := range before {
				if files[name] == nil {
					continue // it is not there any more
				}
				for i, content := range versions {
					if slices.Equal(content, files[name]) {
						continue
					}
					tried++
					l, err := files.with(name, content).open()
					if err == nil && name != written {
						if _, _, err := (moment{saved: now.saved}).holds(l); err != nil {
							return fmt.Errorf("seed %d, %s is version %d of %d: %w", seed, name, i, len(versions), err)
						}
						continue
					}
					if err == nil {
						if _, err := now.check(l); err != nil {
							return fmt.Errorf("seed %d, %s, which is written to, is version %d of %d: %w", seed, name, i, len(versions), err)
						}
						continue
					}
					refused++
					if err := told(err); err != nil {
						return err
					}
					if name == written {
						active++
						if !strings.Contains(err.Error(), name) {
							return fmt.Errorf("another file than %s is named: %w", name, err)
						}
					}
					if refused%20 == 0 { // also as a server opens it
						if err := n.tryWrong(files.moving(), name, content, moment{saved: now.saved}); err != nil {
							return fmt.Errorf("seed %d, %s is version %d of %d: %w", seed, name, i, len(versions), err)
						}
					}
				}
			}
			return nil
		}))
		require.Positive(t, moments, "SEAL is synced at Close")
	}
	t.Logf("%d older files, %d refused, %d of them are written to", tried, refused, active)
	require.Positive(t, active)
	require.Equal(t, n.refused, n.opened)
}

// writtenTo returns the path of the segment with the last batch, if it is open.
func writtenTo(files still) (path string) {
	l, err := files.open()
	if err == nil {
		if s := l.segments[l.latest.segment]; s != nil {
			path = s.path
		}
		l.Close()
	}
	return path
}

// After Close, or a rest, the active segment is refused if it is an older copy, was cut back to any batch, or is all zeros behind its
// header. The same holds after a loss of power, since SEAL is durable. The error names the file, and how far it must reach.
func TestOlderSegmentIsRefused(t *testing.T) {
	for _, end := range []string{"Close", "rest"} {
		fs := created(t)
		l, err := Open(dir, roomy(fs))
		require.NoError(t, err)
		m := modelOf(l)
		path := l.active.path
		copies, ends := [][]byte{fs.Content(path)}, []int64{dataStart}
		for range 20 {
			saveSized(t, l, m, 300)
			copies, ends = append(copies, fs.Content(path)), append(ends, l.active.end)
		}
		last := l.latest
		if end == "Close" {
			require.NoError(t, l.Close())
		} else {
			l.saved = time.Time{}
			l.sealDue()
		}
		files := stillOf(fs.Crash(disktest.LoseAll, nil))
		for i, old := range copies[:20] {
			cut := slices.Clone(files[path])
			clear(cut[pageSize:dataStart]) // its seals, too
			clear(cut[ends[i]:])
			for _, content := range [][]byte{old, cut} {
				_, err := Open(dir, roomy(files.with(path, content).moving()))
				var damaged *CorruptionError
				require.ErrorAs(t, err, &damaged)
				require.Equal(t, path, damaged.File)
				require.Equal(t, ends[i], damaged.Offset)
				require.ErrorContains(t, err, fmt.Sprintf("It must hold all batches up to %d, which ends at offset %d", last.sequence, last.end))
			}
		}
		again, err := Open(dir, roomy(files.moving()))
		require.NoError(t, err)
		require.NoError(t, m.differs(again))
		require.NoError(t, again.Close())
		if end == "rest" {
			require.NoError(t, l.Close())
		}
	}
}

// A copy of the segment in which another batch has the place of the last one, as one that was made before a loss of power, is refused.
func TestOtherBatchInItsPlace(t *testing.T) {
	fs := created(t)
	l, err := Open(dir, roomy(fs))
	require.NoError(t, err)
	saveSized(t, l, modelOf(l), 300)
	other := fs.Clone()
	require.NoError(t, l.Save(batchOf(voted("a", 1, "v"))))
	path, began := l.active.path, l.latest.began
	require.NoError(t, l.Close())
	l, err = Open(dir, roomy(other))
	require.NoError(t, err)
	require.NoError(t, l.Save(batchOf(voted("b", 1, "v"))))
	require.NoError(t, l.Close())
	_, err = Open(dir, roomy(stillOf(fs).with(path, other.Content(path)).moving()))
	var damaged *CorruptionError
	require.ErrorAs(t, err, &damaged)
	require.Equal(t, path, damaged.File)
	require.Equal(t, began, damaged.Offset)
	require.ErrorContains(t, err, "the file is another copy")
}

// One slot of SEAL that can't be read was being written when power was lost: the other counts, and it is whole again after the next Open. Whatever
// else is wrong with SEAL is refused, in words.
func TestSealFileDamaged(t *testing.T) {
	s := newSpecimen(t, true)
	content := s.files[proofPath]
	require.Len(t, content, 2*pageSize)
	for turn := range 2 {
		torn := slices.Clone(content)
		torn[turn*pageSize+40] ^= 1
		fs := s.files.with(proofPath, torn).moving()
		l := openIn(t, fs)
		require.NoError(t, s.last.saved.differs(l))
		require.NoError(t, l.Close())
		var p proofs
		require.NoError(t, p.parse(fs.Content(proofPath), l.store, proofPath))
		require.True(t, p.whole)
	}
	both := slices.Clone(content)
	both[0] ^= 1
	both[pageSize+50] ^= 1
	foreign := reproof(content, 0, func(b []byte) { b[16]++ })
	for want, wrong := range map[string][]byte{
		"neither of its two slots can be read":                 both,
		"it belongs to the storage ":                           foreign,
		"a slot has version 2":                                 reproof(content, 0, func(b []byte) { b[8] = 2 }),
		"its segment, batch and offsets contradict each other": reproof(content, 1, func(b []byte) { b[32], b[48], b[49], b[50] = 1, 1, 0, 0 }),
		"the file is missing":                                  nil,
	} {
		for _, open := range []func(still) (*Log, error){still.open, func(s still) (*Log, error) { return Open(dir, small(s.moving())) }} {
			_, err := open(s.files.with(proofPath, wrong))
			var damaged *CorruptionError
			require.ErrorAs(t, err, &damaged, want)
			require.Equal(t, proofPath, damaged.File)
			require.ErrorContains(t, err, want)
		}
	}
	newer := slices.Clone(content)
	for turn := range 2 {
		proof{200, 10_000, dataStart, dataStart + 100, 1}.put(newer[turn*pageSize:], turn, s.store(t))
	}
	_, err := s.files.with(proofPath, newer).open()
	var damaged *CorruptionError
	require.ErrorAs(t, err, &damaged)
	require.Equal(t, filepath.Join(dir, manifestName), damaged.File)
	require.ErrorContains(t, err, "this manifest is an older copy")
}

// A log of an earlier version is carried over by the first Open that may write: it gets SEAL, then a manifest that an earlier program
// refuses. Power may be lost at any call of that, and of the Saves after it. A ReadOnly log carries nothing over.
func TestOlderVersionGetsSeal(t *testing.T) {
	needed := 0
	for version := 1; version < formatVersion; version++ {
		files := readGolden(t, version)
		_, m := goldenStore(t, version)
		l, err := files.open()
		require.NoError(t, err)
		require.NoError(t, m.differs(l))
		require.NoError(t, l.Close())
		fs := files.moving()
		base := fs.Snapshot()
		l = openIn(t, fs)
		require.NotNil(t, fs.Content(proofPath))
		listing, err := readManifest(disktest.At(fs, dir))
		require.NoError(t, err)
		require.Equal(t, formatVersion, listing.version, "an earlier program refuses it")
		fs.Mark(0)
		moments := []moment{{saved: m}}
		for n := range uint64(12) {
			b := counted(l, batchOf(decided(fmt.Sprint("carried/", n), 3000+n, strings.Repeat("c", 300))))
			begun := moments[len(moments)-1].saved.clone()
			begun.apply(b)
			moments = append(moments, moment{saved: moments[len(moments)-1].saved, begun: begun}, moment{saved: begun})
			fs.Mark(len(moments) - 2)
			require.NoError(t, l.Save(b))
			fs.Mark(len(moments) - 1)
		}
		old := 0
		for _, s := range l.row {
			if filepath.Ext(s.name) == oldSuffix {
				old++
			}
		}
		require.Less(t, old, len(l.row), "what is new has the new name")
		require.NoError(t, l.Close())
		r := recording{base: base, ops: fs.Ops(), moments: moments}
		for seed := range uint64(2) {
			x := rand.New(rand.NewPCG(seed, 31))
			require.NoError(t, r.each(func(h *disktest.History, now moment) error {
				for loss := range disktest.Losses {
					if err := checkImage(h.Crash(loss, x), now, x); err != nil {
						return fmt.Errorf("version %d, loss %d: %w", version, loss, err)
					}
				}
				return nil
			}))
		}
		v := leaver{site: "directory of SEAL"} // without it the manifest may be there, and SEAL not
		for seed := range uint64(10) {
			x, now := rand.New(rand.NewPCG(seed, 32)), moments[0]
			h := v.history(r.base, r.ops, 0)
			for op := h.Next(); op != nil; op = h.Next() {
				if op.Kind == disktest.OpMark {
					now = moments[op.Mark]
				}
				if _, _, err := openImage(h.Crash(disktest.LoseSome, x), now); err != nil {
					needed++
				}
			}
		}
		require.Positive(t, v.left)
	}
	require.Positive(t, needed, "the sync is not needed")
}

// An earlier program may have prepared a segment that it never listed, whose number another segment has now.
func TestBothNamesOfASegment(t *testing.T) {
	s := newSpecimen(t, true)
	number, _ := segmentOf(filepath.Base(s.path))
	empty := slices.Clone(s.files[s.path])
	clear(empty[segmentHead:])
	files := s.files.with(filepath.Join(dir, oldName(number)), empty)
	l, err := files.open()
	require.NoError(t, err)
	require.NoError(t, s.last.saved.differs(l))
	require.Equal(t, s.path, l.segments[number].path)
}

func (s specimen) store(t *testing.T) uint64 {
	m, err := readManifest(disktest.At(s.files, dir))
	require.NoError(t, err)
	return m.state.Store
}

// A slowly is a directory whose SEAL is synced only when free is closed.
type slowly struct {
	disk.Dir
	free chan struct{}
}

func (h slowly) OpenDir(string) (disk.Dir, error) { return h, nil }

func (h slowly) MakeDir(string) error { return errors.ErrUnsupported }

func (h slowly) Open(name string, write bool) (disk.File, error) {
	f, err := h.Dir.Open(name, write)
	if name != proofName || !write || err != nil {
		return f, err
	}
	return slowProof{f, h.free}, nil
}

type slowProof struct {
	disk.File
	free chan struct{}
}

func (f slowProof) Sync() error {
	<-f.free
	return f.File.Sync()
}

// While SEAL is written, which may take for ever, Saves and Loads go on; and under load it is never older than a second.
func TestNoSaveWaitsForSeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := created(t)
		h := slowly{disktest.At(fs, dir), make(chan struct{})}
		l, err := Open(dir, Options{fs: h, least: 32 << 10, SegmentSize: 64 << 10})
		require.NoError(t, err)
		said := func() proof {
			var p proofs
			require.NoError(t, p.parse(fs.Content(proofPath), l.store, proofPath))
			return p.known
		}
		m := modelOf(l)
		for range 3000 { // for three seconds, without a rest
			saveSized(t, l, m, 50)
			time.Sleep(time.Millisecond)
		}
		first := said()
		require.Positive(t, first.sequence)
		require.Less(t, first.sequence, uint64(1100), "it was begun after a second, and still waits")
		require.NoError(t, m.differs(l))
		close(h.free)
		for n := range 3000 {
			saveSized(t, l, m, 50)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if n > 10 {
				require.LessOrEqual(t, l.sequence-said().sequence, uint64(1010))
			}
		}
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, l.latest, said(), "it has rested")
		saveSized(t, l, m, 50)
		require.NoError(t, l.Close())
		require.Equal(t, l.latest, said(), "it was closed")
	})
}

// A log that was just created has no SEAL before its first Open, and none is asked for. One that has had segments is not taken for that.
func TestNoSealBeforeTheFirstOpen(t *testing.T) {
	files := created(t)
	_, err := files.Open(proofPath, false)
	require.ErrorIs(t, err, fs.ErrNotExist)
	l := openIn(t, files)
	require.NoError(t, l.Close())
	require.NoError(t, files.Remove(proofPath))
	_, err = Open(dir, small(files))
	require.ErrorContains(t, err, "the file is missing")
}
