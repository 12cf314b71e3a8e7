package page

import (
	"fmt"
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
	for _, text := range []string{"", "1 2", "x 2 1", "1 2 1 4", "65 0 2x", "1 2 3 value", "1 2 3  values", " values", strings.Repeat("1", 200), "1 2 " + strings.Repeat("0", 97)} {
		_, ok := ParsePull(paxos.Value(text))
		assert.False(t, ok, "%q", text)
	}
}

func anyLine(name string) bool { return name != "" }

// A page of names is its head, and a line for each name.
func TestNames(t *testing.T) {
	var w Names
	w.Add(&Line{Name: "earlier"})
	w.Reset()
	head := Head{Store: 255, From: 3, Boot: 7, To: 9}
	assert.Equal(t, paxos.Value("ff 3 7 9"), w.Text(head))
	w.Add(&Line{Name: "job/1"})
	w.Add(&Line{Name: "job/2"})
	assert.Equal(t, paxos.Value("ff 3 7 9\njob/1\njob/2"), w.Text(head))
	h, lines, ok := ParseNames(w.Text(head), []Line{{Name: "kept"}}, anyLine)
	require.True(t, ok)
	assert.Equal(t, head, h)
	assert.Equal(t, []Line{{Name: "kept"}, {Name: "job/1"}, {Name: "job/2"}}, lines)
	head.Forgot, head.Merged = 12, 11
	assert.Equal(t, paxos.Value("ff 3 7 9 12 11\njob/1\njob/2"), w.Text(head))
	h, _, ok = ParseNames(w.Text(head), nil, anyLine)
	require.True(t, ok)
	assert.Equal(t, head, h)
	for name, text := range map[string]string{
		"no head": "", "no end": "ff 3 7", "no number": "ff 3 x 9\na", "more numbers": "ff 3 7 9 9\na", "many more": "ff 3 7 9 9 9 9\na", "no forgetting": "ff 3 7 9 x 9\na", "no range": "ff 3 7 9 9 x\na", "nothing forgotten": "ff 3 7 9 0 9\na", "no name": "ff 3 7 9\na\n\nb",
		"too many": "ff 3 7 9" + strings.Repeat("\na", MaxLines+1), "values": "ff 3 7 values 9\na",
	} {
		_, _, ok := ParseNames(paxos.Value(text), nil, anyLine)
		assert.False(t, ok, name)
	}
}

// The text of ServerState.Pulled survives, and nothing else is taken for one.
func TestCursors(t *testing.T) {
	for _, text := range []string{"1", "2/1", "2/x/", "2/1/1,", ",", "0x2/1/1", "2/1/1/1", "-2/1/1", "2/1/18446744073709551616"} {
		_, err := ParseCursors(text)
		assert.ErrorContains(t, err, "ServerState.Pulled", "%q", text)
	}
	all, err := ParseCursors("2/ff/7,3/1/8")
	require.NoError(t, err)
	assert.Equal(t, map[paxos.ServerID]Cursor{2: {255, 7}, 3: {1, 8}}, all)
	assert.Equal(t, "2/ff/7,3/1/8", string(all[3].Append(Cursor{}.Append(all[2].Append(nil, 2), 9), 3)))
}

// A page of decisions comes back as it was written, in few bytes.
func TestDecisions(t *testing.T) {
	ballot := func(round uint64, server paxos.ServerID) paxos.Ballot {
		return paxos.Ballot{Round: round, Server: server}
	}
	want := []Line{
		{Name: "job/000001", Ballot: ballot(1, 2), Value: "a"},
		{Name: "job/000002", Ballot: ballot(1, 2), Value: ""},
		{Name: "job/000002/x"},
		{Name: "j", Ballot: ballot(math.MaxUint64, math.MaxUint64), Value: "b"},
		{Name: "other", Ballot: ballot(0, 3), Value: "c\n\x00"},
		{Name: "other", Ballot: ballot(math.MaxUint64/2+1, 3), Value: "d"},
	}
	var w Decisions
	w.Add(&Line{Name: "earlier", Ballot: ballot(7, 7)})
	w.Reset()
	for i := range want {
		require.True(t, w.Fits(&want[i]))
		w.Add(&want[i])
	}
	head := Head{Store: 255, From: 3, Boot: 7, To: 9}
	h, lines, ok := new(Reader).Parse(w.Text(head), []Line{{Name: "kept"}}, anyLine)
	require.True(t, ok)
	assert.Equal(t, head, h)
	assert.Equal(t, append([]Line{{Name: "kept"}}, want...), lines)
	assert.Equal(t, paxos.Value("ff 3 7 9\n\x02\x0ajob/000001\x02\x02\x01a\x25\x012\x00\x28\x02/x"), w.Text(head)[:33], "the bytes are a format")
	w.Reset()
	_, lines, ok = new(Reader).Parse(w.Text(head), nil, anyLine)
	assert.True(t, ok, "a page may be empty")
	assert.Empty(t, lines)
}

