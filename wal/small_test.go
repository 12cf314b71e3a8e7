package wal

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// A missing storage can't be opened, and the error says what to do.
func TestOpenNothing(t *testing.T) {
	empty := t.TempDir()
	for _, path := range []string{empty, filepath.Join(empty, "missing", "too")} {
		for _, readOnly := range []bool{false, true} {
			_, err := Open(path, Options{ReadOnly: readOnly})
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.ErrorContains(t, err, "wal: open "+path)
			require.ErrorContains(t, err, "if this server is new, call wal.Create, once in its life")
			require.ErrorContains(t, err, "if it has run before, its storage is lost")
		}
	}
	entries, err := os.ReadDir(empty)
	require.NoError(t, err)
	require.Empty(t, entries, "nothing was made")
}

func TestOptions(t *testing.T) {
	for _, size := range []int64{-1, 1, 64<<10 - 1, 256<<20 + 1} {
		_, err := Open(t.TempDir(), Options{SegmentSize: size})
		require.ErrorContains(t, err, "wal: Options.SegmentSize: ")
	}
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	l, err := Open(path, Options{SegmentSize: 64 << 10})
	require.NoError(t, err)
	require.Equal(t, int64(64<<10), l.options.least)
	require.NoError(t, l.Close())
}

// Create formats once: another Create is refused, and changes nothing.
func TestCreateTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "c")
	require.NoError(t, Create(path, 1, members))
	before, err := os.ReadFile(filepath.Join(path, manifestName))
	require.NoError(t, err)
	for _, id := range []paxos.ServerID{1, 2} {
		err = Create(path, id, members)
		require.ErrorContains(t, err, `it is the storage of server 1 of cluster "lunch" already: open it with Open`)
	}
	after, err := os.ReadFile(filepath.Join(path, manifestName))
	require.NoError(t, err)
	require.Equal(t, before, after)
	l, err := Open(path, Options{})
	require.NoError(t, err)
	state, err := l.Server()
	require.NoError(t, err)
	require.Equal(t, paxos.ServerID(1), state.ID)
	require.ErrorIs(t, Create(path, 1, members), ErrLocked, "it is open")
	require.NoError(t, l.Close())
}

func TestCreateRefuses(t *testing.T) {
	path := t.TempDir()
	require.ErrorContains(t, Create(filepath.Join(path, "x"), 9, members), "server 9 is not a member")
	require.ErrorContains(t, Create(filepath.Join(path, "x"), 1, paxos.Members{}), "wal: create")
	require.NoDirExists(t, filepath.Join(path, "x"))
	mine := filepath.Join(path, "mine")
	require.NoError(t, os.WriteFile(mine, []byte("mine"), 0o600))
	require.ErrorContains(t, Create(path, 1, members), "it is not empty: it holds mine")
	require.Error(t, Create(mine, 1, members), "it is a file")
	require.NoError(t, os.Remove(mine))
	require.NoError(t, Create(path, 1, members))
	require.NoError(t, os.WriteFile(filepath.Join(path, manifestName), []byte("?"), 0o600))
	var damaged *CorruptionError
	require.ErrorAs(t, Create(path, 1, members), &damaged)
}

// One process at a time has the directory; several may look at it, if none has.
func TestLocked(t *testing.T) {
	for name, files := range map[string]disk.FS{"memory": created(t), "machine": disk.OS{}} {
		t.Run(name, func(t *testing.T) {
			path, o := dir, Options{fs: files}
			if name == "machine" {
				path = t.TempDir()
				require.NoError(t, Create(path, 1, members))
			}
			look := Options{fs: files, ReadOnly: true}
			l, err := Open(path, o)
			require.NoError(t, err)
			for _, o := range []Options{o, look} {
				_, err := Open(path, o)
				require.ErrorIs(t, err, ErrLocked)
				require.ErrorContains(t, err, "this very process")
			}
			require.NoError(t, l.Save(batchOf(voted("a", 1, "v"))), "it goes on")
			require.NoError(t, l.Close())
			one, err := Open(path, look)
			require.NoError(t, err)
			two, err := Open(path, look)
			require.NoError(t, err, "several may look")
			_, err = Open(path, o)
			require.ErrorIs(t, err, ErrLocked)
			require.NoError(t, one.Close())
			require.NoError(t, two.Close())
			l, err = Open(path, o)
			require.NoError(t, err)
			require.NoError(t, l.Close())
		})
	}
}

// A ReadOnly log shows what is there, also if it has to be recovered, and changes nothing.
func TestReadOnlyChangesNothing(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		s := newSpecimen(t, sealed)
		moving := s.files.moving()
		l, err := Open(dir, Options{fs: moving, ReadOnly: true})
		require.NoError(t, err)
		require.NoError(t, s.last.saved.differs(l))
		require.NoError(t, l.Verify())
		require.ErrorIs(t, l.Save(batchOf(voted("a", 1, "v"))), errReadOnly)
		require.NoError(t, s.last.saved.differs(l), "it goes on")
		require.NoError(t, l.Close())
		require.Empty(t, moving.Ops())
		require.Equal(t, s.files, stillOf(moving))
	}
}

