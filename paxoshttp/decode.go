package paxoshttp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/singledecree/paxos"
)

// parseProposal takes one JSON object with the fields of a proposal, spelt as they are, each at most once, and nothing after it.
// Package json alone takes more: it puts U+FFFD in the place of what is not UTF-8, and the last of two equal fields counts.
func parseProposal(body []byte) (name string, value paxos.Value, err error) {
	if err := checkText(body); err != nil {
		return "", "", fmt.Errorf(`%w: a value of other bytes goes into "base64"`, err)
	}
	in := json.NewDecoder(bytes.NewReader(body))
	fields, err := readFields(in)
	if err != nil {
		return "", "", err
	}
	if _, err := in.Token(); err != io.EOF {
		return "", "", errors.New("something follows the proposal: send one at a time")
	}
	text, isText := fields["value"]
	encoded, isEncoded := fields["base64"]
	name, named := fields["name"]
	switch {
	case !named:
		return "", "", errors.New("name: it is missing")
	case isText && isEncoded:
		return "", "", errors.New("value, base64: both are given: a proposal has one value")
	case isText:
		return name, paxos.Value(text), nil
	case !isEncoded:
		return "", "", errors.New(`value: it is missing; an empty one is ""`)
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", "", fmt.Errorf("base64: %w", err)
	}
	return name, paxos.Value(decoded), nil
}

// checkText returns an error if package json would change the text.
func checkText(body []byte) error {
	switch {
	case !utf8.Valid(body):
		return errors.New("it is not valid UTF-8")
	case hasHalfEscape(body):
		return errors.New(`it holds half of a \u pair, which is no character`)
	}
	return nil
}

// readFields reads an object of strings.
func readFields(in *json.Decoder) (map[string]string, error) {
	fields := map[string]string{}
	_, err := readObject(in, func(field string) error {
		if field != "name" && field != "value" && field != "base64" {
			return fmt.Errorf("unknown field %q: want name, and value or base64", shorten(field))
		}
		token, err := in.Token()
		if err != nil {
			return unexpected(err)
		}
		text, ok := token.(string)
		if !ok {
			return fmt.Errorf("%s: it is not a string", field)
		}
		fields[field] = text
		return nil
	})
	return fields, err
}

// readObject reads an object, in which no field comes twice. It calls read for the value of each field.
func readObject(in *json.Decoder, read func(field string) error) (given map[string]bool, err error) {
	open, err := in.Token()
	switch {
	case err == io.EOF:
		return nil, errors.New("it is empty")
	case err != nil:
		return nil, err
	case open != json.Delim('{'):
		return nil, errors.New("it is not a JSON object")
	}
	given = map[string]bool{}
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return nil, unexpected(err)
		}
		field, _ := token.(string) // package json takes nothing else here
		if given[field] {
			return nil, fmt.Errorf("%s: it is given twice", shorten(field))
		}
		given[field] = true
		if err := read(field); err != nil {
			return nil, err
		}
	}
	if _, err := in.Token(); err != nil { // the end of the object
		return nil, unexpected(err)
	}
	return given, nil
}

// unexpected returns err, or the error of a text that ends too early.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// shorten cuts what a client sent to the length that an error can show.
func shorten(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// hasHalfEscape reports whether JSON text has \uD800 to \uDFFF that is not a pair. In JSON a backslash is always part of an escape.
func hasHalfEscape(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++ // the escaped character
		unit, ok := escaped(text[i:])
		switch {
		case !ok || unit < 0xd800 || unit > 0xdfff:
			continue
		case unit >= 0xdc00 || i+6 > len(text) || text[i+5] != '\\':
			return true
		}
		low, ok := escaped(text[i+6:])
		if !ok || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 6
	}
	return false
}

// escaped returns the number that "uXXXX" at the start of text stands for.
func escaped(text []byte) (unit uint64, ok bool) {
	if len(text) < 5 || text[0] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[1:5]), 16, 16)
	return unit, err == nil
}

