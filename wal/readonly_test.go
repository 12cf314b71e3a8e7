package wal

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// leftBehind returns a directory of the machine with the storage of a process that was killed, a snapshot, and its content. It has no LOCK.
func leftBehind(t *testing.T) (path string, held *model) {
	t.Helper()
	s := newSpecimen(t, false)
	path = t.TempDir()
	for name, content := range s.files {
		require.NoError(t, os.WriteFile(filepath.Join(path, filepath.Base(name)), content, 0o400))
	}
	return path, s.last.saved
}

// traces returns all that can be seen of the files in a directory, and of itself.
func traces(t *testing.T, path string) map[string]string {
	t.Helper()
	seen := contents(t, path)
	for name := range seen {
		seen[name] += stat(t, filepath.Join(path, name))
	}
	seen["."] = stat(t, path)
	return seen
}

func stat(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return fmt.Sprint(info.Mode(), info.Size(), info.ModTime().Format(time.RFC3339Nano))
}

// A ReadOnly log changes nothing in the directory: it makes no LOCK, and needs to write nothing.
func TestReadOnlyLeavesNoTrace(t *testing.T) {
	path, held := leftBehind(t)
	require.NoError(t, os.Chmod(path, 0o500))
	t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	for _, locked := range []bool{false, true} {
		if locked {
			require.NoError(t, os.Chmod(path, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(path, lockName), []byte("text"), 0o400))
			require.NoError(t, os.Chmod(path, 0o500))
		}
		before := traces(t, path)
		l, err := Open(path, Options{ReadOnly: true, least: 4 << 10})
		require.NoError(t, err)
		require.NoError(t, held.differs(l))
		require.NoError(t, l.Verify())
		require.ErrorIs(t, l.Save(batchOf(voted("a", 1, "v"))), errReadOnly)
		require.NoError(t, l.Close())
		require.Equal(t, before, traces(t, path))
	}
}

// unlockable is a file system in which nothing can be locked.
type unlockable struct{ disk.OS }

func (unlockable) OpenDir(name string) (disk.Dir, error) {
	d, err := disk.OS{}.OpenDir(name)
	return unlockableDir{d}, err
}

type unlockableDir struct{ disk.Dir }

func (unlockableDir) Lock(string, bool) (io.Closer, error) {
	return nil, fmt.Errorf("lock: %w", disk.ErrNoLock)
}

// Where nothing can be locked, a ReadOnly log says that a server may run beside it, and any other is refused.
func TestReadOnlyWithoutLock(t *testing.T) {
	path, held := leftBehind(t)
	var out bytes.Buffer
	o := Options{fs: unlockable{}, Logger: slog.New(slog.NewTextHandler(&out, nil)), ReadOnly: true, least: 4 << 10}
	l, err := Open(path, o)
	require.NoError(t, err)
	require.NoError(t, held.differs(l))
	require.NoError(t, l.Close())
	require.Contains(t, out.String(), "level=WARN")
	require.Contains(t, out.String(), "nothing says whether a server has this storage open")
	o.ReadOnly = false
	_, err = Open(path, o)
	require.ErrorIs(t, err, disk.ErrNoLock)
}

// A writer beside a ReadOnly log is told, also if that can't read LOCK.
func TestReadOnlyBesideWriter(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("LOCK is all that there is")
	}
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	l, err := Open(path, Options{})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(path, lockName)))
	_, err = Open(path, Options{ReadOnly: true})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, l.Close())
}

// VerifyWith tells its progress in bytes that rise to the end. It holds no lock then, so progress may call the log.
func TestVerifyTellsItsProgress(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, Create(path, 1, paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2, 3}}))
	l, err := Open(path, Options{SegmentSize: 64 << 10, least: 64 << 10})
	require.NoError(t, err)
	const records = 10_000
	for i := 0; i < records; i += 100 {
		var b paxos.Batch
		for n := range 100 {
			b.Records = append(b.Records, voted(fmt.Sprint("name ", i+n), 1, "value"))
		}
		require.NoError(t, l.Save(b))
	}
	require.NoError(t, l.Close())
	l, err = Open(path, Options{ReadOnly: true})
	require.NoError(t, err)
	defer l.Close()
	size := l.Stats()
	last, calls := int64(0), 0
	require.NoError(t, l.VerifyWith(func(done, all int64) {
		require.True(t, l.plan.TryLock(), "no lock is held")
		l.plan.Unlock()
		require.True(t, l.mu.TryLock(), "no lock is held")
		l.mu.Unlock()
		require.Equal(t, size.Bytes+size.Live, all)
		require.GreaterOrEqual(t, done, last)
		require.LessOrEqual(t, done, all)
		last = done
		if calls++; calls == size.Segments {
			require.Equal(t, size.Bytes, done, "all files are read")
		}
	}))
	require.Equal(t, size.Bytes+size.Live, last)
	require.Greater(t, size.Segments, 2)
	require.Equal(t, size.Segments+records/4096+1, calls)
}
