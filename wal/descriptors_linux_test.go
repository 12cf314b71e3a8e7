package wal

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// On the machine's file system, too, a log has few descriptors: none of what it has written and read stays open beyond that.
func TestDescriptorsOfTheProcess(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	before := count()
	l, err := Open(path, Options{least: 4 << 10, SegmentSize: 32 << 10, maxOpen: 6, hurry: -1, inline: true, sealAfter: time.Hour})
	require.NoError(t, err)
	value := string(make([]byte, 7000))
	for n := range uint64(150) {
		require.NoError(t, l.Save(counted(l, batchOf(decided(fmt.Sprint("i", n), n+1, value)))))
		_, err := l.Load(fmt.Sprint("i", n/2))
		require.NoError(t, err)
		require.LessOrEqual(t, count()-before, 6+2+2+2*2, "segments, the directory, the lock, what is written to")
	}
	require.Greater(t, len(l.row), 20)
	require.NoError(t, l.Close())
	require.Equal(t, before, count())
}
