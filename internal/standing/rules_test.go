package standing_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/explore"
)

// The rules leave out, or bend, one rule at a time.
type rules struct {
	noCatchUp         bool // the server does not wait for decisions that it has not pulled
	indexBeforeFloor  bool // the Index is read before the floor is set
	indexAtRelease    bool // the Index is read when the answer leaves, and decisions without an Index are not listed
	unindexedUnlisted bool // a decision in memory, without an Index yet, is not listed
	listDurable       bool // the list is of durable votes only
	listAboveFloor    bool // votes below the acceptor's previous floor are not listed again
	promiseUnsaved    bool // the answer leaves before the floor is saved
	ownPromiseUnsaved bool // the own answer counts before the own floor is saved
	floorForgotten    bool // a restart forgets the floor
	floorWhenSaved    bool // the floor refuses only once it is durable
	floorNotAccept    bool // the floor refuses Prepare, and Accept is checked against the record alone
	floorNotPrepare   bool // the floor refuses Accept, and not Prepare
	reloadNoFloor     bool // the floor is not applied to a record that left memory and came back
	noOwnCheck        bool // the own record is not looked at
	ownAcceptedOnly   bool // the own record may hold a promise below the ballot
	ownFloorIgnored   bool // the ballot goes on to be used when the own floor is higher
	ownFloorLower     bool // the ballot is used although the own floor is lower
	acceptLate        bool // the Accept leaves only when the own vote is durable
	noOwnVote         bool // no own vote in the step of the Accept
	reuse             bool // the ballot is used on after a restart
	ownVoteUnsaved    bool // the own vote counts before it is saved
	phase2Quorum      bool // a phase-2 quorum of answers is enough
	olderPromise      bool // an answer for an older standing ballot of the same server counts
	otherPromise      bool // an answer for a standing ballot of another server counts
	tombUnlisted      bool // a forgotten name is neither listed nor pulled
	noForgetMark      bool // the pulls end at the Index of the answer, though a forgotten name may have moved to a higher one
	learnerNoMark     bool // a server that does not vote stands, and remembers nothing
	learnerKept       bool // a server that does not vote stands, and uses its ballot on after a restart
	standOwned        bool // a standing ballot is used for an owned name
	readPhase2        bool // a read believes a phase-2 quorum
	standIncomplete   bool // in the next configuration, with no import, answers of a phase-1 quorum of that one alone are enough
	skipHigher        bool // an acceptor that promised above the ballot for the name does not count
}

// exploreRules explores a config.
func exploreRules(t *testing.T, c config, most uint64) (*model, explore.Result) {
	t.Helper()
	m := newModel(t, c)
	return m, run(t, m.initial(), func() explore.Model { return newModel(t, c) }, most)
}

// name names the space.
func (c config) String() string {
	text := c.order
	if c.size[0] != 0 {
		text = fmt.Sprintf("%d acceptors %d/%d, ", c.size[0], c.size[1], c.size[2]) + text
	}
	for _, s := range []struct {
		on   bool
		text string
	}{{c.slow != 0, fmt.Sprintf("slow %03b", c.slow)}, {c.joint, "joint saves"}, {c.deaf != 0, "nobody learns"}, {c.cursors, "cursors"},
		{c.forget != 0, "forgetting"}, {c.late, "late pages"}, {c.read, "read"}} {
		if s.on {
			text += ", " + s.text
		}
	}
	return text
}

