package replica

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
)

// The explorer takes the roles that ship, Acceptor, Proposer, Learner and save, through every order in which messages,
// saves and crashes can come, and checks the invariants of agreement in every state. By hand:
//
//	go test -run TestExplore -v .                  seconds, part of go test ./...
//	go test ./replica -run TestExplore -v -explore=ci      a minute, 1 GiB
//	go test ./replica -run TestExplore -v -explore=long    minutes, 4 GiB
//
// With -short, or with -race, which makes it tenfold slower, only the smallest spaces are explored.
var exProfile = flag.String("explore", "small", "which state spaces to explore: small, ci or long")

var exOnlyI1 = flag.Bool("explore.agreement", false, "check I1 alone: how does a sabotage end, not how is it noticed first?")

// How large a space is: the profile that it belongs to.
const (
	exTiny = iota
	exSmall
	exCI
	exLong
)

// exFits skips the test if it is too large for the profile.
func exFits(t *testing.T, size int) {
	t.Helper()
	profile := slices.Index([]string{exSmall: "small", exCI: "ci", exLong: "long"}, *exProfile)
	require.Positive(t, profile, "-explore=%s: want small, ci or long", *exProfile)
	if testing.Short() || explore.Race {
		profile = exTiny
	}
	if size > profile {
		t.Skip("too large for this profile: see -explore")
	}
}

// An exCount is how large a space is, as TLC counts. Zero: not known.
type exCount struct {
	distinct, generated uint64
	depth               int
}

// exRun explores a space, of which at most a few times the expected states are kept: broken roles can have many more.
func exRun(t *testing.T, c exConfig, expected exCount) (*exSpace, explore.Result) {
	t.Helper()
	start := time.Now()
	x, err := newExSpace(c)
	require.NoError(t, err)
	r, err := explore.Run(explore.Space{Initial: x.initial(), Model: x.model, Most: max(4*expected.distinct, 4<<20)})
	require.NoError(t, err)
	t.Logf("%d distinct, %d generated, depth %d in %v", r.Distinct, r.Generated, r.Depth, time.Since(start).Round(time.Millisecond))
	return x, r
}

// exHolds explores a space in which nothing must be wrong, and compares its size. seen is what must have happened in it.
func exHolds(t *testing.T, c exConfig, want exCount, seen uint64) {
	t.Helper()
	c.agreement = *exOnlyI1
	x, r := exRun(t, c, want)
	if r.Violation != nil {
		t.Fatalf("after %d steps:\n%s", len(r.Violation.Steps)-1, x.text(r.Violation))
	}
	if both := exSeenChosen | exSeenOther; c.symmetry && r.Seen&both != 0 {
		r.Seen |= both // one value stands for the other
	}
	assert.Equal(t, seen, r.Seen&seen, "nothing is shown by a space in which this never happens")
	if want != (exCount{}) {
		assert.Equal(t, want, exCount{r.Distinct, r.Generated, r.Depth})
	}
}

// TestExplorePaper explores the space of Lamport's Paxos.tla with the roles that ship in the place of its actions. It must
// be that space, to the last state: if the roles could do more, or less, than the specification, the counts would differ.
func TestExplorePaper(t *testing.T) {
	for _, space := range []struct {
		acceptors, values, ballots int
		symmetry                   bool
		size                       int
		want                       exCount
	}{
		{1, 1, 2, true, exTiny, exCount{25, 82, 9}}, // the model in TLC's manifest
		{3, 2, 2, false, exTiny, exCount{3_921, 23_563, 17}},
		{2, 2, 3, false, exTiny, exCount{1_501, 8_222, 19}},
		{4, 2, 2, true, exTiny, exCount{834, 5_880, 21}},
		{5, 2, 2, true, exTiny, exCount{5_811, 51_605, 25}},
		{3, 2, 3, false, exSmall, exCount{185_369, 1_361_380, 25}},
		{5, 2, 2, false, exCI, exCount{701_505, 6_147_491, 25}},
		{3, 2, 4, true, exSmall, exCount{710_709, 6_134_208, 33}},
		{3, 2, 4, false, exLong, exCount{8_220_065, 70_696_917, 33}},
	} {
		name := fmt.Sprintf("%d acceptors, %d values, ballots 0..%d", space.acceptors, space.values, space.ballots-1)
		if space.symmetry {
			name += ", symmetry"
		}
		t.Run(name, func(t *testing.T) {
			exFits(t, space.size)
			exHolds(t, exConfig{
				quorum: paxos.Majority(space.acceptors), wanted: space.values, owners: make([]int, space.ballots),
				paper: true, symmetry: space.symmetry,
			}, space.want, exSeenChosen|exSeenOther>>(2-space.values))
		})
	}
}

