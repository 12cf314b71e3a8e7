package paxos

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MarshalJSON returns a JSON string if v is valid UTF-8, else {"base64": "…"}. Package encoding/json alone would put U+FFFD in
// place of other bytes, and so make another value. The error is always nil.
func (v Value) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(v)) {
		return json.Marshal(string(v))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString([]byte(v))})
}

// UnmarshalJSON reads both forms that [Value.MarshalJSON] writes, in any spelling of JSON. A string with invalid UTF-8 or half
// a surrogate pair is an error, because encoding/json would change it. Null changes nothing, as everywhere in encoding/json.
// After an error v is as before.
func (v *Value) UnmarshalJSON(data []byte) error {
	var s *string
	if err := json.Unmarshal(data, &s); err == nil {
		if s == nil {
			return nil
		}
		if !utf8.Valid(data) || hasHalfSurrogate(data) {
			return errors.New("paxos: value: the string is not valid Unicode: want base64")
		}
		*v = Value(*s)
		return nil
	}
	var object map[string]*string
	err := json.Unmarshal(data, &object)
	s = object["base64"]
	if err != nil || s == nil || len(object) != 1 {
		return errors.New(`paxos: value: want a string or {"base64": "…"}`)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(*s)
	if err != nil {
		return fmt.Errorf("paxos: value: %w", err)
	}
	*v = Value(b)
	return nil
}

// hasHalfSurrogate reports whether a valid JSON string has a \u escape of a surrogate without its pair.
func hasHalfSurrogate(s []byte) bool {
	for i := 0; i < len(s); {
		switch {
		case s[i] != '\\':
			i++
		case s[i+1] != 'u':
			i += 2
		case !utf16.IsSurrogate(escaped(s[i:])):
			i += 6
		case utf16.DecodeRune(escaped(s[i:]), escaped(s[i+6:])) == utf8.RuneError:
			return true
		default:
			i += 12
		}
	}
	return false
}

// escaped returns the rune of the escape that s begins with, in the form \u1234, or -1.
func escaped(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	r, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(r)
}