// TestSpaces explores complete spaces. The counts are those of the model by which the rules were worked out: the values that ship do the
// same, no more and no less.
func TestSpaces(t *testing.T) {
	const all = seenStanding | seenClassic | seenBoth
	for _, space := range []struct {
		config
		profile int
		want    counts
		seen    uint64
	}{
		{config{order: "C S0 C"}, small, counts{136_022, 547_494, 26}, all | seenLower},
		{config{order: "C S3 C"}, ci, counts{154_760, 783_239, 27}, all | seenLower},
		{config{order: "C S0 C", cursors: true}, ci, counts{235_362, 993_503, 27}, all | seenLower},
		{config{order: "C S0 C", slow: 0b001}, ci, counts{558_076, 3_012_990, 28}, all | seenLower},
		{config{order: "C S0 C", slow: 0b001, cursors: true}, ci, counts{850_297, 4_742_503, 29}, all | seenLower},
		{config{order: "C S0 C", slow: 0b111}, ci, counts{2_540_506, 18_517_599, 33}, all | seenLower},
		{config{order: "C S0 C", slow: 0b111, joint: true}, ci, counts{1_790_889, 12_042_570, 32}, all | seenLower},
		{config{order: "C S0 C", slow: 0b001, read: true}, long, counts{6_181_518, 34_424_463, 32}, all | seenLower | seenReadNothing},
		{config{order: "C S0", slow: 0b111, cursors: true, read: true}, ci, counts{614_968, 3_873_857, 31}, seenStanding | seenLower | seenReadNothing},
		{config{order: "C C S0", slow: 0b111}, ci, counts{1_138_824, 8_063_264, 31}, seenStanding | seenLower},
		{config{order: "C C S0 C", slow: 0b001}, long, counts{8_799_056, 53_614_915, 33}, all | seenLower},
		{config{order: "C S0 C C", slow: 0b001}, long, counts{15_850_453, 95_549_629, 34}, all | seenLower},
		{config{order: "C S0 C C", slow: 0b111, deaf: 0b111}, long, counts{12_373_378, 95_850_912, 37}, all | seenLower},
		{config{order: "C S0 S0", slow: 0b111}, ci, counts{1_623_529, 11_474_693, 36}, seenStanding | seenLower | seenLater},
		{config{order: "C S0 S1", slow: 0b011}, ci, counts{2_016_398, 12_684_935, 33}, seenStanding | seenLower},
		{config{order: "S0 C S0", slow: 0b111, cursors: true}, long, counts{8_261_962, 65_189_988, 36}, all | seenLower | seenLater},
		{config{order: "S0 C S1", slow: 0b111}, long, counts{14_795_510, 116_432_531, 35}, all | seenLower},
		{config{order: "S0 C S0 C", slow: 0b001}, long, counts{26_847_804, 170_211_876, 36}, all | seenLower | seenLater},
		{config{order: "S0 C S0 C", slow: 0b111, deaf: 0b111}, long, counts{23_425_644, 195_134_253, 38}, all | seenLower | seenLater},
		{config{order: "C S0 C S0", slow: 0b001}, long, counts{9_805_026, 60_539_248, 35}, all | seenLower | seenLater},
		{config{order: "C S0 C C S0", slow: 0b001, deaf: 0b111}, long, counts{17_020_354, 103_731_498, 35}, all | seenLower | seenLater},
		{config{order: "C S0 S1 C"}, long, counts{5_258_184, 23_588_516, 30}, all | seenLower},
		{config{order: "C S0 S1 C", slow: 0b011, deaf: 0b111}, long, counts{9_641_315, 68_410_805, 35}, all | seenLower},
		{config{order: "C S0 S1 C", slow: 0b001, deaf: 0b111, read: true}, long, counts{13_334_905, 83_604_016, 33}, all | seenLower | seenReadNothing},
		{config{order: "C S0 C S1", slow: 0b001}, long, counts{15_410_662, 92_945_865, 35}, all | seenLower},
		{config{order: "C S0 C S1", slow: 0b011, deaf: 0b111}, long, counts{6_639_864, 44_095_899, 33}, all | seenLower},
		{config{order: "S0 C S1 C", slow: 0b001, deaf: 0b111}, ci, counts{2_172_186, 13_092_856, 28}, all | seenLower},
		{config{order: "S0 C S1 C", slow: 0b011, deaf: 0b111}, long, counts{16_658_684, 120_547_667, 34}, all | seenLower},
		{config{order: "C S0", cursors: true, forget: 0b111}, small, counts{341_358, 1_423_840, 29}, seenStanding | seenLower},
		{config{order: "C S0", slow: 0b001, cursors: true, forget: 0b111}, ci, counts{733_350, 4_076_740, 31}, seenStanding | seenLower},
		{config{order: "C S0", slow: 0b111, cursors: true, forget: 0b111}, ci, counts{2_587_438, 18_487_978, 38}, seenStanding | seenLower},
		{config{order: "C S0", cursors: true, forget: 0b111, read: true}, ci, counts{3_848_120, 16_448_762, 33}, seenStanding | seenLower | seenReadNothing},
		{config{order: "C S0 C", cursors: true, forget: 0b111}, long, counts{8_893_568, 40_974_264, 35}, all | seenLower},
		{config{order: "C S0", cursors: true, forget: 0b111, late: true}, small, counts{306_817, 1_262_640, 29}, seenStanding | seenLower},
		{config{order: "C S0", slow: 0b111, cursors: true, forget: 0b111, late: true}, ci, counts{2_546_871, 18_052_669, 38}, seenStanding | seenLower},
		{config{order: "C S0", cursors: true, forget: 0b111, late: true, read: true}, ci, counts{3_457_689, 14_591_097, 33}, seenStanding | seenLower | seenReadNothing},
		{config{size: [3]int{4, 3, 2}, order: "C S0 C"}, ci, counts{2_128_467, 10_905_354, 34}, all | seenLower},
		{config{size: [3]int{4, 2, 3}, order: "C S0 C"}, ci, counts{2_618_071, 14_513_560, 32}, all | seenLower},
		{config{size: [3]int{4, 3, 3}, order: "C S0 C"}, ci, counts{1_134_936, 5_519_807, 34}, all | seenLower},
		{config{size: [3]int{4, 3, 2}, order: "C S0", slow: 0b001, read: true}, ci, counts{2_072_151, 11_868_896, 32}, seenStanding | seenLower | seenReadNothing},
		{config{size: [3]int{4, 2, 3}, order: "C S0", slow: 0b001, read: true}, ci, counts{2_254_268, 13_427_281, 32}, seenStanding | seenLower | seenReadNothing},
		{config{size: [3]int{4, 3, 2}, order: "C S0 S1", slow: 0b001, deaf: 0b1111}, ci, counts{111_594, 573_084, 27}, seenStanding | seenLower},
		{config{size: [3]int{4, 2, 3}, order: "S0 C S1", slow: 0b001, deaf: 0b1111}, ci, counts{1_203_858, 7_721_444, 25}, all | seenLower},
		{config{size: [3]int{3, 3, 1}, order: "C S0 C", slow: 0b111}, ci, counts{1_050_131, 7_450_615, 35}, all},
		{config{size: [3]int{3, 1, 3}, order: "C S0 C", slow: 0b111}, long, counts{4_047_964, 33_493_028, 33}, all | seenLower},
		{config{size: [3]int{2, 2, 1}, order: "C S0 C S1", slow: 0b011, read: true}, ci, counts{2_644_193, 15_548_969, 32}, all | seenReadNothing},
		{config{size: [3]int{2, 1, 2}, order: "C S0 C S1", slow: 0b011, read: true}, long, counts{5_460_811, 34_083_707, 34}, all | seenLower | seenReadNothing},
	} {
		t.Run(space.String(), func(t *testing.T) {
			explore.Fits(t, space.profile)
			m, r := exploreRules(t, space.config, 2*space.want.distinct)
			holds(t, r, m.text, space.want, space.seen)
		})
	}
}

