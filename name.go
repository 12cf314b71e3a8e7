package paxos

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// MaxName is the most bytes of an instance name. A name is valid UTF-8 without control characters; names that begin with
// "$" are reserved, but for those that Owned and Mint make.
const MaxName = 255

// CheckName returns an error that says what is wrong with the name of an instance or a cluster, or nil. For errors.Is it is ErrName.
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

// A nameError says what is wrong with a name. For errors.Is it is ErrName.
type nameError string

func (e nameError) Error() string { return string(e) }

func (e nameError) Unwrap() error { return ErrName }

// printable reports whether all of name is printable ASCII, as it is nearly always.
func printable(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
