package paxoshttp

import (
	"errors"
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// newFailure returns the answer to a call that failed with err. unknown says that the call may have an effect all the same.
func newFailure(err error, unknown bool) failure {
	f := failure{Text: err.Error(), Code: codeOf(err), Unknown: unknown}
	var forgotten *paxos.ForgottenError
	if errors.As(err, &forgotten) {
		f.bounds = newBounds(forgotten.Names)
	}
	var broken *paxos.SafetyError
	if errors.As(err, &broken) {
		f.Proof = newProof(broken)
	}
	var op *paxos.OpError
	if errors.As(err, &op) {
		f.Call = newProgress(op)
	}
	return f
}

func newProgress(op *paxos.OpError) *progress {
	p := &progress{Op: op.Op, Instance: op.Instance, Phase: op.Phase, Answered: op.Answered, Refused: op.Refused, Silent: op.Silent,
		Quorum: op.Quorum, Storage: op.Storage.Milliseconds()}
	if op.Phase != "" {
		p.Ballot = op.Ballot.String()
	}
	if op.Err != nil {
		p.Cause = op.Err.Error()
	}
	return p
}

func newProof(broken *paxos.SafetyError) *proof {
	p := &proof{Instance: broken.Instance, Ballot: broken.Ballot.String(), Server: broken.Server, Reason: broken.Reason}
	if broken.Values[0] != broken.Values[1] {
		p.Values = [][]byte{[]byte(broken.Values[0]), []byte(broken.Values[1])}
	}
	return p
}

// A ServerError is the refusal of one server, as a [Client] got it. It wraps the error that its code stands for, such as
// paxos.ErrBusy, a [*paxos.ForgottenError] with the range, or a [*paxos.SafetyError].
type ServerError struct {
	URL    string // of the server
	Status int    // of HTTP
	Code   Code   // empty: the answer has none, so it is not from a [Handler]
	Text   string // in the words of the server
	kind   error
}

// Error returns the words of the server.
func (e *ServerError) Error() string { return e.Text }

// Unwrap returns the error that the code stands for.
func (e *ServerError) Unwrap() error { return e.kind }

// opError returns the error of a call that a server answered with f. It is as the server's own was.
func (f failure) opError(op, instance, url string, status int) *paxos.OpError {
	e := &paxos.OpError{Op: op, Instance: instance, Unsent: !f.Unknown}
	refused := &ServerError{URL: url, Status: status, Code: f.Code, Text: f.Text, kind: f.kind()}
	e.Err = refused
	if p := f.Call; p != nil {
		e.Phase, e.Answered, e.Refused, e.Silent, e.Quorum = p.Phase, p.Answered, p.Refused, p.Silent, p.Quorum
		e.Ballot, _ = paxos.ParseBallot(p.Ballot)
		e.Storage = time.Duration(min(max(p.Storage, 0), 1<<40)) * time.Millisecond
		refused.Text = p.Cause
	}
	return e
}

// kind returns the error that a failure stands for; nil: none of its own.
func (f failure) kind() error {
	switch {
	case f.Code == CodeForgotten:
		if names, ok := f.names(); ok {
			return &paxos.ForgottenError{Names: names}
		}
	case f.Code == CodeBroken && f.Proof != nil:
		broken := &paxos.SafetyError{Instance: f.Proof.Instance, Server: f.Proof.Server, Reason: f.Proof.Reason}
		broken.Ballot, _ = paxos.ParseBallot(f.Proof.Ballot)
		if len(f.Proof.Values) == 2 {
			broken.Values = [2]paxos.Value{paxos.Value(f.Proof.Values[0]), paxos.Value(f.Proof.Values[1])}
		}
		return broken
	}
	return f.Code.err()
}

// malformed makes the error of a request that is not understood.
func malformed(format string, args ...any) error {
	return coded(CodeMalformed, fmt.Errorf(format, args...))
}

// certain makes an error of a call that had no effect and never will.
func certain(op, instance string, err error) *paxos.OpError {
	return &paxos.OpError{Op: op, Instance: instance[:min(len(instance), paxos.MaxName)], Err: err, Unsent: true}
}