// TestRulesLeftOut leaves out one rule at a time, and finds in how few steps two values are chosen. So the spaces are large enough to
// see it. Where one ballot gets two values, the Proposer stops the attempts that would go on. So it is made blind.
func TestRulesLeftOut(t *testing.T) {
	for _, left := range []struct {
		rule    string
		how     config
		steps   int
		profile int
	}{
		{"used for an owned name", config{order: "O0 S1", wrong: rules{standOwned: true}}, 7, tiny},
		{"the answer for another server counts", config{order: "C S0 S1", wrong: rules{otherPromise: true}}, 9, small},
		{"Accept is checked against the record alone", config{order: "C S0", wrong: rules{floorNotAccept: true}}, 10, tiny},
		{"decided without an Index is not listed", config{order: "C S0", wrong: rules{unindexedUnlisted: true}}, 11, tiny},
		{"votes below the previous floor are not listed", config{order: "C S0 S0", wrong: rules{listAboveFloor: true}}, 11, small},
		{"votes below the previous floor are not listed", config{order: "C S0 S1", wrong: rules{listAboveFloor: true}}, 11, small},
		{"the floor is not applied to a record that was loaded again", config{order: "C S0", wrong: rules{reloadNoFloor: true}}, 11, tiny},
		{"the answer for an older standing ballot counts", config{order: "S0 C S0", wrong: rules{olderPromise: true}}, 11, small},
		{"a phase-2 quorum of answers", config{size: [3]int{4, 3, 2}, order: "C S0", wrong: rules{phase2Quorum: true}}, 11, small},
		{"forgotten names neither listed nor pulled", config{order: "C S0", cursors: true, forget: 0b111, wrong: rules{tombUnlisted: true}}, 11, small},
		{"no catch-up", config{order: "C S0", cursors: true, wrong: rules{noCatchUp: true}}, 12, tiny},
		{"the own record is not looked at", config{order: "S0 C", wrong: rules{noOwnCheck: true}}, 12, small},
		{"no own vote in the step of the Accept", config{order: "S0 C", wrong: rules{noOwnVote: true}}, 13, small},
		{"a server that does not vote remembers nothing", config{order: "S3 C", wrong: rules{learnerNoMark: true}}, 13, small},
		{"the own answer counts before the own floor is saved", config{order: "C S0", slow: 0b001, wrong: rules{ownPromiseUnsaved: true}}, 13, small},
		{"the own vote counts before it is saved", config{order: "S0 C", slow: 0b001, wrong: rules{ownVoteUnsaved: true}}, 13, small},
		{"the Index is read before the floor is set", config{order: "C S0", wrong: rules{indexBeforeFloor: true}}, 14, tiny},
		{"the floor refuses only once it is durable", config{order: "C S0", slow: 0b110, joint: true, wrong: rules{floorWhenSaved: true}}, 14, small},
		{"the floor is forgotten at a restart", config{order: "C S0", slow: 0b001, wrong: rules{floorForgotten: true}}, 14, small},
		{"the floor is forgotten at a restart", config{order: "C S0", slow: 0b110, wrong: rules{floorForgotten: true}}, 16, small},
		{"catch-up ends at the Index of the answer", config{order: "C S0", cursors: true, forget: 0b111, wrong: rules{noForgetMark: true}}, 14, small},
		{"a server that does not vote goes on after a restart", config{order: "S3 C", wrong: rules{learnerKept: true}}, 14, small},
		{"the answer leaves before the floor is saved", config{order: "C S0", slow: 0b110, wrong: rules{promiseUnsaved: true}}, 15, small},
		{"a list of durable votes only", config{order: "C S0", slow: 0b110, wrong: rules{listDurable: true}}, 15, small},
		{"a list of durable votes only", config{order: "C S0", slow: 0b111, wrong: rules{listDurable: true}}, 17, small},
		{"used on after a restart", config{order: "S0 C", slow: 0b001, wrong: rules{reuse: true}}, 15, small},
		{"the Index is read when the answer leaves", config{order: "C S0", slow: 0b110, wrong: rules{indexAtRelease: true}}, 17, small},
		{"the Index is read when the answer leaves", config{order: "C S0 C", slow: 0b111, joint: true, wrong: rules{indexAtRelease: true}}, 19, ci},
		{"used on with a higher own floor", config{order: "S0 S1 C", slow: 0b011, wrong: rules{ownFloorIgnored: true}}, 19, ci},
	} {
		t.Run(left.rule+": "+left.how.String(), func(t *testing.T) {
			explore.Fits(t, left.profile)
			w := &left.how.wrong
			left.how.unnoticed = w.noOwnCheck || w.noOwnVote || w.learnerNoMark || w.reuse || w.learnerKept || w.ownFloorIgnored
			if left.how.unnoticed && left.profile < ci {
				noticed := left.how
				noticed.unnoticed = false
				_, r := exploreRules(t, noticed, 8<<20)
				assert.Nil(t, r.Violation, "the Proposer that ships notices two values in one ballot, and stops")
			}
			breaks(t, left.how, left.steps, errTwoValues)
		})
	}
}

