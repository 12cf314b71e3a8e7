package wal

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A tool that rotates logs cuts files short while the log is open. No Save is acknowledged from then on, in the active segment or in the
// prepared one. A seal and Close report it, too. Nothing of it depends on how much was written since.
func TestSegmentCutShortWhileOpen(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		for _, to := range []int64{0, 1, dataStart, 20_000} {
			for _, end := range []string{"Save", "seal", "Close"} {
				t.Run(fmt.Sprintf("prepared %t, to %d, %s", prepared, to, end), func(t *testing.T) {
					path := t.TempDir()
					require.NoError(t, Create(path, 1, members))
					l, err := Open(path, Options{least: 32 << 10, SegmentSize: 64 << 10, inline: true})
					require.NoError(t, err)
					defer l.Close()
					m := modelOf(l)
					saveSized(t, l, m, 20_000)
					cut := l.active
					if prepared {
						cut = l.prepared
					}
					require.NoError(t, os.Truncate(cut.path, to))
					if prepared { // no Save before writes to it
						for l.active != cut {
							if err = l.Save(batchOf(voted("more", l.sequence, strings.Repeat("m", 3000)))); err != nil {
								break
							}
						}
					}
					switch {
					case err != nil:
					case end == "Save":
						err = l.Save(batchOf(voted("small", 1, "v")))
						require.ErrorContains(t, l.Save(batchOf(voted("later", 1, "v"))), "dead")
					case end == "seal":
						l.writing.Lock()
						err = l.seal()
						l.writing.Unlock()
					default:
						err = l.Close()
					}
					var damaged *CorruptionError
					require.ErrorAs(t, err, &damaged)
					require.Equal(t, cut.path, damaged.File)
					require.ErrorContains(t, err, "it was cut short or replaced while the log was open")
				})
			}
		}
	}
}

// A batch never makes a file that was cut short as long again as it was: one that would end where the segment does goes to the next.
func TestNoBatchFillsASegment(t *testing.T) {
	fs := created(t)
	l := openIn(t, fs)
	m := modelOf(l)
	for less := range 24 {
		active := l.active
		room := active.size - active.end
		saveSized(t, l, m, int(room)-batchHead-less-int(lengthOf(t, m)))
		require.Less(t, active.end, active.size, "%d", less)
		if less < 8 {
			require.NotEqual(t, active, l.active, "it would end where the segment does")
		}
		saveSized(t, l, m, 1500)
	}
	require.NoError(t, l.Close())
}

// lengthOf returns how long the entry is that saveSized writes next, without the value.
func lengthOf(t testing.TB, m *model) int64 {
	var e encoder
	r := decided(fmt.Sprintf("saved/%05d", len(m.records)), uint64(len(m.records)+1), strings.Repeat("s", 200))
	require.NoError(t, e.record(&r))
	return int64(len(e.buf)) - 200
}
