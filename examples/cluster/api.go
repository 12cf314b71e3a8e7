package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/singledecree/paxos"
)

// The API of a server, for clients on its machine. Answers are JSON.
//
//	POST /v1/propose  {"name": "lunch", "value": "burger"}   what was chosen, whoever proposed it
//	GET  /v1/read?name=lunch                                 the decision, or that there was none
//	GET  /v1/wait?name=lunch                                 the decision, as soon as there is one
//	GET  /v1/peek?name=lunch                                 what this server knows, without asking the others
//	GET  /v1/watch?after=0                                   every decision, a line each, for as long as the client likes
//	POST /v1/forget?prefix=job/                              all names that begin so are forgotten, for ever; or one, with name=
//	GET  /v1/members                                         who the members are, and how far the last change is
//	POST /v1/change   {"acceptors": [1,3,4], "learners": [], "addresses": {"4": "ten:7000"}}   the members that were decided next
//	GET  /v1/settled                                         as members, as soon as the last change is settled
//	GET  /v1/ready                                           as members, as soon as the server has caught up
//	GET  /v1/status                                          how the server is
//	GET  /healthz                                            200 and "ok", or 503 and why not; it asks nobody
//
// With timeout=2s, a call ends with an error after that time; else it ends when the client goes. A value that is not UTF-8 is in "base64"
// in place of "value", in questions and answers. An error is {"error": "…"}; "unknown": true says of a propose or a change that its value may be
// chosen all the same. A malformed request is answered 400, and does nothing. It has an unknown or repeated field or parameter, both values or
// none, bytes that are not UTF-8, or something after the object.
//
// Anybody on the machine may call it. A browser must not, whatever page it shows: hence the content type of a propose is
// application/json, of a forget and a change too, and the Host that is asked for must be a loopback address.

// An answer tells of one instance.
type answer struct {
	Name    string `json:"name"`
	Decided bool   `json:"decided"`
	Value   string `json:"value,omitempty"`
	Base64  []byte `json:"base64,omitempty"` // in its place, if it is not UTF-8
	Ballot  string `json:"ballot,omitempty"` // in which this server learned it
	Index   uint64 `json:"index,omitempty"`  // of watch
	// Forgotten, of watch and forget, are the names that were forgotten: from the first, to below the second.
	Forgotten []string `json:"forgotten,omitempty"`
}

// value returns what was decided.
func (a answer) value() string {
	if a.Base64 != nil {
		return string(a.Base64)
	}
	return a.Value
}

func newAnswer(d paxos.Decision, ok bool, name string) answer {
	a := answer{Name: name, Decided: ok}
	if ok {
		a.Value, a.Base64 = split(string(d.Value))
		a.Ballot = d.Ballot.String()
	}
	return a
}

// split returns a value as JSON can hold it.
func split(v string) (text string, bytes []byte) {
	if utf8.ValidString(v) {
		return v, nil
	}
	return "", []byte(v)
}

// A failure is what is answered when a call fails.
type failure struct {
	Text    string `json:"error"`
	Unknown bool   `json:"unknown,omitempty"`
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/propose", s.propose)
	mux.HandleFunc("POST /v1/forget", s.forget)
	mux.HandleFunc("GET /v1/read", s.ask(s.node.Read))
	mux.HandleFunc("GET /v1/peek", s.ask(s.node.Peek))
	mux.HandleFunc("GET /v1/wait", s.ask(func(ctx context.Context, name string) (paxos.Decision, bool, error) {
		d, err := s.node.Wait(ctx, name)
		return d, err == nil, err
	}))
	mux.HandleFunc("GET /v1/watch", s.watch)
	mux.HandleFunc("GET /v1/members", s.members)
	mux.HandleFunc("POST /v1/change", s.change)
	mux.HandleFunc("GET /v1/settled", s.settled)
	mux.HandleFunc("GET /v1/ready", s.ready)
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		if _, err := readQuery(r, "timeout"); err != nil {
			reply(w, http.StatusBadRequest, failure{Text: err.Error()})
			return
		}
		reply(w, http.StatusOK, s.status())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if why := unhealthy(s.node.Status()); why != "" {
			reply(w, http.StatusServiceUnavailable, failure{Text: why})
			return
		}
		reply(w, http.StatusOK, "ok")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			reply(w, http.StatusForbidden, failure{Text: "Host: " + r.Host + " is not a loopback address"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *server) propose(w http.ResponseWriter, r *http.Request) {
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		reply(w, http.StatusUnsupportedMediaType, failure{Text: err.Error()})
		return
	}
	_, ctx, cancel, err := begin(r, "timeout")
	if err != nil {
		reply(w, http.StatusBadRequest, failure{Text: err.Error()})
		return
	}
	defer cancel()
	name, value, err := readProposal(w, r)
	if err != nil {
		code := http.StatusBadRequest
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			code = http.StatusRequestEntityTooLarge
		}
		reply(w, code, failure{Text: err.Error()})
		return
	}
	d, err := s.node.Propose(ctx, name, paxos.Value(value))
	if err != nil {
		reply(w, statusOf(err), failure{err.Error(), paxos.Unknown(err)})
		return
	}
	reply(w, http.StatusOK, newAnswer(d, true, name))
}

