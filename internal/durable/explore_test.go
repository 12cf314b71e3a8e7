package durable

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
)

var exOnlyI1 = flag.Bool("explore.agreement", false, "check I1 alone: how does a sabotage end, not how is it noticed first?")

// The explorer takes the roles that ship, Acceptor, Proposer, Learner and save, through every order in which messages,
// saves and crashes can come, and checks the invariants of agreement in every state. By hand:
//
//	go test ./internal/durable -run TestExplore -v                  seconds, part of go test ./...
//	go test ./internal/durable -run TestExplore -v -explore=ci      a minute, 1 GiB
//	go test ./internal/durable -run TestExplore -v -explore=long    minutes, 4 GiB
//
// With -short, or with -race, which makes it tenfold slower, only the smallest spaces are explored. How large a space is: see
// [explore.Fits].
const (
	exTiny  = explore.Tiny
	exSmall = explore.Small
	exCI    = explore.CI
	exLong  = explore.Long
)

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
			explore.Fits(t, space.size)
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
			explore.Fits(t, space.size)
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
		Saved: "", Flushing: ", held until the Save that runs ends", Dirty: ", held until the next Save ends",
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

// TestExploreQuorums finds, for all sizes of quorums of 3, 4 and 5 acceptors, that they are safe if and only if every
// phase-1 quorum meets every phase-2 quorum, that is if q1 + q2 > n; and that CheckQuorum says the same. Two ballots
// show it: in the first, q2 acceptors vote; in the second, q1 others know nothing of that.
func TestExploreQuorums(t *testing.T) {
	for n := 3; n <= 5; n++ {
		for q1 := 1; q1 <= n; q1++ {
			for q2 := 1; q2 <= n; q2++ {
				t.Run(counted{n, q1, q2}.String(), func(t *testing.T) {
					explore.Fits(t, [...]int{3: exTiny, 4: exTiny, 5: exSmall}[n])
					exQuorum(t, counted{n, q1, q2})
				})
			}
		}
	}
}

// A counted quorum is one of so many of n acceptors in each phase, and may be unsafe, which Flexible refuses.
type counted struct{ n, phase1, phase2 int }

func (q counted) Size() int               { return q.n }
func (q counted) Phase1(s paxos.Set) bool { return s.Len() >= q.phase1 }
func (q counted) Phase2(s paxos.Set) bool { return s.Len() >= q.phase2 }
func (q counted) String() string          { return fmt.Sprintf("flexible(%d,%d,%d)", q.n, q.phase1, q.phase2) }

func exQuorum(t *testing.T, q counted) {
	c := exConfig{quorum: q, wanted: 2, owners: []int{0, 0}, symmetry: true}
	flexible, err := paxos.Flexible(q.n, q.phase1, q.phase2)
	if q.phase1+q.phase2 > q.n {
		require.NoError(t, err)
		require.NoError(t, paxos.CheckQuorum(q))
		c.quorum = flexible
		exHolds(t, c, exCount{}, exSeenChosen|exSeenOther)
		return
	}
	require.Error(t, err)
	require.Error(t, paxos.CheckQuorum(q))
	x, r := exRun(t, c, exCount{})
	require.NotNil(t, r.Violation, "nothing is wrong, though %s is no safe quorum", q)
	assert.ErrorContains(t, r.Violation.Err, "I1: two values are chosen", x.text(r.Violation))
	// Two ballots, each prepared, promised, asked for and voted in.
	assert.Len(t, r.Violation.Steps[1:], 2*(1+q.phase1+1+q.phase2))
}

// TestExploreOtherQuorums explores quorums that are no plain numbers, for which acceptors are not equal, and those of
// an even number of acceptors.
func TestExploreOtherQuorums(t *testing.T) {
	weighted, err := paxos.Weighted([]int{2, 1, 1})
	require.NoError(t, err)
	nothing, err := paxos.Weighted([]int{1, 1, 1, 0})
	require.NoError(t, err)
	grid, err := paxos.Grid(2, 2)
	require.NoError(t, err)
	flexible, err := paxos.Flexible(4, 3, 2)
	require.NoError(t, err)
	for _, space := range []struct {
		quorum  paxos.Quorum
		ballots int
		size    int
		want    exCount
	}{
		{weighted, 2, exTiny, exCount{671, 1_617, 17}},
		{weighted, 3, exSmall, exCount{23_691, 62_642, 25}},
		{nothing, 2, exTiny, exCount{5_521, 17_621, 21}},
		{nothing, 3, exCI, exCount{777_697, 2_632_636, 31}},
		{grid, 2, exTiny, exCount{20_113, 62_472, 21}},
		{grid, 3, exLong, exCount{2_898_321, 9_492_159, 31}},
		{flexible, 2, exTiny, exCount{834, 2_443, 21}},
		{flexible, 3, exSmall, exCount{57_436, 175_822, 31}},
		{paxos.Majority(4), 2, exTiny, exCount{834, 2_443, 21}},
		{paxos.Majority(4), 3, exSmall, exCount{57_436, 175_822, 31}},
	} {
		t.Run(fmt.Sprintf("%s, %d ballots", space.quorum, space.ballots), func(t *testing.T) {
			explore.Fits(t, space.size)
			c := exConfig{quorum: space.quorum, wanted: 2, owners: make([]int, space.ballots), symmetry: true}
			exHolds(t, c, space.want, exSeenChosen|exSeenOther)
		})
	}
}

