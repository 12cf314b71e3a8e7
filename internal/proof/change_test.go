package proof_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/explore"
)

// The explorer takes one instance through every order in which the members can change, and in which it can be forgotten. By hand:
//
//	go test ./internal/proof -run TestChange -v                   seconds, part of go test ./...
//	go test ./internal/proof -run TestChange -v -explore=ci       minutes, 1 GiB
//	go test ./internal/proof -run TestChange -v -explore=long     an hour, 8 GiB
//
// With -short, or with -race, only the smallest spaces are explored. How large a space is: see [explore.Fits].
const (
	changeTiny  = explore.Tiny
	changeSmall = explore.Small
	changeCI    = explore.CI
	changeLong  = explore.Long
)

func exploreChange(t *testing.T, c changeConfig, most uint64) (*changeModel, explore.Result) {
	t.Helper()
	began := time.Now()
	m := newChangeModel(c)
	r, err := explore.Run(explore.Space{Initial: m.initial(), Model: func() explore.Model { return newChangeModel(c) }, Most: most})
	require.NoError(t, err)
	t.Logf("%d distinct, %d generated, depth %d in %v", r.Distinct, r.Generated, r.Depth, time.Since(began).Round(time.Millisecond))
	return m, r
}

// way tells the steps of a violation.
func (m *changeModel) way(v *explore.Violation) string {
	var b strings.Builder
	for i, step := range v.Steps[1:] {
		fmt.Fprintf(&b, "%2d %s\n", i+1, m.text(step.Action))
	}
	return b.String() + v.Err.Error()
}

// majority, or phase 1 of one and phase 2 of another number of acceptors.
func membersOf(t *testing.T, acceptors uint64, phase1, phase2 int) changeMembers {
	n := within(acceptors, acceptors).Len()
	q, err := paxos.Flexible(n, phase1, phase2)
	require.NoError(t, err)
	return changeMembers{acceptors, q}
}

// The changes: acceptors are bits, from the right.
func changes(t *testing.T) map[string][]changeMembers {
	of := func(acceptors uint64, phase1, phase2 int) changeMembers {
		return membersOf(t, acceptors, phase1, phase2)
	}
	return map[string][]changeMembers{
		"three, never changed":               {of(0b111, 2, 2)},
		"one by one":                         {of(0b01, 1, 1), of(0b10, 1, 1)},
		"one by one by one":                  {of(0b001, 1, 1), of(0b010, 1, 1), of(0b100, 1, 1)},
		"three, one replaced":                {of(0b0111, 2, 2), of(0b1110, 2, 2)},
		"three, all replaced":                {of(0b000111, 2, 2), of(0b111000, 2, 2)},
		"three to four":                      {of(0b0111, 2, 2), of(0b1111, 3, 3)},
		"four to three":                      {of(0b1111, 3, 3), of(0b0111, 2, 2)},
		"three to one of them":               {of(0b111, 2, 2), of(0b001, 1, 1)},
		"three to one to one":                {of(0b00111, 2, 2), of(0b01000, 1, 1), of(0b10000, 1, 1)},
		"two, read one, to two, write one":   {of(0b0011, 1, 2), of(0b1100, 2, 1)},
		"two, one replaced twice, write one": {of(0b0011, 2, 1), of(0b0110, 2, 1), of(0b1100, 2, 1)},
		"two, one replaced twice, read one":  {of(0b0011, 1, 2), of(0b0110, 1, 2), of(0b1100, 1, 2)},
		"three, the same":                    {of(0b111, 2, 2), of(0b111, 2, 2)},
		"three, read two, to read one":       {of(0b111, 2, 2), of(0b111, 1, 3)},
		"one to two, the same, to one":       {of(0b0001, 1, 1), of(0b0110, 2, 1), of(0b0110, 2, 1), of(0b1000, 1, 1)},
		"one to three, the same, to one":     {of(0b00001, 1, 1), of(0b01110, 2, 2), of(0b01110, 2, 2), of(0b10000, 1, 1)},
	}
}

