package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openDir(t *testing.T, name string) Dir {
	t.Helper()
	d, err := OS{}.OpenDir(name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// The written range is started and awaited, at any offset and of any length. A Sync comes after both.
func TestStartAndAwait(t *testing.T) {
	d := openDir(t, t.TempDir())
	name := filepath.Join(d.Path(), "file")
	f, err := d.Create("file")
	require.NoError(t, err)
	content := make([]byte, 10_000)
	for i := range content {
		content[i] = byte(i)
	}
	for at := 0; at < len(content); at += 3000 {
		b := content[at:min(at+3000, len(content))]
		_, err := f.WriteAt(b, int64(at))
		require.NoError(t, err)
		f.Start(int64(at), int64(len(b)))
		f.Await(int64(at), int64(len(b)))
	}
	f.Start(1<<30, 1) // where nothing is there is nothing to do
	f.Await(1<<30, 1)
	f.Await(0, 0)
	require.NoError(t, f.Sync())
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.NoError(t, f.Close())
	f.Start(0, 1)
	f.Await(0, 1)
	require.Error(t, f.Sync(), "what can't be done is told")
}
