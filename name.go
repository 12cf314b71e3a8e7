package paxos

import (
	"fmt"
	"strconv"
	"strings"
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
	}
	if flaw := textFlaw(name); flaw != "" {
		return nameError(fmt.Sprintf("name %q %s", name, flaw))
	}
	return nil
}

// textFlaw says what is wrong with the bytes of s, as a line of text. It is empty if nothing is.
func textFlaw(s string) string {
	switch {
	case printable(s):
		return ""
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a control character"
	}
	return ""
}

// A nameError says what is wrong with a name. It wraps ErrName.
type nameError string

func (e nameError) Error() string { return string(e) }

func (e nameError) Unwrap() error { return ErrName }

// printable reports whether all bytes of name are printable ASCII. Nearly all names are, and each message has one. So it looks at eight
// bytes at a time: the highest bit of one is set if it is above 127, or will be if it is 127 and one is added, or below ' ' and that is
// taken away.
func printable(name string) bool {
	const each = 0x0101010101010101
	for ; len(name) >= 8; name = name[8:] {
		w := uint64(name[0]) | uint64(name[1])<<8 | uint64(name[2])<<16 | uint64(name[3])<<24 |
			uint64(name[4])<<32 | uint64(name[5])<<40 | uint64(name[6])<<48 | uint64(name[7])<<56
		if (w|(w+each)|(w-' '*each))&(0x80*each) != 0 {
			return false
		}
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// A NameRange is the range of instance names From <= name < To, in byte order.
type NameRange struct{ From, To string }

// Prefix returns the range of all names that begin with prefix. The prefix "" gives the range of all names.
func Prefix(prefix string) NameRange {
	for end := []byte(prefix); len(end) > 0; end = end[:len(end)-1] {
		if last := &end[len(end)-1]; *last < 0xff {
			*last++
			return NameRange{prefix, string(end)}
		}
	}
	return NameRange{prefix, "\xff"} // above all names, which are UTF-8
}

// OneName returns the range that holds only that name.
func OneName(name string) NameRange { return NameRange{name, name + "\x00"} }

// One returns the name in r, if r is the range of one name: see [OneName].
func (r NameRange) One() (name string, ok bool) {
	return r.From, len(r.To) == len(r.From)+1 && r.To[:len(r.From)] == r.From && r.To[len(r.From)] == 0
}

// Has reports whether the name is in r.
func (r NameRange) Has(name string) bool { return r.From <= name && name < r.To }

// Covers reports whether all names of s are in r.
func (r NameRange) Covers(s NameRange) bool {
	return s.From >= s.To || r.From <= s.From && s.To <= r.To
}

// Meets reports whether r and s have a name in common.
func (r NameRange) Meets(s NameRange) bool { return max(r.From, s.From) < min(r.To, s.To) }

// String returns the text form of r: its two bounds, quoted as in Go, in ASCII. It is the same in every version of Go.
func (r NameRange) String() string {
	b := make([]byte, 0, len(r.From)+len(r.To)+5)
	b = append(strconv.AppendQuoteToASCII(b, r.From), ' ')
	return string(strconv.AppendQuoteToASCII(b, r.To))
}

// isInternal reports whether servers keep the name for themselves. It begins with "$", and no number follows, so no call can
// use it.
func isInternal(name string) bool {
	return len(name) > 0 && name[0] == '$' && (len(name) == 1 || name[1]-'0' > 9)
}

// Instances returns r without the names that servers keep for themselves. These are the names that begin with "$", and that
// no number follows. The result has at most three ranges.
func (r NameRange) Instances() (all []NameRange) {
	for _, part := range []NameRange{{"", "$"}, {"$0", "$:"}, {"%", ""}} {
		part.From = max(part.From, r.From)
		if part.To == "" || r.To < part.To {
			part.To = r.To
		}
		if part.From < part.To {
			all = append(all, part)
		}
	}
	return all
}

// A ForgottenError says that an instance was forgotten, and which names were forgotten with it. It wraps [ErrForgotten].
type ForgottenError struct {
	Names NameRange // as far as this server knows; it may have grown since
}

// Error names the instance, or the bounds of the range.
func (e *ForgottenError) Error() string {
	if name, ok := e.Names.One(); ok {
		return fmt.Sprintf("instance %q is forgotten", name)
	}
	return fmt.Sprintf("instance is forgotten: all names from %q to below %q are", e.Names.From, e.Names.To)
}

// Unwrap returns ErrForgotten.
func (e *ForgottenError) Unwrap() error { return ErrForgotten }