// TestExploreOwned explores instances that the server of ballot 0 owns: it uses round 0 as soon as nothing forbids it, others
// come with higher ballots at any time, before and after, it crashes anywhere, and starts again with another value.
func TestExploreOwned(t *testing.T) {
	const (
		plain   = exSeenChosen | exSeenOther | exSeenOwned | exSeenOverruled
		crashes = plain | exSeenCrash | exSeenUnsent
	)
	flexible, err := paxos.Flexible(4, 3, 2)
	require.NoError(t, err)
	reads, err := paxos.Flexible(3, 1, 3)
	require.NoError(t, err)
	writes, err := paxos.Flexible(3, 3, 1)
	require.NoError(t, err)
	weighted, err := paxos.Weighted([]int{2, 1, 1})
	require.NoError(t, err)
	for _, space := range []struct {
		name   string
		config exConfig
		size   int
		seen   uint64
		want   exCount
	}{
		{"saved at once, 1 ballot more", exConfig{owners: []int{0, 1}, exOwnership: exOwnership{zero: exOwned}}, exTiny, plain, exCount{134, 289, 12}},
		{"saved at once, 2 ballots more", exConfig{owners: []int{0, 1, 0}, exOwnership: exOwnership{zero: exOwned}}, exTiny, plain, exCount{5_248, 12_889, 20}},
		{"saved at once, 3 ballots more", exConfig{owners: []int{0, 1, 0, 2}, exOwnership: exOwnership{zero: exOwned}}, exSmall, plain, exCount{215_378, 566_812, 28}},
		{"a stranger uses round 0", exConfig{owners: []int{0, 1, 2}, exOwnership: exOwnership{zero: exOwned, strangers: 1}}, exTiny, plain, exCount{395, 1_109, 13}},
		{"two strangers use round 0", exConfig{owners: []int{0, 1, 2, 1, 0}, exOwnership: exOwnership{zero: exMinted, strangers: 2}}, exSmall, plain, exCount{47_020, 177_765, 22}},
		{"flexible(4,3,2)", exConfig{quorum: flexible, owners: []int{0, 1, 2}, exOwnership: exOwnership{zero: exOwned}}, exSmall, plain, exCount{18_465, 53_617, 25}},
		{"flexible(3,1,3)", exConfig{quorum: reads, owners: []int{0, 1, 0}, exOwnership: exOwnership{zero: exOwned}}, exTiny, exSeenChosen | exSeenOwned, exCount{19_686, 55_978, 20}},
		{"flexible(3,3,1)", exConfig{quorum: writes, owners: []int{0, 1, 0}, exOwnership: exOwnership{zero: exOwned}}, exTiny, plain &^ exSeenOverruled, exCount{850, 1_884, 20}},
		{"weighted(2,1,1)", exConfig{quorum: weighted, owners: []int{0, 1, 0}, exOwnership: exOwnership{zero: exOwned}}, exTiny, plain &^ exSeenOverruled, exCount{2_930, 7_106, 20}},
		{"weighted(2,1,1), owned by the second", exConfig{quorum: weighted, owners: []int{1, 0, 1}, exOwnership: exOwnership{zero: exOwned}}, exTiny, plain, exCount{6_461, 15_604, 20}},

		{"owned, the owner with saves, 2 crashes", exConfig{owners: []int{0, 1}, async: 1, crashes: 2, exOwnership: exOwnership{zero: exOwned}},
			exTiny, crashes | exSeenAgain, exCount{2_409, 7_550, 18}},
		{"minted, the owner with saves, 2 crashes", exConfig{owners: []int{0, 1}, async: 1, crashes: 2, exOwnership: exOwnership{zero: exMinted}},
			exTiny, crashes, exCount{3_428, 11_030, 18}},
		{"owned, 2 ballots more, the owner with saves, 2 crashes", exConfig{owners: []int{0, 1, 0}, async: 1, crashes: 2, exOwnership: exOwnership{zero: exOwned}},
			exSmall, crashes | exSeenAgain, exCount{249_992, 849_187, 28}},
		{"minted, 2 ballots more, the owner with saves, 2 crashes", exConfig{owners: []int{0, 1, 0}, async: 1, crashes: 2, exOwnership: exOwnership{zero: exMinted}},
			exSmall, crashes, exCount{369_644, 1_235_576, 28}},
		{"owned, 3 servers with saves, 1 crash", exConfig{owners: []int{0, 1}, async: 3, crashes: 1, exOwnership: exOwnership{zero: exOwned}},
			exSmall, crashes, exCount{26_696, 96_191, 27}},
		{"minted, 3 servers with saves, 2 crashes", exConfig{owners: []int{0, 1}, async: 3, crashes: 2, exOwnership: exOwnership{zero: exMinted}},
			exSmall, crashes, exCount{132_831, 577_349, 27}},
		{"owned, a stranger, the owner with saves, 2 crashes", exConfig{owners: []int{0, 1, 2}, async: 1, crashes: 2, exOwnership: exOwnership{zero: exOwned, strangers: 1}},
			exSmall, crashes | exSeenAgain, exCount{7_182, 27_295, 19}},
		{"owned, flexible(4,3,2), the owner with saves, 2 crashes", exConfig{quorum: flexible, owners: []int{0, 1}, async: 1, crashes: 2, exOwnership: exOwnership{zero: exOwned}},
			exSmall, crashes | exSeenAgain, exCount{4_281, 15_601, 21}},
		{"minted, flexible(3,3,1), the owner with saves, 2 crashes", exConfig{quorum: writes, owners: []int{0, 1}, async: 1, crashes: 2, exOwnership: exOwnership{zero: exMinted}},
			exTiny, exSeenChosen | exSeenOwned | exSeenCrash, exCount{953, 2_899, 18}},
		{"owned, 2 ballots more, 2 servers with saves, 2 crashes", exConfig{owners: []int{0, 1, 2}, async: 2, crashes: 2, exOwnership: exOwnership{zero: exOwned}},
			exCI, crashes, exCount{2_007_753, 8_078_923, 36}},
		{"minted, 2 ballots more, 2 servers with saves, 2 crashes", exConfig{owners: []int{0, 1, 2}, async: 2, crashes: 2, exOwnership: exOwnership{zero: exMinted}},
			exCI, crashes, exCount{3_598_351, 13_921_889, 34}},
	} {
		t.Run(space.name, func(t *testing.T) {
			explore.Fits(t, space.size)
			if space.config.quorum == nil {
				space.config.quorum = paxos.Majority(3)
			}
			space.config.wanted, space.config.symmetry = 2, true
			exHolds(t, space.config, space.want, space.seen)
		})
	}
}