// TestChangeSpaces explores complete spaces. The counts are those of the model by which the protocol was worked out: the roles that
// ship do the same, no more and no less.
func TestChangeSpaces(t *testing.T) {
	all := changes(t)
	for _, space := range []changeSpace{
		{change: "one by one", ballots: []int{2, 2}, size: changeTiny, want: counts{4_026, 13_291, 18}, seen: seenFirst | seenLast | seenBoth},
		{change: "one by one", ballots: []int{2, 2}, forget: true, size: changeTiny, want: counts{14_760, 57_063, 19}, seen: seenBoth | seenForgotten},
		{change: "one by one by one", ballots: []int{1, 1, 1}, size: changeTiny, want: counts{2_704, 9_634, 21}, seen: seenBoth},
		{change: "one by one by one", ballots: []int{1, 1, 1}, forget: true, size: changeTiny, want: counts{18_376, 87_219, 22}, seen: seenBoth | seenForgotten},
		{change: "three, never changed", ballots: []int{3}, forget: true, size: changeTiny, want: counts{13_336, 61_996, 22}, seen: seenFirst | seenForgotten},
		{change: "three to one of them", ballots: []int{2, 1}, size: changeTiny, want: counts{53_058, 282_948, 25}, seen: seenBoth},
		{change: "two, read one, to two, write one", ballots: []int{1, 1}, forget: true, size: changeTiny, want: counts{52_918, 400_985, 21}, seen: seenBoth | seenForgotten},
		{change: "two, read one, to two, write one", ballots: []int{1, 1}, reader: 1, size: changeTiny, want: counts{26_601, 167_540, 22}, seen: seenBoth | seenRead},
		{change: "two, read one, to two, write one", ballots: []int{1, 1}, reader: 2, size: changeTiny, want: counts{70_164, 512_066, 22}, seen: seenBoth | seenRead},
		{change: "three to one to one", ballots: []int{1, 1, 1}, size: changeCI, want: counts{101_642, 536_817, 31}, seen: seenBoth},
		{change: "three, one replaced", ballots: []int{1, 1}, size: changeCI, want: counts{763_078, 8_855_915, 27}, seen: seenBoth},
		{change: "three, all replaced", ballots: []int{1, 1}, size: changeLong, want: counts{191_451, 2_193_591, 29}, seen: seenBoth},
		{change: "two, one replaced twice, write one", ballots: []int{1, 1, 1}, size: changeCI, want: counts{707_478, 4_336_308, 36}, seen: seenBoth},
		{change: "two, one replaced twice, read one", ballots: []int{1, 1, 1}, size: changeCI, want: counts{1_389_329, 11_082_116, 30}, seen: seenBoth},
		{change: "two, read one, to two, write one", ballots: []int{2, 2}, size: changeCI, want: counts{1_568_640, 11_548_693, 29}, seen: seenBoth},
		{change: "two, read one, to two, write one", ballots: []int{1, 1}, forget: true, reader: 1, size: changeCI, want: counts{296_135, 2_306_297, 24}, seen: seenBoth | seenRead | seenForgotten},
		{change: "two, read one, to two, write one", ballots: []int{1, 1}, forget: true, reader: 2, size: changeCI, want: counts{788_675, 6_575_892, 24}, seen: seenBoth | seenRead | seenForgotten},
		{change: "three, one replaced", ballots: []int{1, 1}, crash: true, size: changeCI, want: counts{1_091_236, 11_167_076, 27}, seen: seenBoth},
		{change: "four to three", ballots: []int{1, 1}, size: changeLong, want: counts{2_986_197, 42_739_328, 33}, seen: seenBoth},
		{change: "three to four", ballots: []int{1, 1}, size: changeLong, want: counts{3_910_685, 60_089_906, 31}, seen: seenBoth},
		{change: "three, one replaced", ballots: []int{1, 1}, forget: true, size: changeLong, want: counts{7_130_885, 92_799_109, 28}, seen: seenBoth | seenForgotten},
		{change: "three, one replaced", ballots: []int{1, 1}, reader: 1, size: changeLong, want: counts{distinct: 7_548_689}, seen: seenBoth | seenRead},
		{change: "three, one replaced", ballots: []int{1, 1}, reader: 2, size: changeLong, want: counts{distinct: 10_721_440}, seen: seenBoth | seenRead},
		{change: "three, one replaced", ballots: []int{2, 1}, size: changeLong, want: counts{16_399_847, 194_188_369, 33}, seen: seenBoth},
		{change: "three, one replaced", ballots: []int{1, 2}, size: changeLong, want: counts{34_386_222, 434_199_941, 33}, seen: seenBoth},
	} {
		space.explore(t, all)
	}
}

