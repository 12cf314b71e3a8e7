package paxos

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every ballot of a configuration is above the base of that configuration, and that above all ballots of those before.
func TestBallotsAreOrderedByConfiguration(t *testing.T) {
	assert.True(t, Base(0).IsZero())
	for c := range uint64(4) {
		first, last := Ballot{Base(c).Round, 1}, Ballot{Base(c).Round + MaxRound, math.MaxUint64}
		assert.Equal(t, c, first.Configuration())
		assert.Equal(t, c, last.Configuration())
		assert.True(t, Base(c).Less(first), "the round 0 of an owner is above the base")
		assert.True(t, first.Less(last))
		assert.True(t, last.Less(Base(c+1)))
		assert.True(t, last.Less(Acceptor{}.Forget().Promised))
		assert.False(t, last.IsForgotten())
	}
	assert.True(t, Acceptor{}.Forget().Promised.IsForgotten())
}

// A forgotten instance refuses everything, and says why.
func TestForgottenAcceptorRefusesAll(t *testing.T) {
	a := Acceptor{Promised: Ballot{3, 1}, Accepted: Ballot{2, 1}, Value: "v"}.Forget()
	assert.Equal(t, Acceptor{Promised: a.Promised}, a)
	for _, k := range []Kind{KindPrepare, KindAccept} {
		for _, b := range []Ballot{{0, 1}, {1, 1}, {MaxRound, 9}, {math.MaxUint64 - 1, math.MaxUint64}} {
			next, reply, err := a.Step(Message{Kind: k, Instance: "$1/i", Ballot: b, Value: "w"})
			require.NoError(t, err)
			assert.Equal(t, a, next)
			assert.Equal(t, KindNack, reply.Kind)
			assert.True(t, reply.Promised.IsForgotten())
		}
	}
}

func TestImport(t *testing.T) {
	base := Base(2)
	in := func(c, round uint64) Ballot { return Ballot{Base(c).Round + round, 1} }
	forgotten := Acceptor{}.Forget()
	for _, c := range []struct {
		name            string
		a, source, want Acceptor
	}{
		{"of nothing", Acceptor{}, Acceptor{Promised: in(1, 5)}, Acceptor{}},
		{"the promise of the source stays with it", Acceptor{Promised: in(0, 1)}, Acceptor{Promised: in(1, 5), Accepted: in(1, 3), Value: "v"},
			Acceptor{Promised: in(1, 3), Accepted: in(1, 3), Value: "v"}},
		{"of a lower vote", Acceptor{Promised: in(1, 4), Accepted: in(1, 4), Value: "own"}, Acceptor{Promised: in(1, 9), Accepted: in(1, 3), Value: "v"},
			Acceptor{Promised: in(1, 4), Accepted: in(1, 4), Value: "own"}},
		{"of a higher vote", Acceptor{Promised: in(2, 1), Accepted: in(1, 2), Value: "own"}, Acceptor{Promised: in(1, 9), Accepted: in(1, 3), Value: "v"},
			Acceptor{Promised: in(2, 1), Accepted: in(1, 3), Value: "v"}},
		{"a vote in the new configuration counts up to its base", Acceptor{}, Acceptor{Promised: in(2, 7), Accepted: in(2, 7), Value: "v"},
			Acceptor{Promised: base, Accepted: base, Value: "v"}},
		{"of a base", Acceptor{}, Acceptor{Promised: base, Accepted: base, Value: "v"}, Acceptor{Promised: base, Accepted: base, Value: "v"}},
		{"an own vote in the new configuration stays", Acceptor{Promised: in(2, 1), Accepted: in(2, 1), Value: "own"}, Acceptor{Promised: in(2, 7), Accepted: in(2, 7), Value: "v"},
			Acceptor{Promised: in(2, 1), Accepted: in(2, 1), Value: "own"}},
		{"of what is forgotten", Acceptor{Promised: in(2, 1), Accepted: in(2, 1), Value: "own"}, forgotten, forgotten},
		{"by what is forgotten", forgotten, Acceptor{Promised: in(1, 3), Accepted: in(1, 3), Value: "v"}, forgotten},
		{"the empty value is a value", Acceptor{}, Acceptor{Promised: in(1, 3), Accepted: in(1, 3)}, Acceptor{Promised: in(1, 3), Accepted: in(1, 3)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.a.Import(c.source, 2)
			assert.Equal(t, c.want, got)
			assert.Equal(t, got, got.Import(c.source, 2), "again")
		})
	}
}