// TestExploreOwnedRulesLeftOut leaves out one rule of round 0 at a time, and finds how that ends: with two decisions, or at least
// with an instance that stops. The steps are those of the shortest way.
func TestExploreOwnedRulesLeftOut(t *testing.T) {
	for _, left := range []struct {
		name  string
		owner exOwnership
		how   exConfig
		steps int    // until two values are chosen; 0: they never are
		first string // the rule that is broken before that, if every invariant is checked
	}{
		{"acceptors take round 0 from anyone", exOwnership{zero: exOwned, strangers: 1, anyone: true}, exConfig{owners: []int{0, 1}}, 5, "I1: "},
		{"acceptors take round 0 from anyone, minted", exOwnership{zero: exMinted, strangers: 1, anyone: true}, exConfig{owners: []int{0, 1}}, 5, "I1: "},
		{"the owner does not look at its own record", exOwnership{zero: exMinted, unchecked: true}, exConfig{owners: []int{0, 1}}, 3, "I6: "},
		{"the same where the Accept waits: its acceptor stops it", exOwnership{zero: exOwned, unchecked: true},
			exConfig{owners: []int{0, 1, 0}, async: 1, crashes: 1}, 0, "an acceptor was asked to accept two values in one ballot"},
		{"the owner does not vote at once", exOwnership{zero: exMinted, unvoted: true}, exConfig{owners: []int{0, 1}}, 4, "I6: "},
		{"the Accept leaves before the own vote is saved", exOwnership{zero: exOwned, unsaved: true},
			exConfig{owners: []int{0, 1}, async: 1, crashes: 1}, 5, "I6: "},
		{"a minted name is used after a restart", exOwnership{zero: exMinted, again: true}, exConfig{owners: []int{0, 1}, async: 1, crashes: 1}, 5, "I6: "},
		{"the owner is no acceptor", exOwnership{zero: exOwned, outside: true}, exConfig{owners: []int{3, 1}, crashes: 1}, 5, "I6: "},
	} {
		t.Run(left.name, func(t *testing.T) {
			c := left.how
			c.quorum, c.wanted, c.symmetry, c.exOwnership = paxos.Majority(3), 2, true, left.owner
			x, r := exRun(t, c, exCount{})
			require.NotNil(t, r.Violation)
			assert.ErrorContains(t, r.Violation.Err, left.first, x.text(r.Violation))
			c.agreement = true
			x, r = exRun(t, c, exCount{})
			if left.steps == 0 {
				require.Nil(t, r.Violation)
				return
			}
			require.NotNil(t, r.Violation)
			assert.ErrorContains(t, r.Violation.Err, "I1: two values are chosen", x.text(r.Violation))
			assert.Len(t, r.Violation.Steps[1:], left.steps, x.text(r.Violation))
		})
	}
}