// TestChangeSpacesWithWholeSources explores complete spaces in which an acceptor can also import from one that is complete already. It
// has fewer sources to ask, and needs none of the configuration before. The last spaces have a change to the same acceptors and quorum.
func TestChangeSpacesWithWholeSources(t *testing.T) {
	all := changes(t)
	for _, space := range []changeSpace{
		{change: "one by one by one", ballots: []int{1, 1, 1}, size: changeTiny, want: counts{2_704, 9_634, 21}, seen: seenBoth},
		{change: "two, read one, to two, write one", ballots: []int{1, 1}, forget: true, size: changeTiny, want: counts{53_210, 424_723, 21}, seen: seenBoth | seenForgotten},
		{change: "two, read one, to two, write one", ballots: []int{1, 1}, reader: 2, size: changeTiny, want: counts{71_445, 550_296, 22}, seen: seenBoth | seenRead},
		{change: "three, one replaced", ballots: []int{1, 1}, size: changeCI, want: counts{765_633, 9_508_806, 27}, seen: seenBoth},
		{change: "three, all replaced", ballots: []int{1, 1}, size: changeCI, want: counts{195_887, 2_432_018, 29}, seen: seenBoth},
		{change: "two, one replaced twice, write one", ballots: []int{1, 1, 1}, size: changeCI, want: counts{729_744, 4_713_685, 34}, seen: seenBoth},
		{change: "two, one replaced twice, read one", ballots: []int{1, 1, 1}, size: changeCI, want: counts{1_508_854, 12_544_449, 29}, seen: seenBoth},
		{change: "two, read one, to two, write one", ballots: []int{2, 2}, size: changeCI, want: counts{1_601_777, 12_457_805, 29}, seen: seenBoth},
		{change: "three, one replaced", ballots: []int{1, 1}, crash: true, size: changeCI, want: counts{1_094_583, 12_018_412, 27}, seen: seenBoth},
		{change: "three, one replaced", ballots: []int{2, 1}, size: changeLong, want: counts{16_450_454, 208_690_129, 33}, seen: seenBoth},
		{change: "three, the same", ballots: []int{2, 1}, size: changeTiny, want: counts{5_663, 21_435, 23}, seen: seenBoth},
		{change: "three, the same", ballots: []int{1, 2}, size: changeTiny, want: counts{3_497, 13_366, 23}, seen: seenBoth},
		{change: "three, the same", ballots: []int{2, 2}, size: changeTiny, want: counts{60_099, 257_940, 29}, seen: seenBoth},
		{change: "one to two, the same, to one", ballots: []int{1, 1, 1, 1}, size: changeCI, want: counts{620_912, 2_972_868, 36}, seen: seenBoth},
		{change: "one to two, the same, to one", ballots: []int{1, 1, 1, 1}, completes: true, size: changeCI, want: counts{246_080, 1_193_886, 35}, seen: seenBoth},
		{change: "one to three, the same, to one", ballots: []int{1, 1, 1, 1}, completes: true, size: changeLong, want: counts{7_013_708, 48_547_213, 41}, seen: seenBoth},
	} {
		space.whole = true
		space.explore(t, all)
	}
}

// A changeSpace is a space that is explored whole, and its counts.
type changeSpace struct {
	change  string
	ballots []int
	forget  bool
	reader  int
	crash   bool
	whole   bool
	// completes: see changeConfig
	completes bool
	size      int
	want      counts
	seen      uint64
}

