package disktest

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos/internal/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errTest = errors.New("test")

func write(t *testing.T, f disk.File, at int64, s string) {
	t.Helper()
	n, err := f.WriteAt([]byte(s), at)
	require.NoError(t, err)
	require.Equal(t, len(s), n)
}

func create(t *testing.T, f *FS, name string) disk.File {
	t.Helper()
	file, err := f.Create(name)
	require.NoError(t, err)
	return file
}

// Synced bytes are there after any crash. Others are there if nothing is lost, and not if all is.
func TestSyncedStays(t *testing.T) {
	f := New()
	a := create(t, f, "d/a")
	write(t, a, 0, "first")
	require.NoError(t, a.Sync())
	require.Empty(t, f.Crash(LoseAll, nil).Names(), "its name was not synced")
	require.NoError(t, f.SyncDir("d"))
	write(t, a, 2, "REST")
	create(t, f, "d/b")
	require.Equal(t, "fiREST", string(f.Content("d/a")), "readers see it")

	all := f.Crash(LoseAll, nil)
	require.Equal(t, []string{"d/a"}, all.Names())
	require.Equal(t, "first", string(all.Content("d/a")))
	nothing := f.Crash(LoseNothing, nil)
	require.Equal(t, []string{"d/a", "d/b"}, nothing.Names())
	require.Equal(t, "fiREST", string(nothing.Content("d/a")))

	seen := map[string]bool{}
	for seed := range uint64(200) {
		g := f.Crash(Loss(seed%uint64(Losses)), rand.New(rand.NewPCG(seed, 1)))
		content := string(g.Content("d/a"))
		require.True(t, strings.HasPrefix(content, "fi"), "what was synced stays: %q", content)
		seen[content] = true
	}
	require.Contains(t, seen, "first")
	require.Contains(t, seen, "fiREST")
	require.Contains(t, seen, "first\x00", "it has grown, and was not written")
	require.Greater(t, len(seen), 4, "garbage")
	f.Kill()
	require.Equal(t, "fiREST", string(f.Content("d/a")), "a kill loses nothing")
	require.Equal(t, "first", string(f.Crash(LoseAll, nil).Content("d/a")), "and makes nothing durable")
}

// A crash image, a snapshot and a Put share bytes with what they come from. A write to one of them changes no other, and no part of
// the file itself that is durable.
func TestSharedBytesAreWrittenByOne(t *testing.T) {
	source := New()
	a := create(t, source, "d/a")
	write(t, a, 0, "first")
	require.NoError(t, a.Sync())
	require.NoError(t, source.SyncDir("d"))
	write(t, a, 0, "dirty")
	put := New()
	put.Put("d/a", []byte("dirty"))
	for what, f := range map[string]*FS{"nothing lost": source.Crash(LoseNothing, nil), "put": put} {
		b, err := f.Open("d/a", true)
		require.NoError(t, err)
		write(t, b, 1, "IRT")
		require.Equal(t, "dIRTy", string(f.Content("d/a")), what)
		require.Equal(t, "dirty", string(f.Crash(LoseAll, nil).Content("d/a")), "%s: the write is not synced", what)
		second := f.Snapshot()
		write(t, b, 0, "D")
		require.Equal(t, "dIRTy", string(second.Content("d/a")), what)
		require.NoError(t, b.Close())
	}
	require.Equal(t, "dirty", string(source.Content("d/a")))
	require.Equal(t, "first", string(source.Crash(LoseAll, nil).Content("d/a")))
	require.NoError(t, a.Close())
}

// Names can come back, and changes of names get lost one by one, until the directory is synced.
func TestNamesAreLost(t *testing.T) {
	f := New()
	f.Put("d/MANIFEST", []byte("old"))
	n := create(t, f, "d/tmp")
	write(t, n, 0, "new")
	require.NoError(t, n.Sync())
	require.NoError(t, f.Rename("d/tmp", "d/MANIFEST"))
	require.Equal(t, "new", string(f.Content("d/MANIFEST")))
	seen := map[string]bool{}
	for seed := range uint64(50) {
		g := f.Crash(LoseSome, rand.New(rand.NewPCG(seed, 1)))
		seen[strings.Join(g.Names(), " ")+": "+string(g.Content("d/MANIFEST"))] = true
	}
	require.Equal(t, map[string]bool{"d/MANIFEST: old": true, "d/MANIFEST: new": true, "d/MANIFEST d/tmp: old": true}, seen)
	require.NoError(t, f.SyncDir("d"))
	require.NoError(t, f.Remove("d/MANIFEST"))
	require.Equal(t, "new", string(f.Crash(LoseAll, nil).Content("d/MANIFEST")), "its removal was not synced")
	require.Empty(t, f.Crash(LoseNothing, nil).Names())
}

// A sync that failed has dropped what was not synced: readers see it, and no later sync makes it durable, unless it is written again.
func TestFailedSyncDropsPages(t *testing.T) {
	f := New()
	a := create(t, f, "a")
	require.NoError(t, f.SyncDir("."))
	write(t, a, 0, "lost")
	f.Fail = func(op Op, _ int) error {
		if op.Kind == OpSync {
			return errTest
		}
		return nil
	}
	require.ErrorIs(t, a.Sync(), errTest)
	f.Fail = nil
	require.NoError(t, a.Sync(), "as if all were well")
	require.Equal(t, "lost", string(f.Content("a")))
	for loss := range Losses {
		require.Empty(t, f.Crash(loss, rand.New(rand.NewPCG(1, 1))).Content("a"))
	}
	write(t, a, 0, "more")
	require.NoError(t, a.Sync())
	require.Equal(t, "more", string(f.Crash(LoseAll, nil).Content("a")))
}

