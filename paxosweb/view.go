package paxosweb

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// Bounds of the texts on the page, in characters. Names are shown whole.
const (
	maxShownValue = 160
	maxShownError = 400
)

// A view is what the page shows, in words. Templates make HTML of it, and escape every text.
type view struct {
	Cluster   string
	Server    paxos.ServerID
	Boot      uint64
	Headline  headline
	Servers   []serverView
	Decided   uint64
	Decisions []decisionView
	Rate      string
	Open      int
	Waiting   string
	Instances []openView
	Members   membersView
}

// A headline says in one sentence how the server is.
type headline struct{ State, Text string } // State: good, warn or bad

type serverView struct {
	ID    paxos.ServerID
	Role  string
	State string // up, silent, refused or self: a class, too
	Text  string
	More  string
}

type decisionView struct {
	Index         uint64
	Name          string
	Value, Ballot string
	Forgotten     string
}

type openView struct{ Name, Age, Ballot, Why string }

type membersView struct {
	Number       uint64
	Acceptors    []string
	Learners     []string
	Quorum       string
	Settled      bool
	Sources      int
	SourcesDone  int
	Records      uint64
	Goal         uint64
	Percent      int
	Incomplete   []string
	IsTakingOver bool
}

func role(votes bool) string {
	if votes {
		return "acceptor"
	}
	return "learner"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// A latest remembers the last decisions that were read, for the next look.
type latest struct {
	index     uint64
	at        time.Time // when that was the Index
	decisions []decisionView
	failed    bool // they are not all
}

func rangeText(r paxos.NameRange) string {
	if name, one := r.One(); one {
		return name
	}
	return fmt.Sprintf("%s to %s", r.From, r.To)
}

// value returns a value as text, a long one in part and with its length. It is in quotes if that tells more: if it is empty, or not
// all of it can be printed. Of a configuration it returns the acceptors.
func value(v paxos.Value) string {
	if c, err := paxos.ParseConfiguration(string(v)); err == nil {
		return "acceptors " + words.Acceptors(c.Members)
	}
	text, rest := string(v), ""
	if len(v) > maxShownValue {
		text, rest = strings.TrimRightFunc(text[:maxShownValue], func(r rune) bool { return r == utf8.RuneError }), fmt.Sprintf("… %d bytes", len(v))
	}
	if quoted := strconv.Quote(text); text == "" || text != strings.TrimSpace(text) || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) || !utf8.ValidString(text) {
		return quoted + rest
	}
	return text + rest
}

// why says for what an open instance waits.
func why(o *paxos.OpenInstance, s *paxos.Status) string {
	calls := ""
	if o.Calls > 0 {
		calls = plural(o.Calls, "call waits here; ", "calls wait here; ")
	}
	switch {
	case s.NoQuorum > 0:
		return calls + "no quorum answers"
	case s.StorageWait > time.Second:
		return calls + "the storage does not answer"
	case o.Orphaned:
		return calls + "no value is known, so it waits for a proposal"
	case o.Ballot.IsZero() && o.Calls > 0:
		return calls + "nobody has proposed yet"
	case o.Ballot.IsZero():
		return calls + "its votes are not known here"
	case o.Ballot.Server == s.ID:
		return calls + fmt.Sprintf("this server is at work, in ballot %s", o.Ballot)
	}
	return calls + fmt.Sprintf("server %d is at work, in ballot %s", o.Ballot.Server, o.Ballot)
}

// members describes the configuration, and how far its change is.
func members(s *paxos.Status, c *paxos.Configuration, settled bool) membersView {
	v := membersView{Number: c.Number, Settled: settled, Sources: s.Import.Sources, SourcesDone: s.Import.Done, Records: s.Import.Records, Goal: s.Import.Goal}
	if c.Members.Quorum != nil {
		v.Quorum = c.Members.Quorum.String()
	} else {
		v.Quorum = paxos.Majority(len(c.Members.Acceptors)).String()
	}
	told := func(ids []paxos.ServerID) (all []string) {
		for _, id := range ids {
			text := fmt.Sprint(id)
			if address := c.Members.Addresses[id]; address != "" {
				text += " at " + address
			}
			all = append(all, text)
		}
		return all
	}
	v.Acceptors, v.Learners = told(c.Members.Acceptors), told(c.Members.Learners)
	if !settled {
		for _, p := range s.Peers {
			if p.Votes && !p.Complete {
				v.Incomplete = append(v.Incomplete, fmt.Sprint(p.ID))
			}
		}
	}
	if v.Sources > 0 && v.SourcesDone < v.Sources {
		v.IsTakingOver = true
		if v.Percent = 100; v.Goal > 0 {
			v.Percent = int(min(v.Records, v.Goal) * 100 / v.Goal)
		}
	}
	return v
}

// age returns a time as people say it.
func age(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(d, 0).Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// clip cuts a long text.
func clip(text string, most int) string {
	text = strings.ToValidUTF8(text, "�")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// A part is one part of the page, as it is now.
type part struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}
