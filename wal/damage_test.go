package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// A still is a directory of files in which nothing can be changed. A log that is opened ReadOnly needs no more.
type still map[string][]byte

var errStill = errors.New("a ReadOnly log changes something")

func (s still) Create(string) (disk.File, error) { return nil, errStill }
func (s still) Rename(string, string) error      { return errStill }
func (s still) Remove(string) error              { return errStill }
func (s still) SyncDir(string) error             { return errStill }
func (s still) MakeDir(string) error             { return errStill }

func (s still) OpenDir(dir string) (disk.Dir, error) { return disktest.At(s, dir), nil }

func (s still) Open(name string, write bool) (disk.File, error) {
	content, ok := s[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case write:
		return nil, errStill
	}
	return stillFile(content), nil
}

func (s still) List(dir string) (names []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

func (s still) Lock(string, bool) (io.Closer, error) { return stillFile(nil), nil }

type stillFile []byte

func (f stillFile) ReadAt(b []byte, at int64) (n int, err error) {
	if at < int64(len(f)) {
		n = copy(b, f[at:])
	}
	if n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (f stillFile) WriteAt([]byte, int64) (int, error) { return 0, errStill }
func (f stillFile) Reserve(int64) error                { return errStill }
func (f stillFile) Close() error                       { return nil }
func (f stillFile) Sync() error                        { return errStill }
func (f stillFile) Start(int64, int64)                 { panic(errStill) }
func (f stillFile) Await(int64, int64)                 { panic(errStill) }
func (f stillFile) Size() (int64, error)               { return int64(len(f)), nil }

// stillOf returns what fs holds.
func stillOf(fs *disktest.FS) still {
	s := still{}
	for _, name := range fs.Names() {
		s[name] = fs.Content(name)
	}
	return s
}

// with returns s with another content for one file; nil: without it.
func (s still) with(name string, content []byte) still {
	t := maps.Clone(s)
	if t[name] = content; content == nil {
		delete(t, name)
	}
	return t
}

// moving returns a file system that holds what s holds.
func (s still) moving() *disktest.FS {
	fs := disktest.New()
	for name, content := range s {
		fs.Put(name, content)
	}
	return fs
}

func (s still) names() []string { return slices.Sorted(maps.Keys(s)) }

func (s still) size() (n int) {
	for _, content := range s {
		n += len(content)
	}
	return n
}

func (s still) open() (*Log, error) { return Open(dir, Options{fs: s, ReadOnly: true, least: 4 << 10}) }

// A specimen is a log to be damaged: the files of its directory, and the content that it may have.
type specimen struct {
	files still
	last  moment // begun: without the last batch, if that is not sealed
	began int64  // where the last batch begins in the active segment
	end   int64
	path  string // of the active segment
}

// newSpecimen saves so much that there are a copy, a closed segment with a hint, an active one and one that is prepared: about 64 KiB. There
// are marks in all that may have some. It is sealed, or the process was killed after the last batch.
func newSpecimen(t testing.TB, sealed bool) specimen {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	before := m
	save := func(b paxos.Batch) {
		require.NoError(t, l.Save(b))
		before = m.clone()
		m.apply(b)
	}
	state := m.state
	state.Boot, state.Rounds, state.Last = 1, 100, 1000
	save(paxos.Batch{Server: &state})
	for i := range 8 { // promised, voted on and decided: much of it is garbage soon
		name := fmt.Sprintf("early/%02d", i)
		save(batchOf(promised(name, 1)))
		save(batchOf(voted(name, 2, strings.Repeat("v", 40)), promised(name+"/open", 9)))
		save(batchOf(decided(name, uint64(i+1), strings.Repeat("d", 60))))
		v := voted(name+"/marked", 3, strings.Repeat("m", 60))
		save(batchOf(v))
		save(batchOf(chosen(v, uint64(i+50))))
	}
	save(paxos.Batch{Drop: []paxos.NameRange{{From: "early/03", To: "early/05"}}})
	for i := range 7 { // decided at once, or after a vote for that value: there is nothing to compact
		var b paxos.Batch
		for j := range 6 {
			b.Records = append(b.Records, voted(fmt.Sprintf("late/%d/%d", i, j), 4, strings.Repeat("l", 60+10*i)))
		}
		if i%3 != 0 {
			save(b)
			b.Records = slices.Clone(b.Records)
		}
		for j := range b.Records {
			b.Records[j] = chosen(b.Records[j], uint64(100+10*i+j))
		}
		save(b)
	}
	pending := []paxos.Record{voted("pending/1", 5, strings.Repeat("p", 50)), voted("pending/2", 6, strings.Repeat("q", 90))}
	save(batchOf(pending...))
	save(batchOf(chosen(pending[0], 400)))
	l.sealNow(t)
	state.Boot, state.Pulled = 2, "2/9f/7"
	save(paxos.Batch{Server: &state, Drop: []paxos.NameRange{{From: "late/2/3", To: "late/2/4"}},
		Records: []paxos.Record{decided("last/1", 500, "x"), voted("last/2", 3, "y"), chosen(pending[1], 501)}})
	s := specimen{last: moment{saved: m}, path: l.active.path, end: l.active.end}
	s.began = l.active.end - padded(int64(len(l.encoder.buf)))
	if sealed {
		require.NoError(t, l.Close())
	} else {
		s.last.begun = before
		fs.Kill()
	}
	s.files = stillOf(fs)
	return s
}

// Both kinds of specimen hold a segment of each kind.
func TestSpecimen(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		s := newSpecimen(t, sealed)
		m, err := readManifest(disktest.At(s.files, dir))
		require.NoError(t, err)
		var copies, closed, open, hints int
		for _, e := range m.segments {
			switch {
			case e.copy:
				copies++
			case e.closed:
				closed++
			default:
				open++
			}
		}
		for _, name := range s.files.names() {
			if strings.HasSuffix(name, ".hint") {
				hints++
			}
		}
		t.Logf("%d bytes in %d files: %d copies, %d closed, %d open, %d hints", s.files.size(), len(s.files), copies, closed, open, hints)
		require.Positive(t, copies)
		require.Positive(t, closed)
		require.Equal(t, 2, open)
		require.Equal(t, copies+closed, hints)
		marks := marksOf(t, s.files)
		t.Logf("marks: %+v", marks)
		require.Positive(t, marks.closed)
		require.Positive(t, marks.hinted)
		require.Positive(t, marks.open)
		require.Zero(t, marks.copied)
		l, err := s.files.open()
		require.NoError(t, err)
		require.NoError(t, l.Verify())
		require.NoError(t, s.last.saved.differs(l))
	}
}

// says compares what a log that was damaged says with m. A record that can't be read counts; a wrong one is an error.
func (m *model) says(l *Log) (unreadable int, err error) {
	state, err := l.Server()
	if err != nil || state != m.state {
		return 0, fmt.Errorf("state %+v, %w, want %+v", state, err, m.state)
	}
	for name, want := range m.records {
		got, err := l.Load(name)
		var damaged *CorruptionError
		switch {
		case errors.As(err, &damaged) && damaged.File != "" && damaged.Offset >= dataStart:
			unreadable++
		case err != nil:
			return 0, fmt.Errorf("%q: %w", name, err)
		case got != want:
			return 0, fmt.Errorf("record %+v, want %+v", got, want)
		}
	}
	return unreadable, m.lists(l)
}

// holds says which of the models of a moment the log agrees with.
func (now moment) holds(l *Log) (*model, int, error) {
	n, err := now.saved.says(l)
	if err == nil || now.begun == nil {
		return now.saved, n, err
	}
	n, other := now.begun.says(l)
	if other != nil {
		return nil, 0, fmt.Errorf("%w; nor without the last batch: %w", err, other)
	}
	return now.begun, n, nil
}

// A hint whose checksum is right and that lies is found out by Load, and by Verify.
func TestVerifyFindsAHintThatLies(t *testing.T) {
	files, path, _, _, _ := markedFiles(t)
	hint := files[hintPath(path)]
	at := strings.LastIndex(string(hint), "lunch")
	require.Positive(t, at)
	for what, lie := range map[string]func(b []byte){
		"another name":  func(b []byte) { b[at] = 'b' },
		"another Index": func(b []byte) { b[at-3]++ },
	} {
		t.Run(what, func(t *testing.T) {
			changed := slices.Clone(hint)
			lie(changed)
			resum(hintPath(path), changed, 0)
			l, err := files.with(hintPath(path), changed).open()
			require.NoError(t, err)
			var damaged *CorruptionError
			require.ErrorAs(t, l.Verify(), &damaged)
			require.NoError(t, l.Close())
		})
	}
}