// forget has all names with a prefix forgotten, or one name.
func (s *server) forget(w http.ResponseWriter, r *http.Request) {
	if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
		reply(w, http.StatusUnsupportedMediaType, failure{Text: err.Error()})
		return
	}
	query, ctx, cancel, err := begin(r, "name", "prefix", "timeout")
	if err == nil && query.Has("name") == query.Has("prefix") {
		err = errors.New("name, prefix: want one of them")
	}
	if err != nil {
		reply(w, http.StatusBadRequest, failure{Text: err.Error()})
		return
	}
	defer cancel()
	names := paxos.Prefix(query.Get("prefix"))
	if query.Has("name") {
		names = paxos.OneName(query.Get("name"))
	}
	if err := s.node.Forget(ctx, names); err != nil {
		reply(w, statusOf(err), failure{err.Error(), paxos.Unknown(err)})
		return
	}
	reply(w, http.StatusOK, answer{Forgotten: []string{names.From, names.To}})
}

// ask serves one of the calls that ask about a name.
func (s *server) ask(call func(context.Context, string) (paxos.Decision, bool, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query, ctx, cancel, err := begin(r, "name", "timeout")
		if err != nil {
			reply(w, http.StatusBadRequest, failure{Text: err.Error()})
			return
		}
		defer cancel()
		name := query.Get("name")
		d, ok, err := call(ctx, name)
		if err != nil {
			reply(w, statusOf(err), failure{Text: err.Error()})
			return
		}
		reply(w, http.StatusOK, newAnswer(d, ok, name))
	}
}

// watch sends decisions as they come, a line each, and an error when there are no more to come.
func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	query, ctx, cancel, err := begin(r, "after", "timeout")
	if err != nil {
		reply(w, http.StatusBadRequest, failure{Text: err.Error()})
		return
	}
	defer cancel()
	after := uint64(0)
	if text := query.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			reply(w, http.StatusBadRequest, failure{Text: "after: " + err.Error()})
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	flush.Flush()
	for learned, err := range s.node.Decisions(ctx, after) {
		var forgotten *paxos.ForgottenError
		a := newAnswer(learned.Decision, true, learned.Instance)
		switch {
		case errors.As(err, &forgotten):
			a = answer{Forgotten: []string{forgotten.Names.From, forgotten.Names.To}}
		case err != nil:
			out.Encode(failure{Text: err.Error()})
			return
		}
		a.Index = learned.Index
		if out.Encode(a) != nil || flush.Flush() != nil {
			return
		}
	}
}

// begin reads the query of a request, and refuses unknown parameters. The context that it returns ends when the client goes, or after the
// client's timeout.
func begin(r *http.Request, known ...string) (url.Values, context.Context, context.CancelFunc, error) {
	query, err := readQuery(r, known...)
	if err != nil {
		return nil, nil, nil, err
	}
	text := query.Get("timeout")
	if text == "" {
		ctx, cancel := context.WithCancel(r.Context())
		return query, ctx, cancel, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return nil, nil, nil, errors.New("timeout: " + strconv.Quote(text) + " is not a positive duration")
	}
	ctx, cancel := context.WithTimeout(r.Context(), d)
	return query, ctx, cancel, nil
}

// statusOf returns what HTTP calls the error of a call.
func statusOf(err error) int {
	switch {
	case errors.Is(err, paxos.ErrForgotten):
		return http.StatusGone
	case errors.Is(err, paxos.ErrName):
		return http.StatusBadRequest
	case errors.Is(err, paxos.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, paxos.ErrNotMember):
		return http.StatusForbidden
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, paxos.ErrClosed), errors.Is(err, paxos.ErrBusy), errors.Is(err, paxos.ErrNotReady), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	case errors.Is(err, paxos.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	text, err := json.Marshal(v)
	if err != nil { // it can't be: all of them are made of text and numbers
		return
	}
	io.WriteString(w, string(text)+"\n")
}
