package paxos

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// extremeBallots pairs rounds and servers at and around every edge at which a packed, signed or truncated number breaks.
func extremeBallots() (all []Ballot) {
	edges := []uint64{0, 1, 2, 1<<32 - 1, 1 << 32, MaxRound - 1, MaxRound, MaxRound + 1,
		1<<63 - 1, 1 << 63, math.MaxUint64 - 1, math.MaxUint64}
	for _, round := range edges {
		for _, server := range edges {
			all = append(all, Ballot{round, ServerID(server)})
		}
	}
	return all
}

// dumbCompare is a second implementation: one 128-bit number, the round above the server.
func dumbCompare(b, c Ballot) int {
	number := func(b Ballot) *big.Int {
		n := new(big.Int).Lsh(new(big.Int).SetUint64(b.Round), 64)
		return n.Add(n, new(big.Int).SetUint64(uint64(b.Server)))
	}
	return number(b).Cmp(number(c))
}

// P8 and P29: packed ballots and subtractions that overflow gave orders that were none, and an == of their own.
func TestBallotOrderIsTotalAndAgreesWithEquality(t *testing.T) {
	for _, b := range extremeBallots() {
		for _, c := range extremeBallots() {
			got := b.Compare(c)
			// One comparison by hand for all, since 20,000 calls of assert take seconds.
			if got != dumbCompare(b, c) || got != -c.Compare(b) || (got == 0) != (b == c) || (got < 0) != b.Less(c) {
				t.Fatalf("%v and %v: Compare %d, reversed %d, == %t, Less %t; want %d",
					b, c, got, c.Compare(b), b == c, b.Less(c), dumbCompare(b, c))
			}
		}
	}
}

func TestBallotOrderIsTransitive(t *testing.T) {
	all := extremeBallots()
	for _, a := range all {
		for _, b := range all {
			if !a.Less(b) {
				continue
			}
			for _, c := range all {
				if b.Less(c) && !a.Less(c) {
					t.Fatalf("%v < %v < %v, but not %v < %v", a, b, c, a, c)
				}
			}
		}
	}
}

// S6: a ballot is ordered by its round; the server breaks ties.
func TestBallotIsOrderedByRoundThenServer(t *testing.T) {
	assert.True(t, Ballot{1, 9}.Less(Ballot{2, 1}))
	assert.True(t, Ballot{2, 1}.Less(Ballot{2, 2}))
	assert.False(t, Ballot{2, 2}.Less(Ballot{2, 2}))
	assert.Equal(t, uint64(281_474_976_710_655), uint64(MaxRound))
}

func TestZeroBallotMeansNone(t *testing.T) {
	assert.True(t, Ballot{}.IsZero())
	assert.Equal(t, "-", Ballot{}.String())
	assert.False(t, Ballot{0, 1}.IsZero(), "round 0 with a server is a real ballot")
	assert.Equal(t, "0.1", Ballot{0, 1}.String())
	for _, b := range extremeBallots() {
		assert.Equal(t, b == Ballot{}, b.IsZero())
		if !b.IsZero() {
			assert.True(t, Ballot{}.Less(b), "none is below %v", b)
		}
	}
}

func TestBallotTextRoundTrip(t *testing.T) {
	for _, b := range extremeBallots() {
		got, err := ParseBallot(b.String())
		require.NoError(t, err)
		require.Equal(t, b, got)
	}
	for text, b := range map[string]Ballot{
		"2.1":                      {2, 1},
		"281474976710655.9":        {MaxRound, 9},
		"c1:0.1":                   {1 << 48, 1},
		"c3:0.0":                   Base(3),
		"c3:2.1":                   {3<<48 + 2, 1},
		"c65534:281474976710655.7": {(MaxConfiguration+1)<<48 - 1, 7},
		"c65535:281474976710655.18446744073709551614": {math.MaxUint64, math.MaxUint64 - 1},
		"forgotten": {math.MaxUint64, math.MaxUint64},
	} {
		assert.Equal(t, text, b.String())
		got, err := ParseBallot(text)
		assert.NoError(t, err, text)
		assert.Equal(t, b, got, text)
	}
	assert.Equal(t, uint64(MaxConfiguration), Ballot{(MaxConfiguration+1)<<48 - 1, 7}.Configuration())
}

var badBallots = []string{
	"", "1", "1.", ".1", ".", "0.0", "--", "-1.1", "1.-1", "+1.1", "01.1", "1.01", "1.1.1", " 1.1", "1.1 ", "1 .1", "1,1",
	"1.1\n", "0x1.1", "1_0.1", "1e1.1", "١.١", "18446744073709551616.1", "1.18446744073709551616", "99999999999999999999999.1", "none",
	"281474976710656.1", "c0:2.1", "c1:", "c1:2", "c1", "c", "c:2.1", "c01:2.1", "c+1:2.1", "C1:2.1", "c1:281474976710656.1", "c1:-", "c1:01.1",
	"c65536:2.1", "c65535:281474976710655.18446744073709551615", "c1.1:2", "c1:c1:2.1", "1:2.1", "Forgotten", "forgotten ", "c0:0.0",
}

func TestParseBallotRefusesAllElse(t *testing.T) {
	for _, s := range badBallots {
		b, err := ParseBallot(s)
		assert.ErrorContains(t, err, "want ROUND.SERVER in decimal, or -", "%q", s)
		assert.Zero(t, b, "%q", s)
	}
}

func TestBallotTextInJSON(t *testing.T) {
	out, err := json.Marshal(map[Ballot]Ballot{{2, 1}: {}})
	require.NoError(t, err)
	assert.JSONEq(t, `{"2.1": "-"}`, string(out))
	var back map[Ballot]Ballot
	require.NoError(t, json.Unmarshal(out, &back))
	assert.Equal(t, map[Ballot]Ballot{{2, 1}: {}}, back)

	b := Ballot{7, 7}
	assert.Error(t, b.UnmarshalText([]byte("7")))
	assert.Equal(t, Ballot{7, 7}, b, "an error leaves it unchanged")
}

func FuzzBallotText(f *testing.F) {
	for _, b := range extremeBallots() {
		f.Add(b.String())
	}
	for _, s := range badBallots {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBallot(s)
		if err != nil {
			require.Zero(t, b)
			return
		}
		require.Equal(t, s, b.String())
	})
}
