package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// likeIn returns n bytes of content that lie in memory as they will lie in the file, but for shift bytes.
func likeIn(n int, at int64, shift int) []byte {
	room := make([]byte, n+3*PageSize)
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(room)))
	pad := (int(at) + shift + PageSize - int(begin%PageSize)) % PageSize
	b := room[pad : pad+n]
	for i := range b {
		b[i] = byte(i>>8 ^ i)
	}
	return b
}

// A long write goes around the cache, whatever its place and its length are, and leaves its neighbors as they are. A write that lies in
// memory otherwise does as well.
func TestLongWrites(t *testing.T) {
	d := openDir(t, t.TempDir())
	for _, c := range []struct {
		at       int64
		n, shift int
	}{{0, leastDirect, 0}, {8, leastDirect, 0}, {4088, leastDirect + 8, 0}, {4096, leastDirect + 4095, 0}, {12_296, 1 << 20, 0}, {12_296, 1 << 20, 1},
		{0, leastDirect, 8}, {100, leastDirect - 1, 0}} {
		name := fmt.Sprint(c)
		f, err := d.Create(name)
		require.NoError(t, err)
		want := bytes.Repeat([]byte{7}, int(c.at)+c.n+9000)
		_, err = f.WriteAt(want[:c.at+1], 0)
		require.NoError(t, err)
		_, err = f.WriteAt(want[c.at:], c.at)
		require.NoError(t, err)
		b := likeIn(c.n, c.at, c.shift)
		n, err := f.WriteAt(b, c.at)
		require.NoError(t, err)
		require.Equal(t, c.n, n)
		copy(want[c.at:], b)
		require.NoError(t, f.Sync())
		got, err := os.ReadFile(filepath.Join(d.Path(), name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), name)
		back := make([]byte, len(want))
		_, err = f.ReadAt(back, 0)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, back), name)
		require.NoError(t, f.Close())
	}
}

// cached returns how many pages of a file are in the cache of the system.
func cached(t *testing.T, f *os.File, n int) (pages int) {
	m, err := syscall.Mmap(int(f.Fd()), 0, n, syscall.PROT_READ, syscall.MAP_SHARED)
	require.NoError(t, err)
	defer syscall.Munmap(m)
	in := make([]byte, (n+PageSize-1)/PageSize)
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(n), uintptr(unsafe.Pointer(&in[0])))
	require.Zero(t, errno)
	for _, b := range in {
		pages += int(b & 1)
	}
	return pages
}

// The whole pages of a long write are not in the cache of the system. Only the pages at its ends are.
func TestLongWriteGoesAroundTheCache(t *testing.T) {
	d := openDir(t, t.TempDir())
	if probe, err := os.OpenFile(filepath.Join(d.Path(), "probe"), os.O_CREATE|os.O_WRONLY|syscall.O_DIRECT, 0o600); err != nil || isInMemory(t, probe) {
		t.Skip("this file system always writes to the cache", err)
	} else {
		require.NoError(t, probe.Close())
	}
	opened, err := d.Create("file")
	require.NoError(t, err)
	f := opened.(*file)
	const n = 1 << 20
	require.NoError(t, f.Reserve(n+2*PageSize))
	_, err = f.WriteAt(likeIn(n, 1000, 0), 1000)
	require.NoError(t, err)
	require.LessOrEqual(t, cached(t, f.File, n+PageSize), 2)
	_, err = f.WriteAt(likeIn(n, 1000, 8), 1000)
	require.NoError(t, err)
	require.Greater(t, cached(t, f.File, n+PageSize), n/PageSize-2, "the test can tell")
	require.NoError(t, f.Close())
}

func isInMemory(t *testing.T, f *os.File) bool {
	var s syscall.Statfs_t
	require.NoError(t, syscall.Fstatfs(int(f.Fd()), &s))
	const tmpfs = 0x01021994
	return s.Type == tmpfs
}

// A file whose name another file has by now is still the one that is written to.
func TestLongWriteAfterTheNameHasMoved(t *testing.T) {
	d := openDir(t, t.TempDir())
	f, err := d.Create("file")
	require.NoError(t, err)
	require.NoError(t, d.Rename("file", "moved"))
	other, err := d.Create("file")
	require.NoError(t, err)
	b := likeIn(1<<20, 0, 0)
	_, err = f.WriteAt(b, 0)
	require.NoError(t, err)
	size, err := other.Size()
	require.NoError(t, err)
	require.Zero(t, size)
	got, err := os.ReadFile(filepath.Join(d.Path(), "moved"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(b, got))
	require.NoError(t, errors.Join(f.Close(), other.Close()))
}

// A long write that fails is told.
func TestLongWriteIsRefused(t *testing.T) {
	d := openDir(t, t.TempDir())
	for _, why := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EINVAL} {
		err := refused(t, syscall.SYS_PWRITE64, why, func() error {
			f, err := d.Create(fmt.Sprint(int(why)))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(likeIn(1<<20, 0, 0), 0)
			return err
		})
		require.ErrorIs(t, err, why)
	}
}

// A reserved file has its size and its room, and reads as zeros. If that is refused, this is told.
func TestReserve(t *testing.T) {
	d := openDir(t, t.TempDir())
	f, err := d.Create("file")
	require.NoError(t, err)
	const n = 1 << 20
	if err := f.Reserve(n); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system has no fallocate")
	} else {
		require.NoError(t, err)
	}
	b, err := os.ReadFile(filepath.Join(d.Path(), "file"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(make([]byte, n), b))
	var s syscall.Stat_t
	require.NoError(t, syscall.Stat(filepath.Join(d.Path(), "file"), &s))
	require.GreaterOrEqual(t, s.Blocks*512, int64(n))
	require.NoError(t, f.Close())
	err = refused(t, syscall.SYS_FALLOCATE, syscall.EOPNOTSUPP, func() error {
		f, err := d.Create("other")
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Reserve(n)
	})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
