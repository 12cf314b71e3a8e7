package explore

import (
	"flag"
	"slices"
	"testing"
)

var profile = flag.String("explore", "small", "which state spaces to explore: small, ci or long")

// How large a space is: the profile that it belongs to. With -short, or with -race, only the tiny ones are explored.
const (
	Tiny = iota
	Small
	CI
	Long
)

// Asked returns the profile that was asked for.
func Asked(t *testing.T) int {
	t.Helper()
	asked := slices.Index([]string{Small: "small", CI: "ci", Long: "long"}, *profile)
	if asked < Small {
		t.Fatalf("-explore=%s: want small, ci or long", *profile)
	}
	return asked
}

// Fits skips the test if its space is too large for the profile.
func Fits(t *testing.T, size int) {
	t.Helper()
	largest := Asked(t)
	if testing.Short() || Race {
		largest = Tiny
	}
	if size > largest {
		t.Skip("too large for this profile: see -explore")
	}
}
