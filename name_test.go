package paxos

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
