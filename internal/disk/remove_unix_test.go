//go:build unix

package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A large file loses its name first, and then its room, piece by piece.
func TestRemoveSlowly(t *testing.T) {
	d := openDir(t, t.TempDir())
	filled := func(name string, size int64) File {
		f, err := d.Create(name)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		_, err = f.WriteAt([]byte{1}, size-1)
		require.NoError(t, err)
		return f
	}
	sizesOf := func(f File, name string) (sizes []int64) {
		require.NoError(t, d.RemoveSlowly(name, func() {
			names, err := d.List()
			require.NoError(t, err)
			require.NotContains(t, names, name)
			size, err := f.Size()
			require.NoError(t, err)
			sizes = append(sizes, size)
		}))
		names, err := d.List()
		require.NoError(t, err)
		require.NotContains(t, names, name)
		return sizes
	}
	require.Equal(t, []int64{2*removePiece + 1, removePiece + 1, 1}, sizesOf(filled("large", 3*removePiece+1), "large"))
	require.Empty(t, sizesOf(filled("small", removePiece), "small"))

	linked := filled("linked", 2*removePiece)
	require.NoError(t, os.Link(filepath.Join(d.Path(), "linked"), filepath.Join(d.Path(), "copy")))
	require.Empty(t, sizesOf(linked, "linked"), "it has another name")
	size, err := linked.Size()
	require.NoError(t, err)
	require.EqualValues(t, 2*removePiece, size)

	require.ErrorIs(t, d.RemoveSlowly("nothing", nil), os.ErrNotExist)
}
