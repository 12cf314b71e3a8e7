package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A storage is the directory that Open has opened, whatever becomes of its name, of a symbolic link that led to it, or of the
// working directory. Here each of them changes while the log is open, and another storage stands where the first one was.
func TestMovedWhileOpen(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open directory can't be moved, and links are not for everybody")
	}
	cases := []struct {
		name string
		open string // how Open is told of it, relative to the working directory
		move func(t *testing.T)
		now  string // where the storage is then
	}{
		{"another working directory", "data", func(t *testing.T) { t.Chdir("other") }, "data"},
		{"a symbolic link that is set anew", "link", func(t *testing.T) {
			require.NoError(t, os.Remove("link"))
			require.NoError(t, os.Symlink(filepath.Join("other", "data"), "link"))
		}, "data"},
		{"a symbolic link above that is set anew", filepath.Join("up", "data"), func(t *testing.T) {
			require.NoError(t, os.Remove("up"))
			require.NoError(t, os.Symlink("other", "up"))
		}, "data"},
		{"another name", "data", func(t *testing.T) {
			require.NoError(t, os.Rename("data", "moved"))
			require.NoError(t, os.Rename(filepath.Join("other", "data"), "data"))
		}, "moved"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			t.Chdir(base)
			require.NoError(t, Create("data", 1, members))
			require.NoError(t, Create(filepath.Join("other", "data"), 2, members))
			require.NoError(t, os.Symlink("data", "link"))
			require.NoError(t, os.Symlink(".", "up"))
			decoy, err := filepath.Abs(filepath.Join("other", "data"))
			require.NoError(t, err)
			if c.now != "data" {
				decoy = filepath.Join(base, "data")
			}
			l, err := Open(c.open, Options{SegmentSize: 64 << 10, least: 4 << 10, eager: true, inline: true})
			require.NoError(t, err)
			resolved, err := filepath.EvalSymlinks(filepath.Join(base, "data"))
			require.NoError(t, err)
			require.Equal(t, resolved, l.dir, "errors name what was opened")
			c.move(t)
			was := contents(t, decoy)
			want := newModel()
			want.state, err = l.Server()
			require.NoError(t, err)
			for i := range 300 {
				b := batchOf(decided(fmt.Sprint("i", i), uint64(i+1), string(make([]byte, 1000))))
				saveIn(t, l, want, b)
			}
			again := batchOf()
			for i := range 300 { // so what was saved is garbage
				again.Records = append(again.Records, decided(fmt.Sprint("i", i), uint64(i+1), "short"))
			}
			require.NoError(t, l.Save(again))
			want.apply(again)
			l.work()
			require.Less(t, len(l.row), 5, "it was compacted")
			require.NoError(t, want.differs(l))
			require.NoError(t, l.Close())
			require.Equal(t, was, contents(t, decoy), "what stands at the name now is not touched")
			l, err = Open(filepath.Join(base, c.now), Options{})
			require.NoError(t, err)
			require.NoError(t, want.differs(l))
			require.Equal(t, paxos.ServerID(1), want.state.ID)
			require.NoError(t, l.Close())
		})
	}
}

// contents returns the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(b)
	}
	return files
}
