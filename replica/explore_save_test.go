package replica

import (
	"testing"

	"github.com/singledecree/paxos"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExploreSaves explores what is volatile apart from what is durable: the save that ships, one Save at a time on
// each server, replies that wait, changes that share a Save, duplicates, and crashes that lose all but what is
// durable.
func TestExploreSaves(t *testing.T) {
	const everything = exSeenChosen | exSeenOther | exSeenCrash | exSeenTwoStages | exSeenUnsent | exSeenCoalesced
	for _, space := range []struct {
		name   string
		config exConfig
		size   int
		want   exCount
	}{
		{"2 ballots, 1 server with saves, 2 crashes", exConfig{
			owners: []int{0, 1}, async: 1, crashes: 2, symmetry: true}, exTiny, exCount{26_631, 91_278, 24}},
		{"2 ballots, 2 servers with saves, 1 crash", exConfig{
			owners: []int{0, 1}, async: 2, crashes: 1, symmetry: true}, exSmall, exCount{122_842, 414_887, 29}},
		{"2 ballots, 3 servers with saves, 2 crashes", exConfig{
			owners: []int{0, 1}, async: 3, crashes: 2, symmetry: true}, exSmall, exCount{1_037_383, 4_898_209, 36}},
		{"3 ballots, 1 server with saves, 1 crash", exConfig{
			owners: []int{0, 1, 0}, async: 1, crashes: 1, symmetry: true}, exSmall, exCount{1_267_871, 3_836_047, 33}},
		{"3 ballots, 1 server with saves, 2 crashes, no symmetry", exConfig{
			owners: []int{0, 1, 0}, async: 1, crashes: 2}, exCI, exCount{8_921_955, 31_153_464, 35}},
		{"3 ballots, 2 servers with saves, 1 crash", exConfig{
			owners: []int{0, 1, 0}, async: 2, crashes: 1, symmetry: true}, exCI, exCount{11_477_314, 39_144_135, 41}},
		{"3 ballots, 2 servers with saves, 2 crashes", exConfig{
			owners: []int{0, 1, 0}, async: 2, crashes: 2, symmetry: true}, exLong, exCount{33_117_195, 131_532_126, 43}},
	} {
		t.Run(space.name, func(t *testing.T) {
			exFits(t, space.size)
			space.config.quorum, space.config.wanted = paxos.Majority(3), 2
			exHolds(t, space.config, space.want, everything)
		})
	}
}

// exOlder lets the Save that runs release a reply whose change is not in its snapshot.
var exOlder = exRules{begin: save.begin, end: save.end, step: func(s save, m paxos.Message) (save, paxos.Message, stage, error) {
	after, reply, wait, err := s.step(m)
	if s.stage == running && wait == gathering {
		wait = running
	}
	return after, reply, wait, err
}}

// TestExploreRulesLeftOut leaves out one rule at a time of those that decide when a reply may leave, and finds how
// that ends: with two decisions. It shows that the spaces above are large enough to see such a mistake in the code
// that ships. The steps are those of the shortest way; FAULTS.md, like TLC, counts the initial state too.
func TestExploreRulesLeftOut(t *testing.T) {
	replyFirst, duplicate, next := exShipping, exShipping, exShipping
	replyFirst.step = func(s save, m paxos.Message) (save, paxos.Message, stage, error) {
		s, reply, _, err := s.step(m)
		return s, reply, saved, err
	}
	duplicate.step = func(s save, m paxos.Message) (save, paxos.Message, stage, error) {
		after, reply, wait, err := s.step(m)
		if after == s {
			wait = saved
		}
		return after, reply, wait, err
	}
	next.end = func(s save) save { return save{Acceptor: s.Acceptor} }

	for _, left := range []struct {
		name  string
		how   exConfig
		steps int    // until two values are chosen
		first string // what is noticed before that, if every invariant is checked
	}{
		{"reply before save", exConfig{rules: replyFirst}, 13, "I5: "},
		{"reply to a duplicate while the save is pending", exConfig{rules: duplicate}, 15, "I5: "},
		{"reply released by a save whose snapshot is older", exConfig{rules: exOlder}, 17, "I5: "},
		{"change taken for saved when an older snapshot is", exConfig{rules: next}, 18, "I5: "},
		{"own promise and vote counted before they are saved", exConfig{early: true}, 15, "I8: "},
		{"ballot used again after a restart", exConfig{reuse: true}, 8, "I6: "},
	} {
		t.Run(left.name, func(t *testing.T) {
			c := left.how
			c.quorum, c.wanted, c.owners, c.async, c.crashes, c.symmetry = paxos.Majority(3), 2, []int{1, 0}, 1, 1, true
			x, r := exRun(t, c, exCount{})
			require.NotNil(t, r.Violation)
			assert.ErrorContains(t, r.Violation.Err, left.first, x.text(r.Violation))
			c.agreement = true
			x, r = exRun(t, c, exCount{})
			require.NotNil(t, r.Violation)
			assert.ErrorContains(t, r.Violation.Err, "I1: two values are chosen", x.text(r.Violation))
			assert.Len(t, r.Violation.Steps[1:], left.steps, x.text(r.Violation))
		})
	}
}

// TestExploreTrace tells how two values come to be chosen, as people read it.
func TestExploreTrace(t *testing.T) {
	x, r := exRun(t, exConfig{quorum: counted{2, 1, 1}, wanted: 2, owners: []int{0, 1}, symmetry: true}, exCount{})
	require.NotNil(t, r.Violation)
	assert.Equal(t, `
2: prepare 2.2
1: promise 2.2 (-)
2: accept 2.2 ""
1: prepare 1.1
1: accepted 2.2 ""
2: promise 1.1 (-)
1: accept 1.1 "a"
2: accepted 1.1 "a"
=> I1: two values are chosen
`, "\n"+x.text(r.Violation))

	c := exConfig{
		quorum: paxos.Majority(3), wanted: 2, owners: []int{1, 0}, async: 1, crashes: 1, symmetry: true,
		agreement: true, rules: exOlder,
	}
	x, r = exRun(t, c, exCount{})
	require.NotNil(t, r.Violation)
	assert.Equal(t, `
2: prepare 1.2
2: promise 1.2 (-)
1: prepare 2.1
1: promise 1.2 (-), held until the next Save ends
1: Save begins (promised 1.2, accepted -)
1: promise 2.1 (-), held until the Save that runs ends
1: Save ends, and sends promise 1.2 (-), promise 2.1 (-)
2: promise 2.1 (-)
1: accept 2.1 ""
1: crashes and starts again (promised 1.2, accepted -)
2: accept 1.2 "a"
1: accepted 1.2 "a", held until the next Save ends
1: accepted 2.1 "", held until the next Save ends
1: Save begins (promised 2.1, accepted 2.1 "")
1: Save ends, and sends accepted 1.2 "a", accepted 2.1 ""
2: accepted 2.1 ""
3: accepted 1.2 "a"
=> I1: two values are chosen
`, "\n"+x.text(r.Violation))
}
