package page

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func FuzzNamesText(f *testing.F) {
	f.Add("66 5 1 9\na\nb")
	f.Add("1 2 3")
	f.Fuzz(func(t *testing.T, text string) {
		if p, ok := ParsePull(paxos.Value(text)); ok {
			require.LessOrEqual(t, len(text), 100)
			again, ok := ParsePull(p.Text())
			require.True(t, ok)
			require.Equal(t, p, again)
		}
		h, lines, ok := ParseNames(paxos.Value(text), nil, anyLine)
		if !ok {
			return
		}
		require.LessOrEqual(t, len(lines), MaxLines)
		var w Names
		for i := range lines {
			w.Add(&lines[i])
		}
		again, same, ok := ParseNames(w.Text(h), nil, anyLine)
		require.True(t, ok)
		require.Equal(t, h, again)
		require.Equal(t, lines, same)
	})
}

func FuzzCursorsText(f *testing.F) {
	f.Add("2/ff/7,3/1/8")
	f.Fuzz(func(t *testing.T, text string) {
		if all, err := ParseCursors(text); err == nil {
			require.LessOrEqual(t, len(all), len(text))
		}
	})
}

// Any bytes are read without a panic, and a page that is read comes back.
func FuzzDecisionsBinary(f *testing.F) {
	f.Add("1 0 1 9\n\x02\x01a\x02\x02\x01v\x05\x01b\x00\x00\x01c")
	f.Fuzz(func(t *testing.T, text string) {
		h, lines, ok := new(Reader).Parse(paxos.Value(text), nil, anyLine)
		if !ok {
			return
		}
		require.LessOrEqual(t, len(lines), MaxLines)
		var w Decisions
		for i := range lines {
			require.True(t, w.Fits(&lines[i]))
			w.Add(&lines[i])
		}
		again, same, ok := new(Reader).Parse(w.Text(h), nil, anyLine)
		require.True(t, ok)
		require.Equal(t, h, again)
		require.Equal(t, lines, same)
	})
}
