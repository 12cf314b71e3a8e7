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
	case a.Promised.IsForgotten() && a.Value != "":
		return "forgotten " + rangeOf(string(a.Value))
	case a.Promised.IsForgotten():
		return "forgotten"
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
	case paxos.KindScan:
		return "scan"
	case paxos.KindOpen:
		return "open: " + namesOf(m.Value)
	case paxos.KindQuery:
		return "query" + at(m.Instance)
	case paxos.KindState:
		if m.Accepted.IsZero() {
			return "state: no vote" + at(m.Instance)
		}
		return fmt.Sprintf("state: %s %s%s", m.Accepted, Quote(m.Value), at(m.Instance))
	case paxos.KindStand:
		return "stand " + m.Ballot.String()
	case paxos.KindStood:
		return "stood " + m.Ballot.String() + ": votes for " + namesOf(m.Value)
	case paxos.KindPull:
		return "pull"
	case paxos.KindNames:
		return "names: " + namesOf(m.Value)
	case paxos.KindDecisions:
		all, _ := Page(m.Value)
		lines := make([]string, len(all))
		for i, e := range all {
			lines[i] = e.Name
		}
		return "decisions: " + listOf(lines)
	case paxos.KindForget, paxos.KindForgotten:
		if m.Value == "" { // of one instance
			return m.Kind.String()
		}
		return m.Kind.String() + " " + rangeOf(string(m.Value))
	case paxos.KindNack:
		if m.Promised.IsForgotten() {
			return "nack " + m.Ballot.String() + ": forgotten"
		}
	}
	if _, ok := paxos.ConfigurationNumber(m.Instance); ok {
		name := m.Instance
		m.Instance = ""
		return Message(m) + at(name)
	}
	return Message(m)
}

// at says which instance a message is about, if that is to be said.
func at(instance string) string {
	if instance == "" {
		return ""
	}
	return " @" + instance
}

// namesOf says which names are in the lines after the first.
func namesOf(text paxos.Value) string {
	_, names, _ := strings.Cut(string(text), "\n")
	if names == "" {
		return "none"
	}
	return listOf(strings.Split(names, "\n"))
}

// listOf says which names are in these lines.
func listOf(lines []string) string {
	if len(lines) == 0 {
		return "none"
	}
	for i, line := range lines {
		if text, ok := strings.CutPrefix(line, "$forgotten "); ok {
			lines[i] = "forgotten " + rangeOf(text)
		}
	}
	return strings.ReplaceAll(shorten(strings.Join(lines, "\n")), "\n", ", ")
}

// rangeOf says which names a range has, of which text is the text form.
func rangeOf(text string) string {
	r, err := paxos.ParseNameRange(text)
	if err != nil {
		return Quote(paxos.Value(text))
	}
	if name, one := r.One(); one {
		return strconv.Quote(name)
	}
	return fmt.Sprintf("%q to %q", r.From, r.To)
}

// shorten cuts a long list of names.
func shorten(text string) string {
	if len(text) <= maxNames {
		return text
	}
	return text[:maxNames] + "…"
}

// maxNames is how many bytes of a list of names are shown.
const maxNames = 40

// maxShown is how many bytes of a value are shown.
const maxShown = 24

// Quote returns v in quotes, a long one cut. Of a configuration it returns the acceptors: {1,2,4}.
func Quote(v paxos.Value) string {
	if len(v) <= maxShown {
		return strconv.Quote(string(v))
	}
	if c, err := paxos.ParseConfiguration(string(v)); err == nil {
		return Acceptors(c.Members)
	}
	return fmt.Sprintf("%s… %d bytes", strconv.Quote(string(v[:maxShown])), len(v))
}

// Acceptors returns the acceptors of m: {1,2,4}.
func Acceptors(m paxos.Members) string {
	ids, _, _ := strings.Cut(m.Voters(), " ")
	return "{" + ids + "}"
}

// Milliseconds returns t in milliseconds, to the microsecond.
func Milliseconds(t time.Duration) string {
	return strconv.FormatFloat(float64(t.Truncate(time.Microsecond))/float64(time.Millisecond), 'f', -1, 64)
}