// A start or an await that failed says nothing, and the next sync says it in its place, once.
func TestFailedAdvice(t *testing.T) {
	for _, kind := range []OpKind{OpStart, OpAwait} {
		f := New()
		a := create(t, f, "a")
		require.NoError(t, f.SyncDir("."))
		write(t, a, 0, "lost")
		f.Fail = func(op Op, _ int) error {
			if op.Kind == kind {
				return errTest
			}
			return nil
		}
		a.Start(0, 4)
		a.Await(0, 4)
		f.Fail = nil
		require.ErrorIs(t, a.Sync(), errTest)
		require.NoError(t, a.Sync(), "as if all were well")
		require.Empty(t, f.Crash(LoseNothing, rand.New(rand.NewPCG(1, 1))).Content("a"))
	}
}

// A write that failed has written its first half, and one for which there is no room nothing.
func TestFailedWrites(t *testing.T) {
	f := New()
	a := create(t, f, "a")
	f.Fail = func(Op, int) error { return errTest }
	n, err := a.WriteAt([]byte("halfHALF"), 0)
	require.ErrorIs(t, err, errTest)
	require.Equal(t, 4, n)
	require.Equal(t, "half", string(f.Content("a")))
	_, err = f.Create("b")
	require.ErrorIs(t, err, errTest)
	require.ErrorIs(t, f.Rename("a", "b"), errTest)
	require.ErrorIs(t, f.Remove("a"), errTest)
	require.ErrorIs(t, f.SyncDir("."), errTest)
	require.Equal(t, []string{"a"}, f.Names())
	f.Fail, f.Limit = nil, 6
	_, err = a.WriteAt([]byte("1234567"), 0)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, "half", string(f.Content("a")))
	write(t, a, 0, "123456")
	_, err = f.Create("a")
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = f.Open("b", false)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Silent syncs and those that a history ignores make nothing durable.
func TestSyncsLeftOut(t *testing.T) {
	f := New()
	base := f.Snapshot()
	f.Silent = func(op Op) bool { return op.Kind == OpSync }
	a := create(t, f, "a")
	write(t, a, 0, "silent")
	require.NoError(t, a.Sync())
	f.Silent = nil
	require.NoError(t, f.SyncDir("."))
	require.Empty(t, f.Crash(LoseAll, nil).Content("a"))
	write(t, a, 0, "SYNCED")
	require.NoError(t, a.Sync())
	require.Equal(t, "SYNCED", string(f.Crash(LoseAll, nil).Content("a")))

	play := func(ignore func(int) bool) *FS {
		h := NewHistory(base, f.Ops())
		h.Ignore = ignore
		for h.Next() != nil {
		}
		require.Equal(t, "SYNCED", string(h.Kill().Content("a")))
		return h.Crash(LoseAll, nil)
	}
	require.Equal(t, "SYNCED", string(play(nil).Content("a")))
	require.Equal(t, []string{"a"}, play(func(n int) bool { return f.Ops()[n].Kind == OpSync }).Names())
	require.Empty(t, play(func(n int) bool { return f.Ops()[n].Kind == OpSync }).Content("a"))
	require.Empty(t, play(func(n int) bool { return f.Ops()[n].Kind == OpSyncDir }).Names())
}

// A history shows the file system as it was at every call, and bytes that a kill leaves can still be lost.
func TestHistoryRepeats(t *testing.T) {
	f := New()
	f.Put("z", []byte("was there"))
	f.Put("old", []byte("x"))
	require.NoError(t, f.Remove("old"))
	base := f.Snapshot()
	from := len(f.Ops())
	var states []map[string]string
	note := func() {
		state := map[string]string{}
		for _, name := range f.Names() {
			state[name] = string(f.Content(name))
		}
		states = append(states, state)
	}
	a := create(t, f, "a")
	note()
	write(t, a, 3, "a")
	note()
	require.NoError(t, f.Rename("a", "b"))
	note()
	require.NoError(t, a.Sync())
	note()
	f.Mark(7)
	note()
	require.NoError(t, f.Remove("z"))
	note()
	h := NewHistory(base, f.Ops()[from:])
	for _, want := range states {
		op := h.Next()
		require.NotNil(t, op)
		killed := h.Kill()
		require.Len(t, killed.Names(), len(want))
		for name, content := range want {
			require.Equal(t, content, string(killed.Content(name)), "after %s", op.Kind)
		}
		require.Equal(t, "x", string(killed.Crash(LoseAll, nil).Content("old")), "its removal is not durable")
		require.Equal(t, "was there", string(killed.Crash(LoseAll, nil).Content("z")))
	}
	require.Nil(t, h.Next())
}

// A killed process can do nothing more, and holds no lock.
func TestKillAndLocks(t *testing.T) {
	f := New()
	a := create(t, f, "a")
	one, err := f.Lock("LOCK", true)
	require.NoError(t, err)
	two, err := f.Lock("LOCK", true)
	require.NoError(t, err)
	_, err = f.Lock("LOCK", false)
	require.ErrorIs(t, err, disk.ErrLocked)
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	held, err := f.Lock("LOCK", false)
	require.NoError(t, err)
	_, err = f.Lock("LOCK", true)
	require.ErrorIs(t, err, disk.ErrLocked)
	f.Kill()
	_, err = a.WriteAt([]byte("late"), 0)
	require.Error(t, err)
	require.Error(t, a.Sync())
	_, err = a.ReadAt(make([]byte, 1), 0)
	require.Error(t, err)
	next, err := f.Lock("LOCK", false)
	require.NoError(t, err)
	require.NoError(t, held.Close(), "that of the dead process")
	_, err = f.Lock("LOCK", true)
	require.ErrorIs(t, err, disk.ErrLocked, "the lock of the living is still held")
	require.NoError(t, next.Close())
}
