// Package words puts messages, records and values into the words that logs, diagrams and scripts share.
package words

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// Record says what a record holds.
func Record(rec paxos.Record) string {
	a := rec.Acceptor
	switch {
	case rec.Chosen:
		return "decided " + Quote(a.Value)
	case a.Accepted.IsZero():
		return "promised " + a.Promised.String()
	case a.Accepted == a.Promised:
		return "accepted " + a.Accepted.String() + " " + Quote(a.Value)
	}
	return fmt.Sprintf("promised %s (%s %s)", a.Promised, a.Accepted, Quote(a.Value))
}

// Message is the text form of m, with a long value cut: a mebibyte on a line helps nobody.
func Message(m paxos.Message) string {
	v := m.Value
	if len(v) <= maxShown {
		return m.String()
	}
	m.Value = v[:maxShown]
	return strings.Replace(m.String(), strconv.Quote(string(m.Value)), Quote(v), 1)
}

// Brief is like Message, for a diagram: of a message between servers that catch up it tells what a reader wants to know, the
// names that it brings.
func Brief(m paxos.Message) string {
	switch m.Kind {
	case paxos.KindPull:
		return "pull"
	case paxos.KindNames:
		_, names, _ := strings.Cut(string(m.Value), "\n")
		if names == "" {
			return "names: none"
		}
		return "names: " + strings.Join(strings.Split(shorten(names), "\n"), ", ")
	}
	return Message(m)
}

// shorten cuts a long text.
func shorten(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return text[:maxShown] + "…"
}

// maxShown is how many bytes of a value are shown.
const maxShown = 24

// Quote returns v in quotes, a long one cut.
func Quote(v paxos.Value) string {
	if len(v) <= maxShown {
		return strconv.Quote(string(v))
	}
	return fmt.Sprintf("%s… %d bytes", strconv.Quote(string(v[:maxShown])), len(v))
}

// Milliseconds returns t in milliseconds, to the microsecond.
func Milliseconds(t time.Duration) string {
	return strconv.FormatFloat(float64(t.Truncate(time.Microsecond))/float64(time.Millisecond), 'f', -1, 64)
}