// TestExploreDuplicates delivers every Prepare again and again, also below the promise. That leads nowhere that Paxos.tla
// does not lead to: promising a ballot twice is harmless.
func TestExploreDuplicates(t *testing.T) {
	for _, space := range []struct {
		acceptors, ballots int
		size               int
		distinct           uint64
	}{
		{3, 2, exTiny, 3_921},
		{2, 3, exTiny, 1_501},
		{3, 3, exSmall, 185_369},
		{5, 2, exCI, 701_505},
	} {
		t.Run(fmt.Sprintf("%d acceptors, %d ballots", space.acceptors, space.ballots), func(t *testing.T) {
			exFits(t, space.size)
			c := exConfig{quorum: paxos.Majority(space.acceptors), wanted: 2, owners: make([]int, space.ballots)}
			x, r := exRun(t, c, exCount{})
			if r.Violation != nil {
				t.Fatalf("after %d steps:\n%s", len(r.Violation.Steps)-1, x.text(r.Violation))
			}
			assert.Equal(t, space.distinct, r.Distinct)
		})
	}
}

// text tells a violation, one line for each step. A server comes first, by its number from 1; then what it does:
//
//	1: prepare 2.1                     its proposer begins a ballot
//	2: promise 2.1 (1.1 "a")           it receives the Prepare, and says this
//	1: accept 2.1 "a"                  its proposer asks for votes
//	2: accepted 2.1 "a"                it receives the Accept, and votes
//	2: …, held until the Save that runs ends | until the next Save ends
//	2: Save begins (promised 2.1, accepted -)
//	2: Save ends, and sends promise 2.1 (-)
//	2: crashes (promised -, accepted -)
func (x *exSpace) text(v *explore.Violation) string {
	var b strings.Builder
	for i, step := range v.Steps[1:] {
		fmt.Fprintln(&b, x.stepText(exAction(step.Action), v.Steps[i].State, step.State))
	}
	fmt.Fprintf(&b, "=> %v\n", v.Err)
	return b.String()
}

func (x *exSpace) stepText(a exAction, from, to []uint64) string {
	server, message, reply := int(a>>8&0xff), int(a>>16&0xff), int(a>>24&0xff)-1
	switch a & 0xff {
	case exPrepare:
		return fmt.Sprintf("%d: prepare %s", x.owners[message]+1, x.ballots[message])
	case exAsk:
		return fmt.Sprintf("%d: %s%s", x.owners[message/len(x.values)]+1, x.messageText(len(x.ballots)+message), x.ownedText(message))
	}
	if server >= x.n {
		return fmt.Sprintf("%d: starts again", server+1) // it does not vote, and has nothing to remember
	}
	before, after := x.unpack(server, from[server]), x.unpack(server, to[server])
	durable := exAcceptorText(x.acceptors[after.durable])
	switch a & 0xff {
	case exBegin:
		return fmt.Sprintf("%d: Save begins (%s)", server+1, exAcceptorText(x.acceptors[after.snapshot-1]))
	case exEnd:
		said := x.repliesText(after.sent &^ before.sent)
		if said != "" {
			said = ", and sends " + said
		}
		return fmt.Sprintf("%d: Save ends%s", server+1, said)
	case exCrash:
		return fmt.Sprintf("%d: crashes and starts again (%s)", server+1, durable)
	}
	if reply < 0 {
		return fmt.Sprintf("%d: receives %s, and is silent", server+1, x.messageText(message))
	}
	held := [...]string{
		saved: "", flushing: ", held until the Save that runs ends", dirty: ", held until the next Save ends",
	}
	return fmt.Sprintf("%d: %s%s", server+1, x.replyText(x.replies[reply]), held[a>>32])
}

// messageText tells what an acceptor is sent.
func (x *exSpace) messageText(k int) string {
	m := x.messages[k][0]
	if m.Kind == paxos.KindPrepare {
		return "prepare " + m.Ballot.String()
	}
	return fmt.Sprintf("accept %s %q", m.Ballot, m.Value)
}

func (x *exSpace) repliesText(replies uint64) string {
	var all []string
	for i, r := range x.replies {
		if replies>>i&1 == 1 {
			all = append(all, x.replyText(r))
		}
	}
	return strings.Join(all, ", ")
}