// A RESCUE holds the batch that was being written again: a ReadOnly log shows it, too.
func TestReadOnlyBesideRescue(t *testing.T) {
	s := newSpecimen(t, false)
	torn := slices.Clone(s.files[s.path])
	clear(torn[s.began+70 : s.end])
	files := s.files.with(s.path, torn).with(filepath.Join(dir, rescueName), slices.Clone(s.files[s.path][s.began:s.end]))
	l, err := files.open()
	require.NoError(t, err)
	require.NoError(t, s.last.saved.differs(l))
	require.NoError(t, l.Verify())
}

// All is refused after Close, which may be called again.
func TestClosed(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		path := t.TempDir()
		require.NoError(t, Create(path, 1, members))
		l, err := Open(path, Options{})
		require.NoError(t, err)
		require.NoError(t, l.Save(counted(l, batchOf(voted("a", 1, "v"), decided("b", 1, "v")))))
		if readOnly {
			require.NoError(t, l.Close())
			l, err = Open(path, Options{ReadOnly: true})
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		_, err = l.Server()
		require.ErrorIs(t, err, os.ErrClosed)
		_, err = l.Load("a")
		require.ErrorIs(t, err, os.ErrClosed)
		_, err = l.Load("missing")
		require.ErrorIs(t, err, os.ErrClosed)
		_, err = l.Decided(0, 1)
		require.ErrorIs(t, err, os.ErrClosed)
		n := 0
		for _, err := range l.Undecided() {
			require.ErrorIs(t, err, os.ErrClosed)
			n++
		}
		require.Equal(t, 1, n)
		require.Error(t, l.Save(batchOf(voted("a", 2, "v"))))
		require.Error(t, l.Save(paxos.Batch{}))
		require.ErrorIs(t, l.Verify(), os.ErrClosed)
		l.Stats()
	}
}

// An empty batch is nothing to save, and no error.
func TestEmptyBatch(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	calls := len(fs.Ops())
	require.NoError(t, l.Save(paxos.Batch{}))
	require.Len(t, fs.Ops(), calls)
	require.NoError(t, l.Close())
}

// A batch of 60 MiB gets a segment of its own size; the next ones are small again.
func TestLargeBatch(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	l, err := Open(path, Options{SegmentSize: 64 << 10})
	require.NoError(t, err)
	m := modelOf(l)
	saveSized(t, l, m, 100)
	var b paxos.Batch
	for i := range 5 {
		b.Records = append(b.Records, voted("large"+string(rune('0'+i)), 1, strings.Repeat(string(rune('a'+i)), 12<<20)))
	}
	require.NoError(t, l.Save(b))
	m.apply(b)
	for range 3 {
		saveSized(t, l, m, 60<<10)
	}
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Close())
	l, err = Open(path, Options{SegmentSize: 64 << 10})
	require.NoError(t, err)
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Verify())
	require.NoError(t, l.Save(paxos.Batch{Drop: []paxos.NameRange{{From: "large", To: "large9"}}}))
	for _, r := range b.Records {
		delete(m.records, r.Instance)
	}
	for range 8 {
		saveSized(t, l, m, 60<<10)
	}
	require.Eventually(t, func() bool { return l.Stats().Bytes < 20<<20 }, 20e9, 5e6, "what was dropped leaves the disk")
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Close())
}

// Only the owner may read what the server has saved.
func TestFileModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new")
	require.NoError(t, Create(path, 1, members))
	l, err := Open(path, Options{})
	require.NoError(t, err)
	defer l.Close()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
	}
}

// A manifest is read as it was written. A text that is a little different, with a checksum that fits, is an error, or another manifest.
func TestManifestIsWhatWasWritten(t *testing.T) {
	was := manifest{
		version: formatVersion,
		state:   paxos.ServerState{Store: 0x6b3f, Cluster: "a \"b\"\nc", ID: 12, Members: "1,2,3 majority(3)"},
		next:    80,
		segments: []listed{
			{number: 5, closed: true, copy: true, end: 91840, batches: 12, last: 5012},
			{number: 4, closed: true, end: 65532, batches: 301, last: 5313},
			{number: 6},
			{number: 7},
		},
	}
	text := was.text()
	is, err := parseManifest(text)
	require.NoError(t, err)
	require.Equal(t, was, is)

	body := text[:bytes.LastIndex(text, []byte("sum "))]
	taken, refused := 0, map[string]bool{}
	try := func(parts ...[]byte) {
		changed := bytes.Join(parts, nil)
		changed = fmt.Appendf(changed, "sum %08x\n", checksum(changed))
		is, err := parseManifest(changed)
		if err != nil {
			refused[err.Error()] = true
			return
		}
		taken++
		require.Equal(t, string(changed), string(is.text()))
		require.Equal(t, bytes.Equal(changed, text), reflect.DeepEqual(was, is), "%s", changed)
	}
	for i := range body {
		try(body[:i], body[i+1:])
		try(body[:i])
		for _, c := range []byte(" \n\"09af-+_x`\\\x00\xff") {
			try(body[:i], []byte{c}, body[i:])
			try(body[:i], []byte{c}, body[i+1:])
		}
	}
	require.Greater(t, taken, 100, "other numbers and names")
	for _, part := range []string{`store is missing at "stor`, `cluster "\"a`, `id: strconv`, `members is missing`, `end is missing`, `closed is missing at "clos`, "not as this program writes it"} {
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(refused)), func(err string) bool { return strings.Contains(err, part) }), "%s of %q", part, refused)
	}
}

