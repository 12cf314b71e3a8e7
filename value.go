package paxos

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
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

// A Register has the calls on which typed values stand. A Node of package node is one, and so is any client of one.
type Register interface {
	Propose(ctx context.Context, instance string, v Value) (Decision, error)
	Read(ctx context.Context, instance string) (d Decision, ok bool, err error)
	Wait(ctx context.Context, instance string) (Decision, error)
}

// A Codec turns values of T into bytes and back. A nil function means that of encoding/json. Both functions must be safe for
// concurrent use. Decode gets whatever bytes were decided, and must not panic on any.
type Codec[T any] struct {
	Encode func(T) (Value, error)
	Decode func(Value) (T, error)
}

// Typed makes the calls of a Register with values of T. It is a value, safe for concurrent use if its Register is.
type Typed[T any] struct {
	on    Register
	codec Codec[T]
}

// TypedOf returns the calls of a Register, such as a Node, with values of T. Their bytes are JSON, or those of the codec, if one
// is given:
//
//	configs := paxos.TypedOf[Config](server)
//	d, err := configs.Propose(ctx, "config/7", Config{Debug: true})
//
// All that propose or read an instance must use one format. JSON forgives new and missing fields; strings that are not UTF-8 do
// not survive it.
func TypedOf[T any](on Register, codec ...Codec[T]) Typed[T] {
	t := Typed[T]{on: on}
	for _, c := range codec {
		t.codec = c
	}
	return t
}

// A TypedDecision is a Decision and its value as a T.
type TypedDecision[T any] struct {
	Decision
	Content T
	// Same says that the bytes that Propose offered were chosen. Bytes are compared, and never contents. So it means that this
	// caller won only if the content has something that no other caller has, such as a nonce. Read and Wait leave it false.
	Same bool
}

// Propose is that of the Register, with the bytes of content. If content can't be encoded, nothing was proposed, and Unknown of the
// error is false. If something else is decided that can't be decoded, the error wraps [ErrDecode] and names the
// instance. The Decision is in the result then, too.
func (t Typed[T]) Propose(ctx context.Context, instance string, content T) (TypedDecision[T], error) {
	v, err := t.encode(content)
	if err != nil {
		return TypedDecision[T]{}, &OpError{Op: "propose", Instance: instance, Err: fmt.Errorf("encode %v: %w", reflect.TypeFor[T](), err), Unsent: true}
	}
	d, err := t.on.Propose(ctx, instance, v)
	if err != nil {
		return TypedDecision[T]{}, err
	}
	typed, err := t.decode("propose", d, d.Value != v)
	typed.Same = d.Value == v
	return typed, err
}

// Read is that of the Register. If the decision can't be decoded, ok is true, and the error wraps [ErrDecode] and names the
// instance. The Decision is in the result then, too.
func (t Typed[T]) Read(ctx context.Context, instance string) (d TypedDecision[T], ok bool, err error) {
	raw, ok, err := t.on.Read(ctx, instance)
	if err != nil || !ok {
		return d, ok, err
	}
	d, err = t.decode("read", raw, true)
	return d, true, err
}

// Wait is that of the Register. Its error of a decision that can't be decoded is that of [Typed.Read].
func (t Typed[T]) Wait(ctx context.Context, instance string) (TypedDecision[T], error) {
	d, err := t.on.Wait(ctx, instance)
	if err != nil {
		return TypedDecision[T]{}, err
	}
	return t.decode("wait", d, true)
}

// Of returns a decision that came from elsewhere, such as Decisions of a Node, with its content. Its error is that of [Typed.Read].
func (t Typed[T]) Of(d Decision) (TypedDecision[T], error) { return t.decode("decode", d, true) }

func (t Typed[T]) encode(content T) (Value, error) {
	if t.codec.Encode != nil {
		return t.codec.Encode(content)
	}
	b, err := json.Marshal(content)
	return Value(b), err
}

func (t Typed[T]) decode(op string, d Decision, unsent bool) (typed TypedDecision[T], err error) {
	typed.Decision = d
	if t.codec.Decode != nil {
		typed.Content, err = t.codec.Decode(d.Value)
	} else {
		err = json.Unmarshal([]byte(d.Value), &typed.Content)
	}
	if err != nil {
		typed.Content = *new(T)
		err = &OpError{Op: op, Instance: d.Instance, Err: fmt.Errorf("%w as %v: %w", ErrDecode, reflect.TypeFor[T](), err), Unsent: unsent}
	}
	return typed, err
}
