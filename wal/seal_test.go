package wal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/disk/disktest"
)

// Under a load without a pause, too, all but the last 65 batches are proven to have been durable. Damage to everything behind an earlier
// batch is reported after any loss of power. That costs no sync.
func TestLoadIsSealed(t *testing.T) {
	for n := 1; n <= 3*defaultEvery; n += 7 {
		fs := created(t)
		o := roomy(fs)
		o.least, o.SegmentSize, o.sealEvery = 64<<10, 64<<10, defaultEvery
		l, err := Open(dir, o)
		require.NoError(t, err)
		ends := []int64{dataStart}
		from := len(fs.Ops())
		for i := range n {
			require.NoError(t, l.Save(batchOf(voted(fmt.Sprint("load/", i), 1, strings.Repeat("v", 50)))))
			ends = append(ends, l.active.end)
		}
		require.Equal(t, uint32(1), l.active.number)
		syncs := 0
		for _, op := range fs.Ops()[from:] {
			if op.Kind == disktest.OpSync && op.Name == l.active.path {
				syncs++
			}
		}
		require.Equal(t, n, syncs, "one for each Save")
		files, path := stillOf(fs.Crash(disktest.LoseAll, nil)), l.active.path
		unproven := 0
		for kept := range n { // the first kept batches stay, all behind them becomes zeros
			content := slices.Clone(files[path])
			clear(content[ends[kept]:])
			l, err := Open(dir, roomy(files.with(path, content).moving()))
			if err != nil {
				require.NoError(t, told(err))
				require.Zero(t, unproven, "what is proven is proven as a whole")
				continue
			}
			unproven++
			require.NoError(t, l.Close())
		}
		require.LessOrEqual(t, unproven, defaultEvery+1, "of %d", n)
	}
}

// When the log has rested both seals say so: damage to one of them, and to the last batches with it, is told of.
func TestBothSealsAfterRest(t *testing.T) {
	fs := created(t)
	l, err := Open(dir, roomy(fs))
	require.NoError(t, err)
	m := modelOf(l)
	for range 5 {
		saveSized(t, l, m, 100)
	}
	l.saved = time.Time{} // long ago
	l.sealDue()
	end, path := l.active.end, l.active.path
	files := stillOf(fs.Crash(disktest.LoseAll, nil))
	for turn := range 2 {
		content := slices.Clone(files[path])
		clear(content[sealOffset(turn):][:sectorSize])
		clear(content[end-300 : end])
		_, err := Open(dir, roomy(files.with(path, content).moving()))
		require.NoError(t, told(err))
		require.ErrorContains(t, err, "a seal says")
	}
	require.NoError(t, l.Close())
}
