package progress

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A screen is a terminal of one person, with a clock that a test moves.
type screen struct {
	bytes.Buffer
	now time.Time
}

func (s *screen) line() *Line { return New(s, func() time.Time { return s.now }) }

// seen returns what stands on the screen: a return goes to the beginning of its line, and each character takes the place of another.
func (s *screen) seen() (lines []string) {
	for text := range strings.SplitSeq(s.String(), "\n") {
		var row []rune
		at := 0
		for _, c := range text {
			switch {
			case c == '\r':
				at = 0
				continue
			case at == len(row):
				row = append(row, c)
			default:
				row[at] = c
			}
			at++
		}
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return lines
}

// TestShortWorkShowsNothing: nothing appears for half a second, and then five texts a second at most.
func TestShortWorkShowsNothing(t *testing.T) {
	s := &screen{}
	l := s.line()
	for range 49 {
		s.now = s.now.Add(10 * time.Millisecond)
		l.Step("verify", 1, 100)
	}
	l.End()
	assert.Empty(t, s.String())
	for range 100 {
		s.now = s.now.Add(10 * time.Millisecond)
		l.Step("verify", 1, 100)
	}
	assert.Equal(t, 5, strings.Count(s.String(), "\r"))
}

// TestTextsTakeTheirPlaces: a shorter text leaves nothing of a longer one, a line that stays is whole, and an end leaves an empty line.
func TestTextsTakeTheirPlaces(t *testing.T) {
	s := &screen{}
	l := s.line()
	l.Show("a long name of some work", 1, 4)
	assert.Equal(t, []string{"a long name of some work: 25 %"}, s.seen())
	s.now = s.now.Add(10 * time.Second)
	l.Show("short", 2, 4)
	assert.Equal(t, []string{"short: 50 %, about 10 s left"}, s.seen())
	l.Print("result")
	assert.Equal(t, []string{"result", ""}, s.seen())
	s.now = s.now.Add(50 * time.Second)
	l.Show("next", 1, 10)
	assert.Equal(t, []string{"result", "next: 10 %, about 9 min left"}, s.seen())
	l.Show(strings.Repeat("ä", 200), 0, 0)
	assert.Equal(t, []string{"result", strings.Repeat("ä", 78) + "…"}, s.seen())
	l.Show(strings.Repeat("ä", 200), 1, 10)
	assert.Equal(t, []string{"result", strings.Repeat("ä", 54) + "…: 10 %, about 9 min left"}, s.seen(), "the numbers stay")
	l.End()
	assert.Equal(t, []string{"result", ""}, s.seen())
	assert.True(t, strings.HasSuffix(s.String(), "\r"), "what follows begins at the left")
	before := s.Len()
	l.End()
	assert.Equal(t, before, s.Len())
}

// TestNumbers: no count makes a text that says too much, or that breaks.
func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		took      time.Duration
		done, all int64
		want      string
	}{
		{0, 0, 10, "w: 0 %"}, {time.Minute, 0, 10, "w: 0 %"}, {999 * time.Millisecond, 5, 10, "w: 50 %"}, {time.Second, 5, 10, "w: 50 %, about 1 s left"},
		{time.Minute, 10, 10, "w: 100 %"}, {time.Minute, 11, 10, "w: 100 %"}, {time.Minute, -1, 10, "w: 0 %"}, {time.Minute, 5, 0, "w"}, {time.Minute, 5, -1, "w"},
		{time.Second, 1, math.MaxInt64, "w: 0 %"}, {time.Hour, math.MaxInt64 - 1, math.MaxInt64, "w: 100 %, about 0 s left"},
	} {
		s := &screen{}
		l := s.line()
		s.now = s.now.Add(test.took)
		l.Show("w", test.done, test.all)
		assert.Equal(t, []string{test.want}, s.seen())
		assert.LessOrEqual(t, utf8.RuneCountInString(test.want), width)
	}
}

// TestNobodyWatches: a file and a pipe are no terminal, and a Line that is nil does nothing.
func TestNobodyWatches(t *testing.T) {
	in, out, err := os.Pipe()
	require.NoError(t, err)
	defer in.Close()
	defer out.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer f.Close()
	for _, file := range []*os.File{out, f} {
		l := To(file)
		require.Nil(t, l)
		l.Step("w", 1, 2)
		l.Show("w", 1, 2)
		l.Print("w")
		l.End()
	}
	f.Close()
	assert.False(t, IsTerminal(f))
	if device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		defer device.Close()
		if info, err := device.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			assert.NotNil(t, To(device), "a device, as a terminal is")
		}
	}
}
