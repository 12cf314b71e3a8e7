package paxoshttp

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/singledecree/paxos"
)

// An answer tells of one instance, or of names that were forgotten.
type answer struct {
	Name    string `json:"name,omitempty"`
	Decided bool   `json:"decided"`
	Value   string `json:"value,omitempty"`
	Base64  []byte `json:"base64,omitempty"` // in its place, if it is not UTF-8
	Ballot  string `json:"ballot,omitempty"` // in which this server learned it
	Index   uint64 `json:"index,omitempty"`  // of watch
	bounds         // of watch and forget
}

func newAnswer(d paxos.Decision, ok bool, name string) answer {
	a := answer{Name: name, Decided: ok}
	if ok {
		a.Value, a.Base64 = split(string(d.Value))
		a.Ballot = d.Ballot.String()
	}
	return a
}

// decision returns what the answer says, if it is one about the name. An empty name is any.
func (a answer) decision(name string) (d paxos.Decision, ok bool, err error) {
	switch {
	case a.Name != name && name != "":
		return d, false, fmt.Errorf("the answer is about %.300q, and not about %q", a.Name, name)
	case !a.Decided:
		return d, false, nil
	case a.Value != "" && a.Base64 != nil:
		return d, false, fmt.Errorf("the answer about %.300q has two values", a.Name)
	}
	d = paxos.Decision{Instance: a.Name, Value: paxos.Value(a.Value)}
	if a.Base64 != nil {
		d.Value = paxos.Value(a.Base64)
	}
	if d.Ballot, err = paxos.ParseBallot(a.Ballot); err != nil {
		return paxos.Decision{}, false, fmt.Errorf("ballot: %w", err)
	}
	return d, true, nil
}

// split returns a value as JSON can hold it.
func split(v string) (text string, bytes []byte) {
	if utf8.ValidString(v) {
		return v, nil
	}
	return "", []byte(v)
}

// A proposal is the body of a propose: a name, and a value in one of two forms.
type proposal struct {
	Name   string  `json:"name"`
	Value  *string `json:"value,omitempty"`  // text
	Base64 *[]byte `json:"base64,omitempty"` // any bytes
}

// newProposal offers v in the form that holds it.
func newProposal(name string, v paxos.Value) proposal {
	text, bytes := split(string(v))
	if bytes != nil {
		return proposal{Name: name, Base64: &bytes}
	}
	return proposal{Name: name, Value: &text}
}

// bounds are the bounds of forgotten names: from the first, to below the second.
type bounds struct {
	Forgotten       []string `json:"forgotten,omitempty"`
	ForgottenBase64 [][]byte `json:"forgottenBase64,omitempty"` // in their place, if one is not UTF-8
}

func newBounds(names paxos.NameRange) bounds {
	if utf8.ValidString(names.From) && utf8.ValidString(names.To) {
		return bounds{Forgotten: []string{names.From, names.To}}
	}
	return bounds{ForgottenBase64: [][]byte{[]byte(names.From), []byte(names.To)}}
}

// names returns the range, if there is one.
func (b bounds) names() (names paxos.NameRange, ok bool) {
	switch {
	case len(b.Forgotten) == 2:
		return paxos.NameRange{From: b.Forgotten[0], To: b.Forgotten[1]}, true
	case len(b.ForgottenBase64) == 2:
		return paxos.NameRange{From: string(b.ForgottenBase64[0]), To: string(b.ForgottenBase64[1])}, true
	}
	return names, false
}

// A failure is the answer to a call that failed.
type failure struct {
	Text    string `json:"error"`
	Code    Code   `json:"code"`
	Unknown bool   `json:"unknown,omitempty"`
	bounds
	Call  *progress `json:"call,omitempty"`
	Proof *proof    `json:"proof,omitempty"`
}

// A progress tells how far a call came. Its fields are those of a [paxos.OpError].
type progress struct {
	Op       string           `json:"op"`
	Instance string           `json:"instance,omitempty"`
	Phase    string           `json:"phase,omitempty"`
	Ballot   string           `json:"ballot,omitempty"`
	Answered []paxos.ServerID `json:"answered,omitempty"`
	Refused  []paxos.ServerID `json:"refused,omitempty"`
	Silent   []paxos.ServerID `json:"silent,omitempty"`
	Quorum   string           `json:"quorum,omitempty"`
	Storage  int64            `json:"storageMillis,omitempty"`
	Cause    string           `json:"cause,omitempty"`
}

// A proof is a [paxos.SafetyError].
type proof struct {
	Instance string         `json:"instance,omitempty"`
	Ballot   string         `json:"ballot"`
	Values   [][]byte       `json:"values,omitempty"` // two, in base64
	Server   paxos.ServerID `json:"server,omitempty"`
	Reason   string         `json:"reason"`
}

// A line is one of a watch.
type line struct {
	answer
	Text string `json:"error"`
	Code Code   `json:"code"`
}

// encode returns v as JSON.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("paxoshttp: " + err.Error()) // all of it is made of text and numbers
	}
	return text
}
