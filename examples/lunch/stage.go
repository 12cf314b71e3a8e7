package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// A scenario shows one thing that the article says.
type scenario struct {
	row     string // its number in the list of what the article says: "S1"
	name    string // for -run
	title   string
	caption string
	script  func(st *stage)
}

// lunch is the instance that all scenarios are about.
const lunch = "lunch"

// A stage is where a scenario plays: its script makes a world, has things happen in it, and says what must have come of it.
type stage struct {
	io.Writer
	*paxostest.Sim
	broken   error        // why the world stopped
	omit     []paxos.Kind // messages that the picture does without
	outcomes []string
	failed   bool
}

// open makes the Sim.
func (st *stage) open(c paxostest.SimConfig) {
	c.Fail = func(err error) { st.broken = err }
	st.Sim = paxostest.NewSim(c)
}

// play prints the scenario: its caption, its events and its outcome.
func (st *stage) play(s scenario) {
	head := fmt.Sprintf("━━ %s  %s: %s ", s.row, s.name, s.title)
	fmt.Fprintf(st, "%s%s\n\n%s\n\n", head, strings.Repeat("━", max(0, width-len([]rune(head)))), fillAll(s.caption, width))
	s.script(st)
	fmt.Fprintf(st, "%s\n", st.DrawWithout(st.omit...))
	st.expect("no invariant was broken on the way: agreement and its kin were checked after every event", st.broken == nil && len(st.Faults()) == 0)
	for _, outcome := range st.outcomes {
		fmt.Fprintf(st, "  %s\n", strings.ReplaceAll(fill(outcome, width-4), "\n", "\n    "))
	}
	if st.broken != nil {
		fmt.Fprintln(st, st.broken)
	}
	fmt.Fprintln(st)
}

// expect notes an outcome, which must hold.
func (st *stage) expect(outcome string, holds bool) {
	if !holds {
		st.failed = true
		st.outcomes = append(st.outcomes, "✘ NOT SO: "+outcome)
		return
	}
	st.outcomes = append(st.outcomes, "✔ "+outcome)
}

// expectResult notes what a call returned, which must be the decision of v in ballot b.
func (st *stage) expectResult(c *paxostest.Call, v paxos.Value, b paxos.Ballot) {
	want := paxos.Decision{Instance: lunch, Value: v, Ballot: b}
	st.expect(c.String(), c.Ended && c.Err == nil && c.Decision == want)
}

// expectAll notes that all servers have learned v.
func (st *stage) expectAll(v paxos.Value) {
	servers, learned := st.Servers(), 0
	for _, id := range servers {
		if d, ok := st.Learned(id, lunch); ok && d.Value == v {
			learned++
		}
	}
	st.expect(fmt.Sprintf("all %d servers have learned %q", len(servers), string(v)), learned == len(servers))
}

// untilSent runs until n messages that match have left.
func (st *stage) untilSent(n int, m paxostest.Match) {
	st.Until(fmt.Sprintf("%d messages %s are sent", n, m), func() bool { return st.Sent(m) >= n })
}

// untilArrived runs until n messages that match have arrived.
func (st *stage) untilArrived(n int, m paxostest.Match) {
	st.Until(fmt.Sprintf("%d messages %s arrive", n, m), func() bool { return st.Arrived(m) >= n })
}

// untilEnded runs until a call has ended.
func (st *stage) untilEnded(c *paxostest.Call) {
	st.Until("the end of: "+c.String(), func() bool { return c.Ended })
}

// width is that of captions and headlines.
const width = 110

// fill breaks text into lines of at most that many characters.
func fill(text string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}

// fillAll is fill of each paragraph.
func fillAll(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = fill(p, width)
	}
	return strings.Join(paragraphs, "\n\n")
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