// Imports come in any order, and no promise goes down. Only of several bases it is open which value stays.
func TestImportsCommute(t *testing.T) {
	ballots := []Ballot{{}, {1, 1}, {2, 1}, Base(1), {Base(1).Round + 1, 1}, {Base(1).Round + 2, 2}}
	var all []Acceptor
	for _, promised := range append(slices.Clone(ballots), forgottenBallot()) {
		for _, accepted := range ballots {
			if !promised.Less(accepted) && (!promised.IsForgotten() || accepted.IsZero()) {
				v := Value("")
				if !accepted.IsZero() {
					v = Value("v" + accepted.String())
				}
				all = append(all, Acceptor{promised, accepted, v})
			}
		}
	}
	for _, a := range all {
		for _, x := range all {
			for _, y := range all {
				xy, yx := a.Import(x, 1).Import(y, 1), a.Import(y, 1).Import(x, 1)
				if xy.Accepted == Base(1) {
					xy.Value, yx.Value = "", ""
				}
				require.Equal(t, xy, yx, "%v imports %v and %v", a, x, y)
				require.False(t, xy.Promised.Less(a.Promised))
				require.False(t, xy.Promised.Less(xy.Accepted))
			}
		}
	}
}

// The range of forgotten names is compared with a plain set of names.
func TestFloorForgets(t *testing.T) {
	var names []string
	for _, a := range "abcd" {
		names = append(names, string(a))
		for _, b := range "abcd" {
			names = append(names, string(a)+string(b))
		}
	}
	for seed := range uint64(200) {
		x := rand.New(rand.NewPCG(seed, 3))
		var f Floor
		want := map[string]bool{}
		for range 6 {
			r := NameRange{names[x.IntN(len(names))], names[x.IntN(len(names))]}
			if x.IntN(3) == 0 {
				r = Prefix(r.From)
			}
			merged := f.Forget(r)
			for _, name := range names {
				want[name] = want[name] || r.Has(name)
				got, ok := f.Forgotten(name)
				require.Equal(t, want[name], ok, "seed %d, %q in %v", seed, name, f.Ranges())
				if ok {
					require.True(t, got.Has(name))
				}
				if r.Has(name) {
					require.Equal(t, merged, got)
				}
			}
			ranges := f.Ranges()
			for i := range ranges {
				require.Less(t, ranges[i].From, ranges[i].To)
				require.True(t, i == 0 || ranges[i-1].To < ranges[i].From, "they touch: %v", ranges)
			}
		}
	}
}

func TestFloorHoldsSoManyRanges(t *testing.T) {
	var f Floor
	for i := range MaxForgotten {
		r := Prefix(fmt.Sprintf("%05d", 2*i))
		require.True(t, f.Room(r))
		f.Forget(r)
	}
	assert.False(t, f.Room(Prefix("x")))
	joins := Prefix("00001") // it touches 00000 and 00002
	assert.True(t, f.Room(joins))
	f.Forget(joins)
	assert.Len(t, f.Ranges(), MaxForgotten-1)
	assert.True(t, f.Room(Prefix("x")))
}

// The promise is the highest of the record, the seal and the ranges.
func TestFloorRaises(t *testing.T) {
	var f Floor
	a := Acceptor{Promised: Ballot{7, 1}, Accepted: Ballot{5, 1}, Value: "v"}
	assert.Equal(t, a, f.Raise("lunch", a))
	assert.True(t, f.Promised("lunch").IsZero())
	f.Seal(2)
	f.Seal(1)
	assert.Equal(t, uint64(2), f.Configuration())
	assert.Equal(t, Acceptor{Base(2), a.Accepted, a.Value}, f.Raise("lunch", a))
	above := Acceptor{Promised: Ballot{Base(2).Round + 1, 1}}
	assert.Equal(t, above, f.Raise("lunch", above))
	f.Forget(Prefix("lu"))
	assert.Equal(t, a.Forget(), f.Raise("lunch", a))
	assert.Equal(t, Base(2), f.Promised("dinner"))
}

// A standing ballot is promised for ordinary names alone, and is one promise among the others.
func TestFloorStands(t *testing.T) {
	var f Floor
	f.Stand(Ballot{4, 2})
	f.Stand(Ballot{4, 1})
	assert.Equal(t, Ballot{4, 2}, f.Standing())
	for _, ordinary := range []string{"lunch", "", "#", "%", "a$"} {
		assert.Equal(t, Ballot{4, 2}, f.Promised(ordinary), "%q", ordinary)
	}
	for _, other := range []string{"$", "$1/a", "$2.1.1/a", "$config/1"} {
		assert.True(t, f.Promised(other).IsZero(), "%q", other)
	}
	f.Seal(1)
	assert.Equal(t, Base(1), f.Promised("lunch"))
	above := Ballot{Base(1).Round + 3, 1}
	f.Stand(above)
	assert.Equal(t, above, f.Promised("lunch"))
	assert.Equal(t, Base(1), f.Promised("$1/a"))
	f.Forget(Prefix("lu"))
	assert.True(t, f.Promised("lunch").IsForgotten())
}

