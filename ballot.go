package paxos

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A ServerID names one server of a cluster for ever. It is never given to another server. It is not given to the same
// machine either, once its storage is lost: a server that forgot its promises must not vote under the name that made them.
// Zero is not valid.
type ServerID uint64

// MaxRound is the highest round of a [Ballot] that servers use and accept from each other. A message with a higher round
// is dropped before any role sees it. It is the last round of configuration 0: see [Ballot.Configuration].
const MaxRound = 1<<configurationShift - 1

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

// configurationShift says where in a round the number of its configuration begins.
const configurationShift = 48

// MaxConfiguration is the number of the last configuration. The rounds above its own are left for the greatest Ballot of all:
// see [Ballot.IsForgotten].
const MaxConfiguration = 65534

// Configuration returns the number of the configuration to which b belongs. Ballots are ordered by configuration first, so
// every ballot of a configuration is above all ballots of those before it. Else a change of members could choose two values.
//
// Configuration c has the rounds from c<<48 on. Its base, [Base], is below all of its attempts.
func (b Ballot) Configuration() uint64 { return b.Round >> configurationShift }

// Base returns the base of configuration c. It is below every attempt of c, and above all ballots of the configurations
// before. No attempt has it, because its Server is 0, and no acceptor votes in it. It says that an acceptor has taken over a
// value from the configuration before: see [Acceptor.Import]. The base of configuration 0 is the zero Ballot.
func Base(c uint64) Ballot { return Ballot{Round: c << configurationShift} }

// isBase reports whether b is the base of a configuration, or the zero Ballot.
func (b Ballot) isBase() bool { return b == Base(b.Configuration()) }

// forgottenBallot is the greatest Ballot of all. No attempt has it.
func forgottenBallot() Ballot { return Ballot{Round: math.MaxUint64, Server: math.MaxUint64} }

// IsForgotten reports whether b is the greatest Ballot of all. An acceptor that has promised it has forgotten the instance. It
// answers every Prepare and Accept with a Nack, for ever, and that Nack is neither a promise nor a vote.
func (b Ballot) IsForgotten() bool { return b == forgottenBallot() }

// IsZero reports whether b is the zero Ballot, which means "none".
func (b Ballot) IsZero() bool { return b == Ballot{} }

// String returns the text form: "2.1" is round 2 of server 1, "c3:2.1" is that of configuration 3, and "-" is the zero Ballot.
// The greatest Ballot of all is "forgotten". So a round is counted from the first of its configuration.
func (b Ballot) String() string {
	switch {
	case b.IsZero():
		return "-"
	case b.IsForgotten():
		return "forgotten"
	}
	text := strconv.FormatUint(b.Round&MaxRound, 10) + "." + strconv.FormatUint(uint64(b.Server), 10)
	if c := b.Configuration(); c > 0 {
		text = "c" + strconv.FormatUint(c, 10) + ":" + text
	}
	return text
}

// ballotForms says how a text of a Ballot looks. Errors have it.
const ballotForms = "want ROUND.SERVER in decimal, or -, or cCONFIGURATION:ROUND.SERVER, or forgotten"

// ParseBallot reads the text form that [Ballot.String] writes, and nothing else: no sign, no leading zero, no space.
func ParseBallot(s string) (Ballot, error) {
	var b Ballot
	switch s {
	case "-":
		return b, nil
	case "forgotten":
		return forgottenBallot(), nil
	}
	text := s
	if after, ok := strings.CutPrefix(s, "c"); ok {
		var number string
		number, text, _ = strings.Cut(after, ":")
		c, _ := strconv.ParseUint(number, 10, 64-configurationShift)
		b = Base(c)
	}
	round, server, _ := strings.Cut(text, ".")
	r, err1 := strconv.ParseUint(round, 10, configurationShift)
	i, err2 := strconv.ParseUint(server, 10, 64)
	b = Ballot{b.Round | r, ServerID(i)}
	if err1 != nil || err2 != nil || b.String() != s {
		return Ballot{}, fmt.Errorf("paxos: ballot %q: %s", s, ballotForms)
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
