package paxos

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A ServerID names one server of a cluster for ever. It is never given to another server. It is not given to the same
// machine either, once its storage is lost: a server that forgot its promises must not vote under the name that made them.
// Zero is not valid.
type ServerID uint64

// MaxRound is the highest round of a [Ballot] that servers use and accept from each other. A message with a higher round
// is dropped before any role sees it. Rounds from c<<48 on are reserved for configuration c: a later version that changes
// the members can then order ballots by configuration first.
const MaxRound = 1<<48 - 1

// A Ballot numbers one attempt to get a value chosen. It is the "proposal number" of Paxos Made Simple, and the "ballot" of
// Lamport's specification. It is the pair of a round and the server that tries (S6), so two servers never share a ballot.
// Ballots are ordered by Round, then by Server. A Ballot is comparable; == and [Ballot.Compare] agree.
//
// The zero Ballot means "none". Round 0 with a server is a real ballot: see [Owned]. So call [Ballot.IsZero]; never test
// Round == 0.
type Ballot struct {
	Round  uint64
	Server ServerID
}

// Compare returns -1, 0 or +1 as b is below, equal to or above c.
func (b Ballot) Compare(c Ballot) int {
	if b.Round != c.Round {
		return cmp.Compare(b.Round, c.Round)
	}
	return cmp.Compare(b.Server, c.Server)
}

// Less reports whether b is below c.
func (b Ballot) Less(c Ballot) bool {
	return b.Round < c.Round || b.Round == c.Round && b.Server < c.Server
}

// IsZero reports whether b is the zero Ballot, which means "none".
func (b Ballot) IsZero() bool { return b == Ballot{} }

// String returns the text form: "2.1" is round 2 of server 1, and "-" is the zero Ballot.
func (b Ballot) String() string {
	if b.IsZero() {
		return "-"
	}
	return strconv.FormatUint(b.Round, 10) + "." + strconv.FormatUint(uint64(b.Server), 10)
}

// ParseBallot reads the text form that [Ballot.String] writes, and nothing else: no sign, no leading zero, no space.
func ParseBallot(s string) (Ballot, error) {
	if s == "-" {
		return Ballot{}, nil
	}
	round, server, _ := strings.Cut(s, ".")
	r, err1 := strconv.ParseUint(round, 10, 64)
	i, err2 := strconv.ParseUint(server, 10, 64)
	b := Ballot{r, ServerID(i)}
	if err1 != nil || err2 != nil || b.String() != s {
		return Ballot{}, fmt.Errorf("paxos: ballot %q: want ROUND.SERVER in decimal, or -", s)
	}
	return b, nil
}

// MarshalText returns the text form: see [Ballot.String]. The error is always nil.
func (b Ballot) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads the text form: see [ParseBallot]. After an error b is as before.
func (b *Ballot) UnmarshalText(text []byte) error {
	c, err := ParseBallot(string(text))
	if err == nil {
		*b = c
	}
	return err
}
