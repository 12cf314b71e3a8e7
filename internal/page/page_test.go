package page

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// The text of a Pull survives, and nothing else is taken for one.
func TestPullText(t *testing.T) {
	for _, want := range []Pull{{}, {Store: 1, Index: 2, Boot: 3}, {Store: math.MaxUint64, Index: math.MaxUint64, Boot: math.MaxUint64, Values: true}} {
		p, ok := ParsePull(want.Text())
		assert.True(t, ok)
		assert.Equal(t, want, p)
	}
	assert.Equal(t, paxos.Value("ff 10 2 values"), Pull{Store: 255, Index: 10, Boot: 2, Values: true}.Text())
	for _, text := range []string{"", "1 2", "x 2 1", "1 2 1 4", "65 0 2x", "1 2 3 value", "1 2 3  values", " values", strings.Repeat("1", 200)} {
		_, ok := ParsePull(paxos.Value(text))
		assert.False(t, ok, "%q", text)
	}
}

func anyLine(name string) bool { return name != "" }

// A page of names is its head, and a line for each name.
func TestNames(t *testing.T) {
	var w Names
	w.Add("earlier")
	w.Reset()
	head := Head{Store: 255, From: 3, Boot: 7, To: 9}
	assert.Equal(t, paxos.Value("ff 3 7 9"), w.Text(head))
	w.Add("job/1")
	w.Add("job/2")
	assert.Equal(t, paxos.Value("ff 3 7 9\njob/1\njob/2"), w.Text(head))
	h, lines, ok := ParseNames(w.Text(head), []Line{{Name: "kept"}}, anyLine)
	require.True(t, ok)
	assert.Equal(t, head, h)
	assert.Equal(t, []Line{{Name: "kept"}, {Name: "job/1"}, {Name: "job/2"}}, lines)
	for name, text := range map[string]string{
		"no head": "", "no end": "ff 3 7", "no number": "ff 3 x 9\na", "more numbers": "ff 3 7 9 9\na", "no name": "ff 3 7 9\na\n\nb",
		"too many": "ff 3 7 9" + strings.Repeat("\na", MaxLines+1), "values": "ff 3 7 values 9\na",
	} {
		_, _, ok := ParseNames(paxos.Value(text), nil, anyLine)
		assert.False(t, ok, name)
	}
}
