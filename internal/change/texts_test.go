package change_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/change"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestImportsText(t *testing.T) {
	m := begun("2/57,4/0,18446744073709551615/18446744073709551615", 2, 3, 4, math.MaxUint64)
	assert.Equal(t, "2/57,4/0,18446744073709551615/18446744073709551615", m.Text())
	_, _, ok := m.WantsPage(2, 1, never)
	assert.False(t, ok, "it is scanned")
	_, _, ok = m.WantsPage(3, 1, never)
	assert.True(t, ok)
	goal, ok := m.Goal(2)
	assert.True(t, ok)
	assert.Equal(t, uint64(57), goal)
	assert.False(t, m.Durable(2, kept, 56))
	assert.False(t, m.Done(2))
	m.Durable(2, kept, 57)
	assert.True(t, m.Done(2))
	assert.Empty(t, begun("9/5", 2).Text(), "server 9 is no source")
	assert.Empty(t, begun("18446744073709551616/5", math.MaxUint64).Text(), "that is no ServerID")
}

// TestImportsTextWithJunk: a part that is not valid says nothing, and the scan begins anew.
func TestImportsTextWithJunk(t *testing.T) {
	for _, junk := range []string{"", ",", "2", "2/", "/5", "2/x", "x/5", "2/-5", "-2/5", "+2/5", "2/5/6", " 2/5", "2/5 ", "2/18446744073709551616", "complete", "\x00", "2:5"} {
		m := begun(junk+",3/8,"+junk, 2, 3)
		assert.Equal(t, "3/8", m.Text(), "%q", junk)
		_, _, ok := m.WantsPage(2, 1, never)
		assert.True(t, ok, "%q", junk)
	}
}

func FuzzImportsText(f *testing.F) {
	for _, text := range []string{"", "2/57", "2/57,3/60", "3/60,2/57,2/58", paxos.ImportComplete, "2/5/6,3/1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		once := begun(stored, 2, 3).Text()
		assert.Equal(t, once, begun(once, 2, 3).Text())
	})
}

func TestScanText(t *testing.T) {
	assert.Equal(t, paxos.Value("7 3\nlunch"), change.ScanText(7, 3, "lunch"))
	for _, after := range []string{"", "lunch", "a b\tc", strings.Repeat("é", paxos.MaxName/2)} {
		boot, seq, got, ok := change.ParseScan(change.ScanText(math.MaxUint64, math.MaxUint64, after))
		assert.True(t, ok)
		assert.Equal(t, []uint64{math.MaxUint64, math.MaxUint64}, []uint64{boot, seq})
		assert.Equal(t, after, got)
	}
	for _, junk := range []paxos.Value{"", "7 3", "7\nlunch", "7 0\nlunch", "x 3\n", "7 x\n", "7 3 1\n", " 7 3\n", "7  3\n", "-7 3\n", "18446744073709551616 3\n", "7 18446744073709551616\n",
		paxos.Value(strings.Repeat("1", 1<<16)), paxos.Value(strings.Repeat("\n", 1<<16))} {
		_, _, _, ok := change.ParseScan(junk)
		assert.False(t, ok, "%.40q", junk)
	}
}

func TestPageText(t *testing.T) {
	assert.Equal(t, paxos.Value("7 3 90 end\na\nb"), change.PageText(7, 3, 90, []string{"a", "b"}, true))
	assert.Equal(t, paxos.Value("7 3 90"), change.PageText(7, 3, 90, nil, false))
	full := make([]string, change.MaxPage)
	for i := range full {
		full[i] = strings.Repeat("n", paxos.MaxName-3) + fmt.Sprintf("%03d", i)
	}
	for _, names := range [][]string{nil, {"a"}, {"a b", "é"}, full} {
		for _, end := range []bool{false, true} {
			boot, seq, top, got, last, ok := change.ParsePage(change.PageText(math.MaxUint64, math.MaxUint64, math.MaxUint64, names, end))
			assert.True(t, ok)
			assert.Equal(t, []uint64{math.MaxUint64, math.MaxUint64, math.MaxUint64}, []uint64{boot, seq, top})
			assert.Equal(t, names, got)
			assert.Equal(t, end, last)
		}
	}
	for _, junk := range []paxos.Value{"", "7 3", "7 3 90 endless", "7 3 90 end end", "7 3 90 \na", "x 3 90", "7 x 90", "7 3 x", "7 3 -1", " 7 3 90", "7 3 18446744073709551616",
		"7 3 90\n", "7 3 90\na\n", "7 3 90\n\na", "7 3 90\na\x01", "7 3 90\n$ready", "7 3 90\n\xff",
		change.PageText(7, 3, 90, []string{strings.Repeat("n", paxos.MaxName+1)}, true),
		change.PageText(7, 3, 90, append(slices.Clone(full), "o"), true), paxos.Value(strings.Repeat("\n", 1<<16)), paxos.Value(strings.Repeat("1 ", 1<<16))} {
		_, _, _, _, _, ok := change.ParsePage(junk)
		assert.False(t, ok, "%.40q", junk)
	}
}

func FuzzScanText(f *testing.F) {
	for _, text := range []paxos.Value{"", "7 3\nlunch", "7 3\n", "7 0\nlunch", "18446744073709551615 18446744073709551615\nx", "7\n3\n1"} {
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		boot, seq, after, ok := change.ParseScan(paxos.Value(text))
		if !ok {
			return
		}
		again := change.ScanText(boot, seq, after)
		boot2, seq2, after2, ok := change.ParseScan(again)
		require.True(t, ok)
		assert.Equal(t, []uint64{boot, seq}, []uint64{boot2, seq2})
		assert.Equal(t, after, after2)
		assert.Equal(t, again, change.ScanText(boot2, seq2, after2))
	})
}

func FuzzPageText(f *testing.F) {
	for _, text := range []paxos.Value{"", "7 3 90", "7 3 90 end", "7 3 90 end\na\nb", "7 3 90\n", "1 1 1 end end", "7 3 90\na\n\xff",
		change.PageText(math.MaxUint64, math.MaxUint64, math.MaxUint64, []string{"lunch", "supper"}, true)} {
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		boot, seq, top, names, last, ok := change.ParsePage(paxos.Value(text))
		if !ok {
			return
		}
		require.LessOrEqual(t, len(names), change.MaxPage)
		for _, name := range names {
			require.NoError(t, paxos.CheckInstance(name))
		}
		again := change.PageText(boot, seq, top, names, last)
		boot2, seq2, top2, names2, last2, ok := change.ParsePage(again)
		require.True(t, ok)
		assert.Equal(t, []uint64{boot, seq, top}, []uint64{boot2, seq2, top2})
		assert.Equal(t, names, names2)
		assert.Equal(t, last, last2)
	})
}