// A refusal names the effective promise, and leaves the record as it is. A message that the floor lets through is an ordinary Step.
func TestFloorSteps(t *testing.T) {
	var f Floor
	f.Stand(Ballot{4, 2})
	a := Acceptor{Promised: Ballot{3, 1}, Accepted: Ballot{2, 1}, Value: "v"}
	for _, kind := range []Kind{KindPrepare, KindAccept} {
		next, reply, err := f.Step(a, Message{Kind: kind, Instance: "lunch", Ballot: Ballot{4, 1}, Value: "w"})
		require.NoError(t, err)
		assert.Equal(t, a, next)
		assert.Equal(t, Message{Kind: KindNack, Instance: "lunch", Ballot: Ballot{4, 1}, Promised: Ballot{4, 2}}, reply)
	}
	next, reply, err := f.Step(a, Message{Kind: KindAccept, Instance: "lunch", Ballot: Ballot{4, 2}, Value: "w"})
	require.NoError(t, err)
	assert.Equal(t, Acceptor{Ballot{4, 2}, Ballot{4, 2}, "w"}, next)
	assert.Equal(t, KindAccepted, reply.Kind)
	next, reply, err = f.Step(a, Message{Kind: KindPrepare, Instance: "lunch", Ballot: Ballot{5, 1}})
	require.NoError(t, err)
	assert.Equal(t, Acceptor{Ballot{5, 1}, a.Accepted, a.Value}, next)
	assert.Equal(t, Message{Kind: KindPromise, Instance: "lunch", Ballot: Ballot{5, 1}, Accepted: a.Accepted, Value: a.Value}, reply)
	next, reply, err = f.Step(a, Message{Kind: KindQuery, Instance: "lunch", Ballot: Ballot{5, 1}})
	require.NoError(t, err)
	assert.Equal(t, a, next)
	assert.Zero(t, reply)
	_, _, err = f.Step(a, Message{Kind: KindAccept, Instance: "lunch", Ballot: a.Accepted, Value: "w"})
	assert.ErrorContains(t, err, "two values in one ballot")
}

func TestPrefix(t *testing.T) {
	assert.Equal(t, NameRange{"job/7", "job/8"}, Prefix("job/7"))
	assert.Equal(t, NameRange{"a\xff", "b"}, Prefix("a\xff"))
	for _, prefix := range []string{"", "a", "job/", "é", "\U0010ffff"} {
		r := Prefix(prefix)
		for _, name := range []string{"a", "b", "job", "job/", "job/7", "job0", "é", "éé", "\U0010ffff", "\U0010ffff\U0010ffff", "$1/a"} {
			assert.Equal(t, strings.HasPrefix(name, prefix), r.Has(name), "%q in Prefix(%q)", name, prefix)
		}
	}
}

// The joint quorum is compared with its definition, for all sets of acceptors.
func TestJointQuorum(t *testing.T) {
	weighted, err := Weighted([]int{1, 2, 2})
	require.NoError(t, err)
	flexible, err := Flexible(4, 2, 3)
	require.NoError(t, err)
	for _, c := range []struct {
		before            Quorum
		inBefore, inAfter Set
		after             Quorum
		complete          Set
		acceptors         int
		beforeAt, afterAt []int // positions of the acceptors of each
	}{
		{Majority(3), 0b0111, 0b1110, Majority(3), 0, 4, []int{0, 1, 2}, []int{1, 2, 3}},
		{Majority(3), 0b0111, 0b1110, Majority(3), 0b0100, 4, []int{0, 1, 2}, []int{1, 2, 3}},
		{weighted, 0b01011, 0b11110, flexible, 0b10010, 5, []int{0, 1, 3}, []int{1, 2, 3, 4}},
		{Majority(1), 0b10, 0b01, Majority(1), 0, 2, []int{1}, []int{0}},
	} {
		q, err := Joint(c.before, c.inBefore, c.after, c.inAfter, c.complete)
		require.NoError(t, err)
		require.Equal(t, c.acceptors, q.Size())
		require.NoError(t, CheckQuorum(q))
		pick := func(s Set, at []int) (picked Set) {
			for i, position := range at {
				if s.Has(position) {
					picked = picked.With(i)
				}
			}
			return picked
		}
		for s := Set(0); s <= All(c.acceptors); s++ {
			before, after := pick(s, c.beforeAt), pick(s, c.afterAt)
			require.Equal(t, c.after.Phase1(after) && (c.before.Phase1(before) || s&c.complete != 0), q.Phase1(s), "%v of %v", s, q)
			require.Equal(t, c.after.Phase2(after), q.Phase2(s), "%v of %v", s, q)
		}
	}
}

