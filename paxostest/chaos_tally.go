package paxostest

import (
	"fmt"
	"strings"

	"github.com/singledecree/paxos"
)

// Places in a Tally: faults of the network, the acts, and the answers of the servers to them.
const (
	tallyLost = iota
	tallyTwice
	tallyLate
	tallySlow
	tallyCut
	tallyResends
	tallyTakeovers
	tallySuperseded
	tallyFetched
	tallyNothing
	tallyRead
	tallyUnknown
	tallyFaults
	tallyDropped
	tallyOwned
	tallyRound0
	tallyStands
	tallyStanding
	tallyForwards
	tallyHedges
	tallyForwarded
	tallyWipedInChange // from here on situations of a change of members: see Tally.LeastOfChange
	tallyReplaced
	tallyAwayMember
	tallyAwayLeft
	tallySourceLost
	tallyChanges
	tallySealCrashed
	tallyImportCrashed
	tallyCutInChange
	tallyForgotApart
	tallyLateForgotten
	tallyActs
	tallySize = tallyActs + int(acts)
)

var tallyNames = func() (names [tallySize]string) {
	copy(names[:], []string{"packets lost", "packets twice", "packets late", "packets on a slow link", "packets cut off",
		"messages sent again", "instances taken over", "attempts superseded", "decisions fetched", "reads of nothing",
		"reads of a decision", "outcomes unknown", "safety errors", "packets of an earlier life",
		"attempts in round 0", "calls that round 0 answered", "standing ballots", "attempts in a standing ballot", "values forwarded",
		"forwarded values that took too long", "forwarded values taken up",
		"disks lost while members change", "servers with a lost disk replaced", "servers back after three changes, as members",
		"servers back after three changes, as none", "sources of an import lost", "two changes at once", "crashes in the Save of a seal",
		"crashes in the Save of an import", "links cut while members change", "names forgotten by some when members change",
		"late packets about what is forgotten"})
	for a := range acts {
		names[tallyActs+int(a)] = a.String()
	}
	return names
}()

// A Tally counts the events of a Chaos: each kind of fault, and each way to get over one.
type Tally [tallySize]uint64

// Add adds u to t.
func (t *Tally) Add(u Tally) {
	for i, n := range u {
		t[i] += n
	}
}

// Least returns the rarest event, and its count. It leaves out the situations of a change of members: see LeastOfChange.
func (t *Tally) Least() (what string, times uint64) {
	what, times = t.least(tallyLost, tallyWipedInChange)
	if act, n := t.least(tallyActs, int(tallySize)); n < times {
		return act, n
	}
	return what, times
}

// LeastOfChange returns the rarest situation of a change of members, and in how many runs or how often it was.
func (t *Tally) LeastOfChange() (what string, times uint64) {
	return t.least(tallyWipedInChange, tallyActs)
}

func (t *Tally) least(from, to int) (what string, times uint64) {
	least := from
	for i := from; i < to; i++ {
		if t[i] < t[least] {
			least = i
		}
	}
	return tallyNames[least], t[least]
}

// String returns the counts as a table.
func (t Tally) String() string {
	var b strings.Builder
	for i, n := range t {
		fmt.Fprintf(&b, "%12d  %s\n", n, tallyNames[i])
	}
	return b.String()
}

// countCalls adds the results of the calls.
func (r *chaosRun) countCalls() {
	for _, c := range r.calls {
		if c.Ended && !c.Decision.Ballot.IsZero() && c.Decision.Ballot.Round == 0 {
			r.tally[tallyRound0]++
		}
		switch {
		case c.Ended && paxos.Unknown(c.Err):
			r.tally[tallyUnknown]++
		case c.Op == "read" && c.Ended && c.Err == nil && c.Decision == paxos.Decision{}:
			r.tally[tallyNothing]++
		case c.Op == "read" && c.Ended && c.Err == nil:
			r.tally[tallyRead]++
		}
	}
}

// count adds the counts of a server for this life, which ends.
func (r *chaosRun) count(s *server) {
	if s.replica == nil {
		return
	}
	c := s.replica.Status(r.now).Counters
	r.tally[tallyResends] += c.Resends
	r.tally[tallyTakeovers] += c.Takeovers
	r.tally[tallySuperseded] += c.Superseded
	r.tally[tallyFetched] += c.Fetched
	r.tally[tallyFaults] += c.Faults
	r.tally[tallyDropped] += c.DroppedPackets
	r.tally[tallyOwned] += c.Owned
	r.tally[tallyStands] += c.Stands
	r.tally[tallyStanding] += c.Standing
	r.tally[tallyForwards] += c.Forwards
	r.tally[tallyHedges] += c.Hedges
	r.tally[tallyForwarded] += c.Forwarded
}
