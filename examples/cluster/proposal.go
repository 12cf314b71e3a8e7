package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A decision is for ever. So a request that may mean something else than it says is refused, with words, and nothing is decided.

// A proposal is what a client sends: a name, and a value in one of two forms.
type proposal struct {
	Name   string  `json:"name"`
	Value  *string `json:"value,omitempty"`  // text
	Base64 *[]byte `json:"base64,omitempty"` // any bytes
}

// newProposal offers value in the form that holds it.
func newProposal(name, value string) proposal {
	text, bytes := split(value)
	if bytes != nil {
		return proposal{Name: name, Base64: &bytes}
	}
	return proposal{Name: name, Value: &text}
}

// maxProposal is more than a value of 1 MiB takes in JSON, even if it is all escapes.
const maxProposal = 8 << 20

// readProposal reads the body of a propose. An error says what is wrong with it.
func readProposal(w http.ResponseWriter, r *http.Request) (name, value string, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxProposal))
	if err == nil {
		name, value, err = parseProposal(body)
	}
	if err != nil {
		return "", "", fmt.Errorf("body: %w", err)
	}
	return name, value, nil
}

// parseProposal takes one JSON object with the fields of a proposal, spelt as they are, each at most once, and nothing after it.
// Package json alone takes more: it puts U+FFFD in the place of what is not UTF-8, and the last of two equal fields counts.
func parseProposal(body []byte) (name, value string, err error) {
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
	coded, isCoded := fields["base64"]
	name, named := fields["name"]
	switch {
	case !named:
		return "", "", errors.New("name: it is missing")
	case isText && isCoded:
		return "", "", errors.New("value, base64: both are given: a proposal has one value")
	case isText:
		return name, text, nil
	case !isCoded:
		return "", "", errors.New(`value: it is missing; an empty one is ""`)
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(coded)
	if err != nil {
		return "", "", fmt.Errorf("base64: %w", err)
	}
	return name, string(decoded), nil
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
			return fmt.Errorf("unknown field %q: want name, and value or base64", field)
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
			return nil, fmt.Errorf("%s: it is given twice", field)
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
		return fmt.Errorf("Content-Type: %w", err)
	case kind != "application/json":
		return errors.New("Content-Type: want application/json")
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return fmt.Errorf("Content-Type: charset %q: JSON is UTF-8", charset)
	}
	return nil
}

// readQuery parses the query of a request, in which each parameter is known and given once.
func readQuery(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	for name, values := range query {
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("query: unknown parameter %q: want %s", name, strings.Join(known, ", "))
		case len(values) > 1:
			return nil, fmt.Errorf("%s: it is given %d times", name, len(values))
		}
	}
	return query, nil
}