// breaks demands that the shortest way to that violation has so many steps.
func breaks(t *testing.T, c config, steps int, want error) {
	t.Helper()
	m, r := exploreRules(t, c, 16<<20)
	require.NotNil(t, r.Violation)
	assert.Equal(t, want, r.Violation.Err)
	assert.Len(t, r.Violation.Steps[1:], steps, way(r.Violation, m.text))
}

// TestSpacesOfAChange has a standing ballot end with its configuration, and stand in the next one. That is prepared by both.
func TestSpacesOfAChange(t *testing.T) {
	for _, space := range []struct {
		config
		profile int
		want    counts
		seen    uint64
	}{
		{config{order: "S0 |13 C"}, tiny, counts{15_020, 51_504, 23}, seenStanding | seenClassic | seenBoth},
		{config{order: "C S0 |13 C"}, ci, counts{159_490, 598_740, 27}, seenStanding | seenClassic | seenBoth},
		{config{order: "C |13 S0"}, tiny, counts{5_208, 19_741, 23}, seenStanding | seenClassic},
		{config{order: "S0 |13 S0", slow: 0b001}, small, counts{62_872, 332_222, 28}, seenStanding | seenLater},
		{config{order: "S0 |31 S1", slow: 0b001}, small, counts{100_588, 526_371, 27}, seenStanding},
	} {
		t.Run(space.String(), func(t *testing.T) {
			explore.Fits(t, space.profile)
			m, r := exploreRules(t, space.config, 4<<20)
			holds(t, r, m.text, space.want, space.seen)
		})
	}
	breaks(t, config{order: "C |13 S0", wrong: rules{standIncomplete: true}}, 13, errTwoValues)
}

