package paxos

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// MaxName is the most bytes of an instance name. A name is valid UTF-8 without control characters. Names that begin with "$"
// are reserved, except those that [Owned] and Node.Mint make.
const MaxName = 255

// CheckName returns nil if name is a valid name of an instance or a cluster. Else the error says what is wrong with it, and
// wraps [ErrName]. The error of a name that is too long also wraps [ErrTooLarge].
func CheckName(name string) error {
	switch {
	case name == "":
		return nameError("name is empty")
	case len(name) > MaxName:
		return fmt.Errorf("%w: %w", nameError(fmt.Sprintf("name has %d bytes, at most %d are allowed", len(name), MaxName)), ErrTooLarge)
	case printable(name):
		return nil
	case !utf8.ValidString(name):
		return nameError(fmt.Sprintf("name %q is not valid UTF-8", name))
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return nameError(fmt.Sprintf("name %q has a control character", name))
		}
	}
	return nil
}

// A nameError says what is wrong with a name. It wraps ErrName.
type nameError string

func (e nameError) Error() string { return string(e) }

func (e nameError) Unwrap() error { return ErrName }

// printable reports whether all bytes of name are printable ASCII. Nearly all names are.
func printable(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
