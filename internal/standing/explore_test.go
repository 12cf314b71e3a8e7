package standing_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
	"github.com/singledecree/paxos/internal/standing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The explorer takes one name through every order of classic and standing ballots. Acceptor, Proposer and the promises of both
// kinds of Floor are those that ship, and so are Entry, Answer and Ballot. By hand:
//
//	go test ./internal/standing -run TestSpaces -v                   seconds, part of go test ./...
//	go test ./internal/standing -run TestSpaces -v -explore=ci       minutes, 2 GiB
//	go test ./internal/standing -run TestSpaces -v -explore=long     half an hour, 8 GiB
//
// With -short, or with -race, only the smallest spaces are explored. How large a space is: see [explore.Fits].
const (
	tiny  = explore.Tiny
	small = explore.Small
	ci    = explore.CI
	long  = explore.Long
)

// counts are how large a space is, as TLC counts. Generated and depth may be left out.
type counts struct {
	distinct, generated uint64
	depth               int
}

// A state is an example of these.
const (
	seenStanding    = 1 << iota // a value is chosen in a standing ballot
	seenClassic                 // in another
	seenBoth                    // in both
	seenLower                   // in a standing ballot, with the vote of an acceptor that had voted lower
	seenLater                   // a later life of the server used a standing ballot
	seenReadNothing             // a read says: nothing
)

var (
	errTwoValues = errors.New("two values are chosen")
	errOneBallot = errors.New("one ballot has two values")
	errStaleRead = errors.New("a read says: nothing was chosen, after a choice")
)

// Bounds of the models, and the name that is decided in them.
const (
	mostAcceptors = 4
	mostBallots   = 5
	mostOwners    = 2
	gone          = 7 // the place of the promise of a forgotten name
)

var values = [2]paxos.Value{"v", "w"}

// A cast is the ballots and the acceptors of a space. Ballots have places, from 1; 0 is none.
type cast struct {
	acceptors int
	quorum    paxos.Quorum
	kinds     string // by ballot: C classic, S standing, O round 0 of the owner
	owners    [mostBallots]int
	ballots   []paxos.Ballot
	quorums   []paxos.Quorum // by ballot
	after     paxos.Quorum   // of the next configuration, by itself
	name      string
	asks      map[[2]uint64]uint8 // see allowed
	// blind: an attempt that hears of two values in one ballot takes the first. The Proposer that ships notices, and stops.
	blind bool
}

// newCast reads ballots such as "C S0 C": classic ones of anybody, and a standing one of acceptor 0. The ballots after "|13" are of the
// next configuration. It has the same acceptors, and other quorums: one in phase 1, and three in phase 2. No acceptor has imported.
func newCast(t require.TestingT, acceptors, phase1, phase2 int, ballots string) *cast {
	q, err := paxos.Flexible(acceptors, phase1, phase2)
	require.NoError(t, err)
	c := &cast{acceptors: acceptors, quorum: q, name: "lunch", asks: map[[2]uint64]uint8{}}
	next, inNext := q, uint64(0)
	for _, word := range strings.Fields(ballots) {
		if word[0] == '|' {
			after, err := paxos.Flexible(acceptors, int(word[1]-'0'), int(word[2]-'0'))
			require.NoError(t, err)
			c.after = after
			next, err = paxos.Joint(q, paxos.All(acceptors), after, paxos.All(acceptors), 0)
			require.NoError(t, err)
			inNext = 1
			continue
		}
		k := len(c.kinds)
		c.kinds += word[:1]
		c.owners[k] = -1
		c.quorums = append(c.quorums, next)
		b := paxos.Ballot{Round: paxos.Base(inNext).Round + uint64(k) + 1, Server: 9}
		if word[0] != 'C' {
			c.owners[k] = int(word[1] - '0')
			b.Server = paxos.ServerID(c.owners[k]) + 1
		}
		if word[0] == 'O' {
			b.Round = 0
			c.name = paxos.Owned(b.Server, "lunch")
		}
		c.ballots = append(c.ballots, b)
	}
	return c
}

// ballot is that of a place.
func (c *cast) ballot(place uint8) paxos.Ballot {
	switch place {
	case 0:
		return paxos.Ballot{}
	case gone:
		return paxos.Acceptor{}.Forget().Promised
	}
	return c.ballots[place-1]
}

func (c *cast) place(b paxos.Ballot) uint8 {
	if b.IsForgotten() {
		return gone
	}
	return uint8(slices.Index(c.ballots, b) + 1)
}

// floor is that of an acceptor which has promised the standing ballot of that place, and lives in that configuration.
func (c *cast) floor(place, sealed uint8) (f paxos.Floor) {
	f.Seal(uint64(sealed))
	f.Stand(c.ballot(place))
	return f
}

// allowed returns the values for which the attempt of ballot b may ask, as bits. promises is by acceptor: 0 none, else 1, the
// place of the vote that it reports times two, and the value. The attempt hears those of the acceptors in heard, in every order.
func (c *cast) allowed(b int, promises [mostAcceptors]uint8, heard paxos.Set, q paxos.Quorum) (set uint8) {
	key := [2]uint64{uint64(b) | uint64(heard)<<8}
	if q != c.quorum {
		key[0] |= 1 << 40
	}
	for i, p := range promises {
		key[1] |= uint64(p) << (8 * i)
	}
	set, ok := c.asks[key]
	if ok {
		return set
	}
	for _, own := range values {
		c.hear(paxos.NewProposer(c.ballots[b], own, q), promises, heard, &set)
	}
	c.asks[key] = set
	return set
}

