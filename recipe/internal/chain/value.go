package chain

import (
	"errors"
	"fmt"
	"strings"

	"github.com/singledecree/paxos"
)

// MaxWho is the most bytes of the name of a caller, and of a nonce.
const MaxWho = 255

// ErrValue: the value of a register is none that the recipe writes.
var ErrValue = errors.New("not a value of this recipe")

// A Value is what a register of a chain holds, as text. The first line is "RECIPE/1 KIND NONCE WHO", and the bytes after it are Body.
// A Value without Body has no line end. The field Who may be empty, and may have spaces.
type Value struct {
	Kind, Nonce, Who string
	Body             paxos.Value
}

// Text returns the bytes of a value.
func (v Value) Text(recipe string) paxos.Value {
	line := recipe + "/1 " + v.Kind + " " + v.Nonce + " " + v.Who
	if v.Body != "" {
		line += "\n"
	}
	return paxos.Value(line) + v.Body
}

// Parse returns the value that has these bytes. The error wraps [ErrValue].
func Parse(recipe string, text paxos.Value) (Value, error) {
	line, body, _ := strings.Cut(string(text), "\n")
	format, rest, _ := strings.Cut(line, " ")
	if format != recipe+"/1" {
		return Value{}, fmt.Errorf("%w: it begins with %.40q, and not with %q", ErrValue, format, recipe+"/1")
	}
	fields := strings.SplitN(rest, " ", 3)
	if len(fields) < 3 {
		return Value{}, fmt.Errorf("%w: %q has no kind, nonce and name", ErrValue, line[:min(len(line), 80)])
	}
	v := Value{Kind: fields[0], Nonce: fields[1], Who: fields[2], Body: paxos.Value(body)}
	if v.Text(recipe) != text {
		return Value{}, fmt.Errorf("%w: its first line ends, and nothing follows", ErrValue)
	}
	return v, nil
}

// CheckWho returns nil if who can stand in a value: valid UTF-8 of 1 to MaxWho bytes, without control characters.
func CheckWho(field, who string) error {
	if err := paxos.CheckName(who); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// CheckNonce returns nil if nonce can stand in a value: as CheckWho, and without spaces.
func CheckNonce(nonce string) error {
	if err := CheckWho("nonce", nonce); err != nil {
		return err
	}
	if strings.Contains(nonce, " ") {
		return fmt.Errorf("nonce: %w: %q has a space", paxos.ErrName, nonce)
	}
	return nil
}