// An older manifest that somebody has put back is told of: it lacks segments to which something was written, or lists some that are gone.
func TestOldManifest(t *testing.T) {
	fs := created(t)
	old := [][]byte{fs.Content(filepath.Join(dir, manifestName))}
	l := openIn(t, fs)
	s := newScript(rand.New(rand.NewPCG(3, 18)), 900, l)
	for range 80 {
		require.NoError(t, s.run(l, 3, func(_, _ *model) {}))
		if now := fs.Content(filepath.Join(dir, manifestName)); string(now) != string(old[len(old)-1]) {
			old = append(old, now)
		}
	}
	require.NoError(t, l.Close())
	files := stillOf(fs)
	require.Greater(t, len(old), 10)
	told := 0
	for i, manifest := range old[:len(old)-1] {
		for _, readOnly := range []bool{true, false} {
			back := files.with(filepath.Join(dir, manifestName), manifest)
			o := small(back.moving())
			o.ReadOnly = readOnly
			l, err := Open(dir, o)
			if err == nil {
				require.NoError(t, s.model.differs(l), "manifest %d", i)
				continue
			}
			var damaged *CorruptionError
			require.ErrorAs(t, err, &damaged, "manifest %d", i)
			told++
		}
	}
	t.Logf("%d of %d are told of", told, 2*len(old)-2)
	require.Greater(t, told, len(old))
}

// So it is at every moment of a run, in which all that was written since may be in copies, and the active segment be empty.
func TestOldManifestAtAnyTime(t *testing.T) {
	name := filepath.Join(dir, manifestName)
	opened, told := 0, 0
	for seed := range uint64(6) {
		r := record(t, seed, nil)
		old := [][]byte{r.base.Content(name)}
		require.NoError(t, r.each(func(h *disktest.History, now moment) error {
			image := h.Crash(disktest.LoseAll, nil)
			if current := image.Content(name); string(current) != string(old[len(old)-1]) {
				old = append(old, current)
			}
			for i, manifest := range old[:len(old)-1] {
				back := image.Clone()
				back.Put(name, manifest)
				opened++
				if l, err := Open(dir, small(back)); err == nil {
					if _, err := now.check(l); err != nil {
						return fmt.Errorf("seed %d, manifest %d: %w", seed, i, err)
					}
				} else {
					told++
				}
			}
			return nil
		}))
	}
	t.Logf("%d of %d are told of", told, opened)
}

// All that was saved stands in a copy, and the segments that nothing was written to could be leftovers: the manifest that Create wrote
// is still told of.
func TestOldManifestBesideCopy(t *testing.T) {
	name := filepath.Join(dir, manifestName)
	fs := created(t)
	old := fs.Content(name)
	l := openIn(t, fs)
	m := modelOf(l)
	for n := uint64(1); l.active.size-l.active.end > 1000; n++ {
		b := batchOf(voted("again", n, strings.Repeat("v", 500)))
		require.NoError(t, l.Save(b))
		m.apply(b)
	}
	next := segmentPath(dir, l.prepared.number)
	fs = killed(t, fs, 1, writeOf(next), func() { require.NoError(t, l.Save(batchOf(voted("next", 1, strings.Repeat("n", 1500))))) })
	require.NoError(t, m.differs(openIn(t, fs.Clone())))
	fs.Put(name, old)
	for _, readOnly := range []bool{true, false} {
		o := small(fs)
		o.ReadOnly = readOnly
		_, err := Open(dir, o)
		var damaged *CorruptionError
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, name, damaged.File)
	}
}

// A segment of another storage, or another segment of this one, in the place of a segment is told of.
func TestForeignSegment(t *testing.T) {
	s, other := newSpecimen(t, true), newSpecimen(t, true)
	for _, name := range s.files.names() {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		require.NotNil(t, other.files[name], "both have it")
		l, err := s.files.with(name, other.files[name]).open()
		if err == nil { // it has a hint, so it was not read
			_, _, err := s.last.holds(l)
			require.NoError(t, err, "each record has its place in its checksum")
		}
		if err == nil {
			err = l.Verify()
		}
		var damaged *CorruptionError
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, name, damaged.File)
		require.Contains(t, damaged.Reason, "it belongs to the storage ")
	}
	for _, name := range s.files.names() { // a hint is not missed
		if strings.HasSuffix(name, ".hint") {
			l, err := s.files.with(name, other.files[name]).open()
			require.NoError(t, err)
			require.NoError(t, s.last.saved.differs(l))
		}
	}
}
