package paxos

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOwnedNames(t *testing.T) {
	assert.Equal(t, "$1/lunch", Owned(1, "lunch"))
	assert.Equal(t, "$18446744073709551615/a/b", Owned(math.MaxUint64, "a/b"))
	for name, want := range map[string]Owner{
		"$1/lunch":       {1, 0},
		"$10/lunch":      {10, 0},
		"$1/$2/x":        {1, 0},
		"$1/ ":           {1, 0},
		"$1/2.3/x":       {1, 0},
		"$1.5.7/lunch":   {1, 5},
		"$1.5.7/":        {1, 5},
		"$3.10.100/$1/x": {3, 10},
		"$18446744073709551615.18446744073709551615.18446744073709551615/x": {math.MaxUint64, math.MaxUint64},
	} {
		got, ok := OwnerOf(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, got, name)
		assert.NoError(t, CheckInstance(name), name)
		assert.True(t, OwnsRound(Ballot{0, want.Server}, name), name)
		for _, b := range []Ballot{{0, want.Server - 1}, {0, want.Server + 1}, {1, want.Server}, {0, ServerID(want.Boot)}} {
			assert.Equal(t, b == Ballot{0, want.Server}, OwnsRound(b, name), "%s %s", b, name)
		}
	}
}

// Whatever is not exactly what Owned or Mint writes names no owner, and stays reserved: an instance has one spelling.
func TestOwnedNamesHaveOneSpelling(t *testing.T) {
	for _, name := range []string{
		"$", "$/", "$/x", "$1", "$1/", "$0/x", "$01/x", "$+1/x", "$-1/x", "$ 1/x", "$1 /x", "$1_0/x", "$0x1/x", "$1e1/x", "$x/x", "$1x/x", "$1.0/x",
		"$18446744073709551616/x", "$99999999999999999999999/x", "$\u0661/x",
		"$1.5/x", "$1.5.7", "$1.5./x", "$1..7/x", "$.5.7/x", "$0.5.7/x", "$1.0.7/x", "$1.5.0/x", "$1.05.7/x", "$1.5.07/x", "$1.5.7.9/x",
		"$1.5.7x/x", "$1.5.18446744073709551616/x", "$1,5,7/x", "$1.5.7 /x", "$$1/x", "$ready", "$conf/1",
	} {
		_, ok := OwnerOf(name)
		assert.False(t, ok, name)
		assert.ErrorContains(t, CheckInstance(name), "begins with $, which is reserved", name)
		assert.False(t, OwnsRound(Ballot{0, 1}, name), name)
	}
	for _, name := range []string{"", "1/x", "a$1/x", " $1/x", "x"} {
		_, ok := OwnerOf(name)
		assert.False(t, ok, name)
	}
	assert.ErrorIs(t, CheckInstance(Owned(1, strings.Repeat("x", MaxName))), ErrTooLarge)
	assert.ErrorContains(t, CheckInstance(Owned(1, "a\nb")), "control character")
	assert.ErrorContains(t, CheckInstance(Owned(1, "\xff")), "not valid UTF-8")
	assert.ErrorContains(t, CheckInstance(Owned(0, "x")), "reserved")
	assert.ErrorContains(t, CheckInstance(Owned(1, "")), "reserved")
}

// FuzzOwnerOf: a name that is read as an owned one is written again as the same name, and as no other kind of name.
func FuzzOwnerOf(f *testing.F) {
	for _, name := range []string{"$1/x", "$1/", "$1.2.3/x", "$1.2.3/", "$01/x", "$1.2/x", "$1.2.3.4/x", "$ready", "x", "$18446744073709551615.1.1/\xff"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		o, ok := OwnerOf(name)
		if !ok {
			require.Zero(t, o)
			return
		}
		head, rest, _ := strings.Cut(name, "/")
		require.NotZero(t, o.Server)
		if o.Boot == 0 {
			require.Equal(t, Owned(o.Server, rest), name)
			return
		}
		parts := strings.Split(head, ".")
		require.Len(t, parts, 3)
		count, _, ok := cutNumber(parts[2])
		require.True(t, ok)
		require.Equal(t, mintedName(o.Server, o.Boot, count, rest), name)
	})
}

// Whatever byte stands at whatever place of a name of whatever length, it is looked at.
func TestPrintableLooksAtEachByte(t *testing.T) {
	for length := range 20 {
		require.True(t, printable(strings.Repeat(" ", length)), "%d blanks", length)
		require.True(t, printable(strings.Repeat("~", length)), "%d tildes", length)
		for at := range length {
			for c := range 256 {
				for _, fill := range []string{" ", "~"} {
					name := strings.Repeat(fill, at) + string([]byte{byte(c)}) + strings.Repeat(fill, length-at-1)
					require.Equal(t, c >= ' ' && c <= '~', printable(name), "%q", name)
				}
			}
		}
	}
}

// A name that is refused is shown, and its flaw is told.
func TestCheckNameTellsTheFlaw(t *testing.T) {
	for name, flaw := range map[string]string{
		"":                             "name is empty",
		"a line\n, and another":        "has a control character",
		"\x7f":                         "has a control character",
		"half a letter: \xc3":          "is not valid UTF-8",
		strings.Repeat("n", MaxName+1): fmt.Sprintf("name has %d bytes, at most %d are allowed", MaxName+1, MaxName),
	} {
		err := CheckName(name)
		require.ErrorIs(t, err, ErrName)
		require.ErrorContains(t, err, flaw)
	}
	for _, name := range []string{"a", "déjeuner", "昼食 of today", strings.Repeat("n", MaxName)} {
		require.NoError(t, CheckName(name))
	}
}
