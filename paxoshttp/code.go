package paxoshttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/singledecree/paxos"
)

// A Code names an error for programs. More codes may come: a program treats a code that it does not know by the status of HTTP.
type Code string

// The codes, each with its status of HTTP.
const (
	CodeMalformed       Code = "malformed"       // 400: the request can't be understood; the error names the field
	CodeName            Code = "name"            // 400: not a valid name of an instance, or range of names: paxos.ErrName
	CodeMembers         Code = "members"         // 400: these members can't follow the present ones; the error names the field
	CodeUnauthenticated Code = "unauthenticated" // 401: [ErrUnauthenticated]
	CodeForbidden       Code = "forbidden"       // 403: [ErrForbidden]
	CodeNotMember       Code = "not_member"      // 403: this server is no member any more: paxos.ErrNotMember
	CodeNotFound        Code = "not_found"       // 404: there is no such call
	CodeMethod          Code = "method"          // 405: the call wants another method; Allow names it
	CodeConflict        Code = "conflict"        // 409: another change of members was decided: paxos.ErrConflict
	CodeFinished        Code = "finished"        // 409: a server of the change was a member before: its ServerID is finished
	CodeIndex           Code = "index"           // 409: the watch goes on from an Index of another storage: paxos.ErrIndex
	CodeForgotten       Code = "forgotten"       // 410: the instance is forgotten, and the range comes along: paxos.ErrForgotten
	CodeTooLarge        Code = "too_large"       // 413: a body, or a value: paxos.ErrTooLarge
	CodeContentType     Code = "content_type"    // 415: the body is not application/json in UTF-8
	CodeInternal        Code = "internal"        // 500: the storage failed, or something else that the error names
	CodeBroken          Code = "broken"          // 500: some server broke the protocol: a *paxos.SafetyError
	CodeRounds          Code = "rounds"          // 503: this server has used up its rounds: paxos.ErrRounds
	CodeBusy            Code = "busy"            // 503: too many calls, watches or bytes: paxos.ErrBusy
	CodeClosed          Code = "closed"          // 503: the server has stopped, or is stopping: paxos.ErrClosed
	CodeCanceled        Code = "canceled"        // 503: the call was ended from outside: context.Canceled
	CodeNotReady        Code = "not_ready"       // 503: the new members are not here: paxos.ErrNotReady
	CodeUnready         Code = "unready"         // 503: of readyz: the server has not caught up, or no quorum answers
	CodeUnhealthy       Code = "unhealthy"       // 503: of healthz
	CodeTimeout         Code = "timeout"         // 504: the time of the call is over: context.DeadlineExceeded
)

// Errors of this package, for [errors.Is]. A hook [Config].Allow may return them, and a [Client] does.
var (
	// ErrForbidden: the server does not allow the call.
	ErrForbidden = errors.New("not allowed")
	// ErrUnauthenticated: the server has to know first from whom the call is.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrMalformed: the server does not understand the request.
	ErrMalformed = errors.New("malformed request")
)

// kinds has each code with its status and the error that it stands for. Of several errors in one, the first counts.
var kinds = []struct {
	code   Code
	status int
	err    error // nil: none of its own
}{
	{CodeForgotten, http.StatusGone, paxos.ErrForgotten},
	{CodeIndex, http.StatusConflict, paxos.ErrIndex},
	{CodeConflict, http.StatusConflict, paxos.ErrConflict},
	{CodeName, http.StatusBadRequest, paxos.ErrName},
	{CodeNotMember, http.StatusForbidden, paxos.ErrNotMember},
	{CodeNotReady, http.StatusServiceUnavailable, paxos.ErrNotReady},
	{CodeTooLarge, http.StatusRequestEntityTooLarge, paxos.ErrTooLarge},
	{CodeRounds, http.StatusServiceUnavailable, paxos.ErrRounds},
	{CodeClosed, http.StatusServiceUnavailable, paxos.ErrClosed},
	{CodeBusy, http.StatusServiceUnavailable, paxos.ErrBusy},
	{CodeTimeout, http.StatusGatewayTimeout, context.DeadlineExceeded},
	{CodeCanceled, http.StatusServiceUnavailable, context.Canceled},
	{CodeUnauthenticated, http.StatusUnauthorized, ErrUnauthenticated},
	{CodeForbidden, http.StatusForbidden, ErrForbidden},
	{CodeMalformed, http.StatusBadRequest, ErrMalformed},
	{CodeMembers, http.StatusBadRequest, nil},
	{CodeNotFound, http.StatusNotFound, nil},
	{CodeMethod, http.StatusMethodNotAllowed, nil},
	{CodeFinished, http.StatusConflict, nil},
	{CodeContentType, http.StatusUnsupportedMediaType, nil},
	{CodeBroken, http.StatusInternalServerError, nil},
	{CodeUnready, http.StatusServiceUnavailable, nil},
	{CodeUnhealthy, http.StatusServiceUnavailable, nil},
	{CodeInternal, http.StatusInternalServerError, nil},
}

// codeOf returns the code of an error.
func codeOf(err error) Code {
	var broken *paxos.SafetyError
	var coded *codedError
	switch {
	case errors.As(err, &broken):
		return CodeBroken
	case errors.As(err, &coded):
		return coded.code
	}
	for _, k := range kinds {
		if k.err != nil && errors.Is(err, k.err) {
			return k.code
		}
	}
	return CodeInternal
}

// Status returns the status of HTTP of a code: 500 if it is not known.
func (c Code) Status() int {
	for _, k := range kinds {
		if k.code == c {
			return k.status
		}
	}
	return http.StatusInternalServerError
}

// known reports whether it is one of the codes above.
func (c Code) known() bool {
	return c.Status() != http.StatusInternalServerError || c == CodeInternal || c == CodeBroken
}

// err returns the error that the code stands for; nil: none.
func (c Code) err() error {
	for _, k := range kinds {
		if k.code == c {
			return k.err
		}
	}
	return nil
}

// A codedError has a code that its text does not give.
type codedError struct {
	code Code
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func coded(code Code, err error) error { return &codedError{code, err} }