func (space changeSpace) explore(t *testing.T, all map[string][]changeMembers) {
	name := fmt.Sprintf("%s %v forget=%v reader=%d crash=%v", space.change, space.ballots, space.forget, space.reader, space.crash)
	if space.completes {
		name += " completes"
	}
	t.Run(name, func(t *testing.T) {
		explore.Fits(t, space.size)
		c := changeConfig{members: all[space.change], ballots: space.ballots, forget: space.forget, reader: space.reader, crash: space.crash, whole: space.whole, completes: space.completes}
		m, r := exploreChange(t, c, 4*space.want.distinct)
		if r.Violation != nil {
			t.Fatalf("after %d steps:\n%s", len(r.Violation.Steps)-1, m.way(r.Violation))
		}
		assert.Equal(t, space.seen, r.Seen&space.seen, "nothing is shown by a space in which this never happens")
		got := counts{r.Distinct, r.Generated, r.Depth}
		if space.want.generated == 0 {
			got.generated, got.depth = 0, 0
		}
		assert.Equal(t, space.want, got)
	})
}

// counts are how large a space is, as TLC counts. Generated and depth may be left out.
type counts struct {
	distinct, generated uint64
	depth               int
}

// TestChangeRulesLeftOut leaves out the rules of the host, one at a time, and finds the shortest way to where that ends. It shows
// that the spaces above are large enough to see such a mistake. The steps are those of the model by which the protocol was worked
// out. The mutants leave out the rules of the roles.
func TestChangeRulesLeftOut(t *testing.T) {
	all := changes(t)
	for _, left := range []changeLeftOut{
		{name: "the next change before this one is complete", change: "one by one by one", ballots: []int{1, 1, 1}, wrong: changeRules{nextBeforeComplete: true},
			size: changeTiny, steps: 10, err: errTwoValues},
		{name: "the next change before this one is complete, from three", change: "three to one to one", ballots: []int{1, 1, 1}, wrong: changeRules{nextBeforeComplete: true},
			size: changeTiny, steps: 12, err: errTwoValues},
		{name: "the next change when a phase-1 quorum is complete", change: "two, one replaced twice, read one", ballots: []int{1, 1, 1}, wrong: changeRules{nextAfterPhase1: true},
			size: changeCI, steps: 14, err: errTwoValues},
		{name: "import from an acceptor that still votes", change: "three, one replaced", ballots: []int{1, 1}, wrong: changeRules{importUnsealed: true},
			size: changeCI, steps: 15, err: errTwoValues},
		{name: "an acceptor that stays imports nothing", change: "three, one replaced", ballots: []int{1, 1}, wrong: changeRules{stayerNeedsNoImport: true},
			size: changeCI, steps: 13, err: errTwoValues},
		{name: "complete after its promise", change: "three, one replaced", ballots: []int{1, 1}, wrong: changeRules{completeAfterPromise: true},
			size: changeCI, steps: 16, err: errTwoValues},
		{name: "an import counts as a vote", change: "three, one replaced", ballots: []int{1, 1}, wrong: changeRules{importIsVote: true},
			size: changeCI, steps: 14, err: errTwoValues},
		{name: "a lost disk under its old name", change: "three, one replaced", ballots: []int{1, 1}, wrong: changeRules{wiped: true},
			size: changeCI, steps: 13, err: errTwoValues},
		{name: "old votes by the new quorum", change: "three to one of them", ballots: []int{2, 1}, wrong: changeRules{oldVotesByNew: true},
			size: changeTiny, steps: 8, err: errTwoValues},
		{name: "a read with a phase-1 quorum", change: "two, read one, to two, write one", ballots: []int{1, 1}, reader: 1, wrong: changeRules{readPhase1: true},
			size: changeTiny, steps: 9, err: errStaleRead},
		{name: "a read of a configuration that is over", change: "three, one replaced", ballots: []int{1, 1}, reader: 1, wrong: changeRules{sealedReads: true},
			size: changeCI, steps: 11, err: errStaleRead},
		{name: "a read of the new configuration alone", change: "three, one replaced", ballots: []int{1, 1}, reader: 2, wrong: changeRules{readNewOnly: true},
			size: changeCI, steps: 10, err: errStaleRead},
		{name: "nothing left of what is forgotten", change: "three, never changed", ballots: []int{3}, forget: true, wrong: changeRules{forgetNoTombstone: true},
			size: changeTiny, steps: 11, err: errTwoValues},
		{name: "nothing left of what is decided and forgotten", change: "three, never changed", ballots: []int{3}, forget: true, wrong: changeRules{forgetDecided: true},
			size: changeTiny, steps: 11, err: errTwoValues},
		{name: "only the promise left of what is forgotten", change: "three, never changed", ballots: []int{3}, forget: true, wrong: changeRules{forgetLowBound: true},
			size: changeTiny, steps: 11, err: errTwoValues},
		{name: "forgotten counts as an empty promise", change: "three, never changed", ballots: []int{3}, forget: true, wrong: changeRules{forgottenIsEmpty: true},
			size: changeTiny, steps: 11, err: errTwoValues},
		{name: "votes for what is forgotten", change: "three, never changed", ballots: []int{3}, forget: true, wrong: changeRules{forgottenAccepts: true},
			size: changeTiny, steps: 11, err: errTwoValues},
		{name: "an import takes no notice of forgetting", change: "three, one replaced", ballots: []int{1, 1}, forget: true, wrong: changeRules{importForgetsTheForgotten: true},
			size: changeLong, steps: 17, err: errTwoValues},
	} {
		left.explore(t, all)
	}
}

