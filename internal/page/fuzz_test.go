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
		for _, l := range lines {
			w.Add(l.Name)
		}
		again, same, ok := ParseNames(w.Text(h), nil, anyLine)
		require.True(t, ok)
		require.Equal(t, h, again)
		require.Equal(t, lines, same)
	})
}