// TestOtherViolations: two values in one ballot come before two values are chosen, and a read must not believe a phase-2 quorum.
func TestOtherViolations(t *testing.T) {
	breaks(t, config{order: "S0 C", oneBallot: true, wrong: rules{noOwnCheck: true}}, 5, errOneBallot)
	breaks(t, config{order: "S0 C", slow: 0b001, oneBallot: true, wrong: rules{reuse: true}}, 7, errOneBallot)
	breaks(t, config{size: [3]int{2, 2, 1}, order: "C S0", read: true, wrong: rules{readPhase2: true}}, 6, errStaleRead)
	breaks(t, config{size: [3]int{4, 3, 2}, order: "C S0", read: true, wrong: rules{readPhase2: true}}, 9, errStaleRead)
}

// TestNobodyNotices has phase-2 quorums that need not meet. Then two values in one ballot are both chosen, and no Proposer notices.
func TestNobodyNotices(t *testing.T) {
	for _, left := range []struct {
		rule  string
		how   config
		steps int
	}{
		{"the own record is not looked at", config{order: "S0", wrong: rules{noOwnCheck: true}}, 9},
		{"no own vote in the step of the Accept", config{order: "S0", wrong: rules{noOwnVote: true}}, 10},
		{"used on after a restart", config{order: "S0", slow: 0b001, wrong: rules{reuse: true}}, 12},
		{"used on with a higher own floor", config{order: "S0 S1", slow: 0b001, wrong: rules{ownFloorIgnored: true}}, 14},
	} {
		t.Run(left.rule, func(t *testing.T) {
			explore.Fits(t, small)
			left.how.size = [3]int{4, 3, 2}
			breaks(t, left.how, left.steps, errTwoValues)
		})
	}
}

// TestHarmless leaves out or bends rules, and nothing comes of it in the whole space.
func TestHarmless(t *testing.T) {
	for _, bent := range []struct {
		rule    string
		how     config
		profile int
		want    counts
	}{
		{"a phase-2 quorum of answers, where phase 1 needs all", config{size: [3]int{3, 3, 1}, order: "C S0", wrong: rules{phase2Quorum: true}}, tiny, counts{5_824, 18_230, 19}},
		{"the answer for an older standing ballot counts, with nothing between", config{order: "C S0 S0", wrong: rules{olderPromise: true}}, small, counts{109_555, 398_819, 24}},
		{"used on after a restart, with late Accepts", config{order: "S0 C", slow: 0b001, wrong: rules{reuse: true, acceptLate: true}}, small, counts{91_485, 412_917, 29}},
		{"used on after a restart, with late Accepts", config{order: "C S0 C", slow: 0b001, wrong: rules{reuse: true, acceptLate: true}}, ci, counts{1_078_199, 5_608_095, 34}},
		{"the Accept waits for the own vote", config{order: "C S0 C", slow: 0b001, wrong: rules{acceptLate: true}}, ci, counts{468_285, 2_531_947, 29}},
		{"an acceptor that promised above the ballot does not count", config{order: "C S0 C", slow: 0b111, wrong: rules{skipHigher: true}}, ci, counts{2_633_609, 19_257_785, 33}},
		{"the floor does not refuse Prepare", config{order: "C S0 C", slow: 0b111, wrong: rules{floorNotPrepare: true}}, ci, counts{2_753_828, 20_217_022, 33}},
		{"the own record may hold a promise below", config{order: "C S0 C", slow: 0b111, wrong: rules{ownAcceptedOnly: true}}, ci, counts{3_178_336, 23_448_436, 33}},
		{"the own floor may be lower", config{order: "C S0 C", slow: 0b111, wrong: rules{ownFloorLower: true}}, ci, counts{2_685_223, 19_471_282, 33}},
		{"used on after a restart, with late Accepts", config{order: "C S0 C", slow: 0b111, wrong: rules{reuse: true, acceptLate: true}}, long, counts{distinct: 4_546_150}},
	} {
		t.Run(bent.rule+": "+bent.how.String(), func(t *testing.T) {
			explore.Fits(t, bent.profile)
			m, r := exploreRules(t, bent.how, 2*bent.want.distinct)
			holds(t, r, m.text, bent.want, 0)
		})
	}
}