func TestJointQuorumRefuses(t *testing.T) {
	for want, f := range map[string]func() (Quorum, error){
		"leave gaps":                      func() (Quorum, error) { return Joint(Majority(1), 0b001, Majority(1), 0b100, 0) },
		"{0} has 1 positions":             func() (Quorum, error) { return Joint(Majority(2), 0b01, Majority(1), 0b10, 0) },
		"{1} has 1 positions":             func() (Quorum, error) { return Joint(Majority(1), 0b01, Majority(2), 0b10, 0) },
		"complete {0} are not all in {1}": func() (Quorum, error) { return Joint(Majority(1), 0b01, Majority(1), 0b10, 0b01) },
	} {
		q, err := f()
		assert.Nil(t, q)
		assert.ErrorContains(t, err, want)
	}
}

// Two acceptors may have imported different values for the base of a configuration. Nothing was chosen below it then, and the
// attempt asks for one of the values. In any other ballot two values prove that a server broke the protocol.
func TestPromisesOfABaseMayDiffer(t *testing.T) {
	b := Ballot{Base(1).Round + 5, 1}
	of := func(accepted Ballot, v Value) Message {
		return Message{Kind: KindPromise, Ballot: b, Accepted: accepted, Value: v}
	}
	for _, accepted := range []Ballot{Base(1), {Base(1).Round + 1, 2}} {
		p, _, err := NewProposer(b, "own", Majority(3)).Step(0, of(accepted, "x"))
		require.NoError(t, err)
		_, accept, err := p.Step(1, of(accepted, "y"))
		if accepted == Base(1) {
			require.NoError(t, err)
			assert.Equal(t, Value("x"), accept.Value)
		} else {
			assert.ErrorAs(t, err, new(*SafetyError))
		}
	}
}

// No range forgets the names that servers keep for themselves, and the ranges to be dropped leave them out.
func TestRangesLeaveOutWhatServersKeep(t *testing.T) {
	kept := []string{"$", "$ready", "$config/1", "$forgotten/0", "$!x", "$~"}
	other := []string{"\x20", "#x", "$1/tx", "$9.1.1/", "%", "lunch", "\u00e9"}
	var f Floor
	f.Forget(Prefix(""))
	for _, names := range []NameRange{Prefix(""), {"$", "%"}, {"#", "$c"}, {"$5", "$forgotten/00"}, Prefix("lu"), {"$ready", "$t"}} {
		for i, name := range append(slices.Clone(kept), other...) {
			in := slices.ContainsFunc(names.Instances(), func(r NameRange) bool { return r.Has(name) })
			assert.Equal(t, names.Has(name) && i >= len(kept), in, "%q in %s", name, names)
			_, forgotten := f.Forgotten(name)
			assert.Equal(t, i >= len(kept), forgotten, "%q", name)
		}
	}
}

func TestNameRange(t *testing.T) {
	for _, r := range []NameRange{{"a", "b"}, Prefix("job/7"), OneName("lunch"), Prefix(""), {"a\xff\n\"", "\u00e9"}, OneName(Owned(7, "x"))} {
		require.NoError(t, r.Check(), r)
		back, err := ParseNameRange(r.String())
		require.NoError(t, err)
		assert.Equal(t, r, back)
		for end := range len(r.String()) {
			_, err := ParseNameRange(r.String()[:end])
			require.Error(t, err, r.String()[:end])
		}
		_, err = ParseNameRange(r.String() + " ")
		require.Error(t, err)
	}
	for text, want := range map[string]string{
		`"b" "a"`: "is empty", `"" ""`: "is empty", `"a"  "b"`: "two quoted", `a b`: "two quoted", `"$x" "$x\x00"`: "reserved", `"\x61" "b"`: "two quoted",
		NameRange{strings.Repeat("a", MaxName+2), "b"}.String(): "257 bytes",
	} {
		_, err := ParseNameRange(text)
		require.ErrorContains(t, err, want, text)
	}
	assert.Equal(t, `"caf\u00e9" "\U0001fae9\xff"`, NameRange{"caf\u00e9", "\U0001fae9\xff"}.String(), "what is stored and sent")
	name, ok := OneName("a").One()
	assert.True(t, ok)
	assert.Equal(t, "a", name)
	_, ok = NameRange{"a", "b"}.One()
	assert.False(t, ok)
	_, ok = NameRange{"a", "aa"}.One()
	assert.False(t, ok)
	assert.True(t, Prefix("a").Covers(OneName("ab")))
	assert.False(t, Prefix("ab").Covers(OneName("a")))
	assert.True(t, NameRange{"a", "c"}.Meets(NameRange{"b", "d"}))
	assert.False(t, NameRange{"a", "b"}.Meets(NameRange{"b", "d"}))
}
