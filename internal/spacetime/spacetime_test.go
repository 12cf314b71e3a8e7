package spacetime

import (
	"flag"
	"fmt"
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

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A story makes events.
type story struct{ events []Event }

func (s *story) add(at int, e Event) {
	e.At = time.Duration(at) * time.Millisecond
	s.events = append(s.events, e)
}

func (s *story) note(at, lane int, text string) {
	s.add(at, Event{Kind: Note, Lane: lane, Symbol: '◆', Text: text})
}

func (s *story) send(at, lane, peer, message int, text string) {
	s.add(at, Event{Kind: Send, Lane: lane, Peer: peer, Message: message, Text: text})
}

func (s *story) arrive(at, message int) { s.add(at, Event{Kind: Arrive, Message: message}) }
func (s *story) lose(at, message int)   { s.add(at, Event{Kind: Lose, Message: message}) }

func (s *story) save(from, to, lane int, text string) {
	s.add(from, Event{Kind: Begin, Lane: lane, Text: text})
	s.add(to, Event{Kind: End, Lane: lane, Text: "saved"})
}

// drawings are small stories, each of which shows one thing.
var drawings = []struct {
	name  string // of its file in testdata
	lanes int
	width int
	tell  func(s *story)
}{
	{name: "one-message", lanes: 2, width: 80, tell: func(s *story) {
		s.note(0, 0, "hello")
		s.send(0, 0, 1, 1, "prepare 1.1")
		s.arrive(10, 1)
	}},
	{name: "to-all-and-back", lanes: 3, width: 80, tell: func(s *story) {
		s.send(0, 1, 0, 1, "prepare 1.2")
		s.send(0, 1, 2, 2, "prepare 1.2")
		s.arrive(10, 1)
		s.arrive(10, 2)
		s.save(10, 12, 0, "promised 1.2")
		s.save(10, 12, 2, "promised 1.2")
		s.send(12, 0, 1, 3, "promise 1.2")
		s.send(12, 2, 1, 4, "promise 1.2")
		s.arrive(22, 3)
		s.arrive(22, 4)
	}},
	{name: "lost", lanes: 4, width: 100, tell: func(s *story) {
		s.send(0, 0, 1, 1, "accept 1.1")
		s.lose(0, 1)
		s.send(0, 0, 2, 2, "accept 1.1")
		s.send(0, 0, 3, 3, "accept 1.1")
		s.lose(0, 3)
		s.arrive(10, 2)
	}},
	{name: "down", lanes: 3, width: 80, tell: func(s *story) {
		s.add(5, Event{Kind: Crash, Lane: 1, Text: "crashes"})
		s.send(0, 0, 1, 1, "accept 1.1")
		s.send(0, 0, 2, 2, "accept 1.1")
		s.lose(10, 1)
		s.arrive(10, 2)
		s.add(20, Event{Kind: Restart, Lane: 1, Text: "starts again"})
		s.send(21, 1, 0, 3, "query 2.2")
		s.arrive(31, 3)
	}},
	{name: "crossing", lanes: 2, width: 80, tell: func(s *story) {
		s.note(0, 0, "propose")
		s.note(0, 1, "propose")
		s.send(0, 0, 1, 1, "prepare 1.1")
		s.send(0, 1, 0, 2, "prepare 1.2")
		s.arrive(10, 1)
		s.arrive(10, 2)
		s.note(11, 0, "refuses")
		s.note(11, 1, "refuses")
	}},
	{name: "late-and-twice", lanes: 3, width: 90, tell: func(s *story) {
		s.send(0, 0, 1, 1, "accept 1.1")
		s.send(0, 0, 2, 2, "accept 1.1")
		s.arrive(10, 1)
		s.send(12, 1, 2, 3, "prepare 2.2")
		s.arrive(22, 3)
		s.add(40, Event{Kind: Arrive, Message: 2, Late: true})
		s.add(50, Event{Kind: Arrive, Message: 1, Late: true})
	}},
	{name: "on-its-way", lanes: 2, width: 80, tell: func(s *story) { s.send(0, 1, 0, 1, "accept 1.1") }},
	{name: "slow-save", lanes: 2, width: 80, tell: func(s *story) {
		s.send(0, 0, 1, 1, "prepare 1.1")
		s.arrive(10, 1)
		s.add(10, Event{Kind: Begin, Lane: 1, Text: "promised 1.1"})
		s.send(10, 0, 1, 2, "prepare 1.1")
		s.arrive(20, 2)
		s.add(60, Event{Kind: End, Lane: 1, Text: "saved"})
		s.send(60, 1, 0, 3, "promise 1.1")
		s.arrive(70, 3)
	}},
	{name: "pause", lanes: 2, width: 80, tell: func(s *story) {
		s.add(0, Event{Kind: Pause, Lane: 1, Text: "pauses"})
		s.send(0, 0, 1, 1, "prepare 1.1")
		s.note(3, 0, "waits")
		s.add(50, Event{Kind: Resume, Lane: 1, Text: "resumes"})
		s.add(50, Event{Kind: Arrive, Message: 1, Late: true})
	}},
	{name: "narrow", lanes: 3, width: 50, tell: func(s *story) {
		s.note(0, 0, `learns "burger", and returns it to the caller`)
		s.note(0, 2, `proposes "pizza", then waits`)
		s.send(1, 0, 1, 1, `promise 2.2 (1.1 "burger")`)
		s.arrive(11, 1)
		s.send(12, 2, 0, 2, `promise 2.2 (1.1 "burger")`)
		s.arrive(22, 2)
	}},
}

// TestGolden draws the stories and compares with testdata.
func TestGolden(t *testing.T) {
	for _, test := range drawings {
		t.Run(test.name, func(t *testing.T) {
			var s story
			test.tell(&s)
			names := []string{"server 1", "server 2", "server 3", "server 4"}[:test.lanes]
			got := Draw(names, s.events, test.width)
			for _, line := range strings.Split(got, "\n") {
				assert.LessOrEqual(t, utf8.RuneCountInString(line), test.width)
				assert.Equal(t, strings.TrimRight(line, " "), line)
			}
			file := filepath.Join("testdata", test.name+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o666))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

// TestOrderIsKept draws rows in an order that every lane agrees with: the earlier of two events of a lane stands above.
func TestOrderIsKept(t *testing.T) {
	var s story
	const lanes = 4
	message := 0
	for at := range 60 {
		from, to := at%lanes, (at*7+1)%lanes
		if from == to {
			to = (to + 1) % lanes
		}
		message++
		s.send(at, from, to, message, "m"+itoa(int64(message)))
	}
	for m := 1; m <= message; m++ {
		s.arrive(100+(m*37)%60, m)
	}
	s.events = inTime(s.events)
	rows := plan(lanes, s.events)
	sent, arrived := map[int]int{}, map[int]int{}
	for i, r := range rows {
		for _, a := range r.arrows {
			if a.half != enters {
				sent[a.message] = i
			}
			if a.half != leaves {
				arrived[a.message] = i
			}
		}
	}
	require.Len(t, sent, message)
	require.Len(t, arrived, message)
	last := make([]int, lanes)
	for _, e := range s.events {
		lane, row := e.Lane, sent[e.Message]
		if e.Kind == Arrive {
			lane, row = s.peer(e.Message), arrived[e.Message]
			require.GreaterOrEqual(t, row, sent[e.Message], "message %d arrives above its sending", e.Message)
		}
		require.GreaterOrEqual(t, row, last[lane], "lane %d", lane)
		last[lane] = row
	}
}

func (s *story) peer(message int) int {
	for _, e := range s.events {
		if e.Kind == Send && e.Message == message {
			return e.Peer
		}
	}
	return -1
}

// inTime sorts by time, and keeps what happened at once in order.
func inTime(events []Event) (sorted []Event) {
	for at := time.Duration(0); len(sorted) < len(events); at += time.Millisecond {
		for _, e := range events {
			if e.At == at {
				sorted = append(sorted, e)
			}
		}
	}
	return sorted
}

func TestNothing(t *testing.T) {
	assert.Equal(t, "ms  a           b\n    │           │\n    │           │\n", Draw([]string{"a", "b"}, nil, 80))
	assert.Equal(t, "ms  a\n    │\n    │\n", Draw([]string{"a"}, nil, 80))
}

func TestWrap(t *testing.T) {
	assert.Equal(t, []string{"one two", "three"}, wrap("one two three", 7))
	assert.Equal(t, []string{"abcd", "efgh", "i j"}, wrap("abcdefghi j", 4))
	assert.Equal(t, []string{""}, wrap("", 4))
}

// So many lanes do not fit into the width: lines are longer then.
func TestManyLanes(t *testing.T) {
	lanes := make([]string, 30)
	for i := range lanes {
		lanes[i] = fmt.Sprint("server ", i+1)
	}
	text := Draw(lanes, []Event{{Kind: Send, Lane: 0, Peer: 29, Message: 1, Text: "accept"}, {Kind: Arrive, At: 1, Lane: 29, Message: 1},
		{Kind: Note, At: 2, Lane: 29, Symbol: '★', Text: "learns"}}, 80)
	assert.Contains(t, text, "server 30")
	assert.Contains(t, text, "★ learns")
}