// TestChangeRulesOfWholeSourcesLeftOut does so where an acceptor can import from one that is complete already, and where the change is one
// to the same acceptors.
func TestChangeRulesOfWholeSourcesLeftOut(t *testing.T) {
	all := changes(t)
	for _, left := range []changeLeftOut{
		{name: "import from one that is not complete", change: "three, all replaced", ballots: []int{1, 1}, wrong: changeRules{wholeIncomplete: true},
			size: changeCI, steps: 12, states: 31_590, err: errTwoValues},
		{name: "import from one that is not complete, one replaced", change: "three, one replaced", ballots: []int{1, 1}, wrong: changeRules{wholeIncomplete: true},
			size: changeSmall, steps: 13, states: 173_486, err: errTwoValues},
		{name: "import from one that is complete by now, and was not then", change: "three, one replaced", ballots: []int{1, 1}, wrong: changeRules{wholeReadBefore: true},
			size: changeCI, steps: 18, states: 583_374, err: errTwoValues},
		{name: "the same acceptors with another quorum", change: "three, read two, to read one", ballots: []int{1, 1}, wrong: changeRules{anyQuorumIsSame: true},
			size: changeTiny, steps: 14, states: 510, err: errTwoValues},
	} {
		left.whole = true
		left.explore(t, all)
	}
}

// A changeLeftOut is a space in which a rule is left out, and how long the shortest way is to where that ends.
type changeLeftOut struct {
	name    string
	change  string
	ballots []int
	forget  bool
	reader  int
	whole   bool
	wrong   changeRules
	size    int
	steps   int
	states  uint64 // 0: not counted
	err     error
}

func (left changeLeftOut) explore(t *testing.T, all map[string][]changeMembers) {
	t.Run(left.name, func(t *testing.T) {
		explore.Fits(t, left.size)
		c := changeConfig{members: all[left.change], ballots: left.ballots, forget: left.forget, reader: left.reader, whole: left.whole, wrong: left.wrong}
		m, r := exploreChange(t, c, 0)
		require.NotNil(t, r.Violation, "nothing is wrong without this rule")
		t.Logf("\n%s", m.way(r.Violation))
		require.ErrorIs(t, r.Violation.Err, left.err)
		assert.Len(t, r.Violation.Steps, left.steps+1)
		if left.states != 0 {
			assert.Equal(t, left.states, r.Distinct)
		}
	})
}