// Every page that is cut or spoiled is refused, and none asks for more memory than a page may have.
func TestDecisionsSpoiled(t *testing.T) {
	long := strings.Repeat("n", 250)
	full := "1 0 1 9\n\x00\xfa\x01" + long
	for name, text := range map[string]string{
		"no head": "", "no end of the head": "1 0 1 9", "no number": "1 0 x 9\n", "no bytes of a name": "1 0 1 9\n\x00", "a cut name": "1 0 1 9\n\x00\x02a",
		"no name": "1 0 1 9\n\x00\x00", "more shared than there is": "1 0 1 9\n\x00\x01a\x08\x01b", "no such form": "1 0 1 9\n\x03\x01a",
		"no value": "1 0 1 9\n\x02\x01a\x02\x02", "a cut value": "1 0 1 9\n\x02\x01a\x02\x02\x02v", "no ballot before": "1 0 1 9\n\x01\x01a\x01v", "no ballot": "1 0 1 9\n\x02\x01a", "half a ballot": "1 0 1 9\n\x02\x01a\x02",
		"a number that never ends": "1 0 1 9\n" + strings.Repeat("\xff", 11), "a number above 64 bits": "1 0 1 9\n\x00" + strings.Repeat("\xff", 9) + "\x02a",
		"too many lines":  "1 0 1 9\n\x00\x01a" + strings.Repeat("\x04\x00", MaxLines),
		"too many bytes":  full + strings.Repeat("\xe8\x07\x00", MaxBytes/250+1),
		"a wanton length": "1 0 1 9\n\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
	} {
		_, _, ok := new(Reader).Parse(paxos.Value(text), nil, anyLine)
		assert.False(t, ok, name)
	}
	_, lines, ok := new(Reader).Parse(paxos.Value(full+strings.Repeat("\xe8\x07\x00", MaxBytes/250-1)), nil, anyLine)
	assert.True(t, ok)
	assert.Len(t, lines, MaxBytes/250)
}

// A page has room for so many lines, and so many bytes.
func TestDecisionsFit(t *testing.T) {
	var w Decisions
	for range MaxLines {
		require.True(t, w.Fits(&Line{Name: "a"}))
		w.Add(&Line{Name: "a"})
	}
	assert.False(t, w.Fits(&Line{Name: "a"}))
	w.Reset()
	large := Line{Name: "a", Value: paxos.Value(strings.Repeat("v", MaxBytes/2))}
	w.Add(&large)
	assert.False(t, w.Fits(&large))
	large.Value = large.Value[2*mostNumbers:]
	assert.True(t, w.Fits(&large))
	w.Reset()
	for round := uint64(1); ; round += 1 << 40 {
		l := Line{Name: fmt.Sprint(round), Ballot: paxos.Ballot{Round: round * round, Server: math.MaxUint64}, Value: "v"}
		if !w.Fits(&l) {
			break
		}
		w.Add(&l)
	}
	assert.LessOrEqual(t, len(w.bytes), MaxBytes, "a Transport need not take more")
	assert.Greater(t, len(w.bytes), MaxBytes/2)
	var names Names
	for range MaxBytes / 251 {
		names.Add(&Line{Name: strings.Repeat("n", 250)})
	}
	assert.False(t, names.Fits(&Line{Name: strings.Repeat("n", 250)}))
}