func (c *cast) hear(p paxos.Proposer, promises [mostAcceptors]uint8, left paxos.Set, set *uint8) {
	for i := range c.acceptors {
		if !left.Has(i) || promises[i] == 0 {
			continue
		}
		said := promises[i] - 1
		m := paxos.Message{Kind: paxos.KindPromise, Instance: c.name, Ballot: p.Ballot(), Accepted: c.ballot(said >> 1)}
		if said>>1 != 0 {
			m.Value = values[said&1]
		}
		next, accept, err := p.Step(i, m)
		if err != nil && c.blind {
			m.Value = p.Value()
			next, accept, err = p.Step(i, m)
		}
		switch {
		case err != nil: // a model that leaves out a rule looks for two values, not for the first proof of it
		case accept.Kind != 0 && accept.Value == values[0]:
			*set |= 1
		case accept.Kind != 0:
			*set |= 2
		default:
			c.hear(next, promises, left&^paxos.Set(0).With(i), set)
		}
	}
}

// A said is what a standing ballot was told, for mayUse: by acceptor, the Indexes of the answers that do not list the name, as bits;
// the cursor of the pulls; and the newest forgetting Index. Bit 7 of an answer: it lists the name.
type said struct {
	answers, cursor, forgot [mostAcceptors]uint8
	others                  [mostAcceptors]uint8 // answers for other ballots, which count for nothing
	all                     [mostAcceptors]bool  // the cursor is beyond any Index
}

const listsIt = 1 << 7

// standingBallot returns ballot b after all that it was told. Of several answers of one acceptor, the best may be the first.
func (c *cast) standingBallot(b int, s *said, q paxos.Quorum) *standing.Ballot {
	x := standing.NewBallot(c.ballots[b], c.owners[b], q)
	const store = 5
	hear := func(i int, of paxos.Ballot, answers uint8) {
		for index := range 7 { // the lowest is the easiest to use
			if answers>>index&1 == 1 {
				x.Hear(i, of, store, standing.Answer{Index: uint64(index), Names: []string{"dinner"}})
			}
		}
		if answers&listsIt != 0 {
			x.Hear(i, of, store, standing.Answer{Names: []string{"dinner", c.name}})
		}
	}
	for i := range c.acceptors {
		cursor := uint64(s.cursor[i])
		if s.all[i] {
			cursor = 99
		}
		x.Pulled(i, standing.Page{Store: store, To: cursor, Forgot: uint64(s.forgot[i])})
		hear(i, paxos.Ballot{Round: c.ballots[b].Round - 1, Server: 7}, s.others[i])
		hear(i, c.ballots[b], s.answers[i])
	}
	return x
}

// run explores a space, and logs its size.
func run(t *testing.T, initial []uint64, model func() explore.Model, most uint64) explore.Result {
	t.Helper()
	began := time.Now()
	r, err := explore.Run(explore.Space{Initial: initial, Model: model, Most: max(most, 1<<20)})
	require.NoError(t, err)
	t.Logf("%d distinct, %d generated, depth %d in %v", r.Distinct, r.Generated, r.Depth, time.Since(began).Round(time.Millisecond))
	return r
}

// holds demands a whole space in which nothing is wrong, and its counts. seen has the situations that must occur.
func holds(t *testing.T, r explore.Result, text func(action uint64) string, want counts, seen uint64) {
	t.Helper()
	if r.Violation != nil {
		t.Fatalf("after %d steps:\n%s", len(r.Violation.Steps)-1, way(r.Violation, text))
	}
	assert.Equal(t, seen, r.Seen&seen, "nothing is shown by a space in which this never happens")
	got := counts{r.Distinct, r.Generated, r.Depth}
	if want.generated == 0 {
		got.generated, got.depth = 0, 0
	}
	assert.Equal(t, want, got)
}

// way tells the steps of a violation.
func way(v *explore.Violation, text func(action uint64) string) string {
	var b strings.Builder
	for i, step := range v.Steps[1:] {
		fmt.Fprintf(&b, "%2d %s\n", i+1, text(step.Action))
	}
	return b.String() + v.Err.Error()
}

// A bitField packs and unpacks numbers of a few bits, in the same walk.
type bitField struct {
	words []uint64
	at    uint // bits so far, in the words that are filled in order
	out   bool // unpack
}

// word begins with the next word.
func (f *bitField) word() { f.at = (f.at + 63) &^ 63 }

func (f *bitField) bits(v *uint8, width uint) {
	i, shift := f.at>>6, f.at&63
	f.at += width
	if f.out {
		*v = uint8(f.words[i] >> shift & (1<<width - 1))
		return
	}
	if uint64(*v) >= 1<<width || shift+width > 64 {
		panic("a state does not fit in its words")
	}
	f.words[i] |= uint64(*v) << shift
}