// checkContentType returns an error unless the body is JSON, which is UTF-8.
func checkContentType(header string) error {
	kind, parameters, err := mime.ParseMediaType(header)
	switch {
	case err != nil && header != "":
		return coded(CodeContentType, fmt.Errorf("Content-Type: %w", err))
	case kind != "application/json":
		return coded(CodeContentType, errors.New("Content-Type: want application/json"))
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return coded(CodeContentType, fmt.Errorf("Content-Type: charset %q: JSON is UTF-8", charset))
	}
	return nil
}

// A query has the parameters of a request.
type query struct{ values url.Values }

// parseQuery takes a query in which each parameter is known, and given once. Those in many may be given more often.
func parseQuery(raw string, known []string, many ...string) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return query{}, malformed("query: %w", err)
	}
	for name, given := range values {
		switch {
		case slices.Contains(many, name):
			if len(given) > maxRanges {
				return query{}, malformed("%s: it is given %d times, at most %d are allowed", name, len(given), maxRanges)
			}
		case !slices.Contains(known, name):
			return query{}, malformed("query: unknown parameter %q: want %s", shorten(name), strings.Join(slices.Concat(known, many), ", "))
		case len(given) > 1:
			return query{}, malformed("%s: it is given %d times", name, len(given))
		}
	}
	return query{values}, nil
}

// maxRanges is the most ranges of names of one watch.
const maxRanges = 64

// given returns a parameter; empty: it is not given. One that is there and empty is an error, as that of a variable that is not set.
func (q query) given(name string) (string, error) {
	text := q.values.Get(name)
	if text == "" && q.values.Has(name) {
		return "", malformed("%s: it is empty", name)
	}
	return text, nil
}

// timeout returns the time that the call may take: at most most, which is also the default.
func (q query) timeout(most time.Duration) (time.Duration, error) {
	text, err := q.given("timeout")
	if text == "" {
		return most, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, malformed("timeout: %q is not a positive duration", shorten(text))
	}
	return min(d, most), nil
}

// number returns a parameter that is a number; 0: it is not given.
func (q query) number(name string, base int) (uint64, error) {
	text, err := q.given(name)
	if text == "" {
		return 0, err
	}
	n, err := strconv.ParseUint(text, base, 64)
	if err != nil {
		return 0, malformed("%s: %q is not a number of base %d and 64 bits", name, shorten(text), base)
	}
	return n, nil
}

// ranges returns the names of a watch: its prefixes, and its ranges from one name to below another. Without any it is all names.
func (q query) ranges() (all []paxos.NameRange, err error) {
	for _, prefix := range q.values["prefix"] {
		all = append(all, paxos.Prefix(prefix))
	}
	from, to := q.values["from"], q.values["to"]
	if len(from) != len(to) {
		return nil, malformed("from, to: %d of one and %d of the other are given: want pairs", len(from), len(to))
	}
	for i := range from {
		all = append(all, paxos.NameRange{From: from[i], To: to[i]})
	}
	if len(all) > maxRanges {
		return nil, malformed("prefix, from, to: %d ranges: want at most %d", len(all), maxRanges)
	}
	return all, nil
}

// forgets returns the names that a forget is about.
func (q query) forgets() (paxos.NameRange, error) {
	given := []bool{q.values.Has("name"), q.values.Has("prefix"), q.values.Has("from") || q.values.Has("to")}
	switch {
	case !slices.Contains(given, true) || slices.Index(given, true) != lastIndex(given):
		return paxos.NameRange{}, malformed("name, prefix: want one of them, or from and to")
	case given[0]:
		return paxos.OneName(q.values.Get("name")), nil
	case given[1]:
		prefix, err := q.given("prefix")
		if err != nil {
			err = malformed("%w: all names are from= to to=%%FF", err)
		}
		return paxos.Prefix(prefix), err
	case !q.values.Has("from") || !q.values.Has("to"):
		return paxos.NameRange{}, malformed("from, to: one is missing: want both")
	}
	return paxos.NameRange{From: q.values.Get("from"), To: q.values.Get("to")}, nil
}

// lastIndex returns the last place of true, or -1.
func lastIndex(given []bool) int {
	for i := len(given) - 1; i >= 0; i-- {
		if given[i] {
			return i
		}
	}
	return -1
}
