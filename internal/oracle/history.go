package oracle

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// A history is all that happened in an instance.
type history struct {
	name     string
	proposed []paxos.Value
	ballots  []*ballot // few, the latest last
	chosen   bool
	forged   bool // a lie with Lenient set: nothing is checked any more
	value    paxos.Value
	own      [][]ownVote // by server: votes that disks held, as they came

	// From the name: the server that may use round 0, and the start in which it may; 0: none, or any.
	owner paxos.ServerID
	boot  uint64
}

type vote struct {
	ballot paxos.Ballot
	value  paxos.Value
}

// An ownVote is a vote that a disk held. It is imported if the server may have taken it over from another one.
type ownVote struct {
	vote
	imported bool
}

// A ballot is all that is known of one ballot.
type ballot struct {
	ballot   paxos.Ballot
	life     uint64 // of the server that uses it; 0: not known
	question bool   // it is used for a Query, not for an attempt
	valued   bool   // value is set
	value    paxos.Value
	voters   paxos.Set
	promises []promise // that were delivered to the life that uses it
	asked    bool      // an Accept has left
	late     bool      // it began after a quorum had forgotten the instance
}

// A promise is its acceptor, and the vote that it reported.
type promise struct {
	acceptor *Server
	vote
}

func (p promise) String() string {
	if p.ballot.IsZero() {
		return fmt.Sprintf("server %d reports no vote", p.acceptor.ID)
	}
	return fmt.Sprintf("server %d reports %s for %s", p.acceptor.ID, p.ballot, words.Quote(p.value))
}

// find returns what is known of a ballot, or nil.
func (h *history) find(b paxos.Ballot) *ballot {
	for i := len(h.ballots) - 1; i >= 0; i-- {
		if h.ballots[i].ballot == b {
			return h.ballots[i]
		}
	}
	return nil
}

func (h *history) of(b paxos.Ballot) *ballot {
	known := h.find(b)
	if known == nil {
		known = &ballot{ballot: b}
		h.ballots = append(h.ballots, known)
	}
	return known
}

func (h *history) broken(rule, format string, args ...any) error {
	if h.forged {
		return nil
	}
	return fmt.Errorf("%s is broken in %q: %s", rule, h.name, fmt.Sprintf(format, args...))
}

func (h *history) propose(v paxos.Value) {
	if !slices.Contains(h.proposed, v) {
		h.proposed = append(h.proposed, v)
	}
}

var ownedName = regexp.MustCompile(`^\$([1-9][0-9]*)(?:\.([1-9][0-9]*)\.[1-9][0-9]*)?/`)

// ownerOf reads the name of an instance: "$1/name", or "$1.2.3/name" for the third name that server 1 minted in its start 2. It is
// written a second time here, to check the servers against.
func ownerOf(name string) (owner paxos.ServerID, boot uint64) {
	if parts := ownedName.FindStringSubmatch(name); parts != nil {
		id, _ := strconv.ParseUint(parts[1], 10, 64)
		boot, _ = strconv.ParseUint(parts[2], 10, 64)
		return paxos.ServerID(id), boot
	}
	return 0, 0
}
